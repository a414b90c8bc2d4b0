//! The messages that every connection gets: what happens to a user's notifications.

use serde_json::{Value, json};
use tidings_engine::delivery::Kind;

use super::{Message, Schemas};

/// What the engine tells a subscriber.
pub fn deliveries(schemas: &mut Schemas) -> Vec<Message> {
    let deliveries = Kind::ALL.iter().map(|kind| Message {
        id: kind.word().to_owned(),
        kind: kind.word().to_owned(),
        summary: kind.meaning().to_owned(),
        payload: schemas.sent_here(|generator| kind.json_schema(generator)),
        example: example(*kind),
    });
    deliveries.collect()
}

/// One of a kind.
fn example(kind: Kind) -> Value {
    const ID: &str = "0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001";
    let mut example = json!({ "type": kind.word(), "position": 58, "cursor": "8e80c0ca40ee.58" });
    let notification = || {
        json!({
            "id": ID, "type": "booking.accepted", "title": "Booking 17 was accepted", "body": "See you on Friday at ten.",
            "data": { "booking": 17 }, "action": { "url": "/bookings/17", "text": "Open" }, "priority": "normal",
            "tags": ["booking"], "createdAt": "2026-11-21T07:00:00.123Z", "channel": "topic:orders", "inbox": true,
        })
    };
    match kind {
        Kind::Notification => {
            example["counts"] = true.into();
            example["notification"] = notification();
        }
        Kind::Updated => example["notification"] = notification(),
        Kind::Counts => example = json!({ "type": "counts", "unread": 7, "unseen": 2, "position": 58 }),
        Kind::Seen => example["upTo"] = 57.into(),
        Kind::Joined | Kind::Left => example["channels"] = json!(["topic:orders"]),
        Kind::CaughtUp => {}
        Kind::Retracted
        | Kind::Read
        | Kind::Unread
        | Kind::Archived
        | Kind::Unarchived
        | Kind::Deleted
        | Kind::Pinned
        | Kind::Unpinned
        | Kind::Snoozed
        | Kind::Woken => example["notifications"] = json!([ID]),
    }
    match kind {
        Kind::Retracted => example["reason"] = "byHand".into(),
        Kind::Snoozed => example["until"] = "2026-11-22T07:00:00Z".into(),
        _ => {}
    }
    example
}
