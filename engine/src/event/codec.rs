//! Events to and from what a store keeps: a type name, a schema version and JSON. The one place that knows old versions.
//!
//! Every reader (replay, projections, export) decodes here, so that none of them can bypass an upcast.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, Event, Fact, Mark, Published, RetractReason, Retracted, Scheduled, Unknown, Updated};
use crate::audience::Audience;
use crate::names::{CollapseKey, IdempotencyKey, NotificationType, Priority, Publisher, Tag};
use crate::notification::{Content, Notification, NotificationId, encode};
use crate::position::{Offset, Position, StreamId};
use crate::store::{NewEvent, StoredEvent};

/// An event that could not be decoded.
#[derive(Debug, thiserror::Error)]
#[error("event {position} ({type_name} version {version}) cannot be decoded: {reason}")]
pub struct DecodeError {
    position: crate::Position,
    type_name: String,
    version: u16,
    reason: String,
}

/// From version `from` of a type's envelope to the next one.
struct Upcast {
    type_name: &'static str,
    from: u16,
    step: fn(&mut Value),
}

/// Every step there is, oldest first. Empty as long as every type is at version 1.
const UPCASTS: &[Upcast] = &[];

/// The version that is written now, of every type.
const VERSION: u16 = 1;

/// A published notification without its content: what must stay when a person's data is erased.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublishedEnvelope {
    id: NotificationId,
    #[serde(rename = "type")]
    kind: NotificationType,
    priority: Priority,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    created_at: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deliver_at: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    collapse_key: Option<CollapseKey>,
    inbox: bool,
    audience: Audience,
    publisher: Publisher,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScheduledEnvelope {
    #[serde(flatten)]
    published: PublishedEnvelope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<IdempotencyKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdatedEnvelope {
    #[serde(flatten)]
    published: PublishedEnvelope,
    published_at: Position,
    entries: Vec<(StreamId, Offset)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetractedEnvelope {
    id: NotificationId,
    published_at: Position,
    entries: Vec<(StreamId, Offset)>,
    audience: Audience,
    inbox: bool,
    reason: RetractReason,
}

fn to_pairs(entries: &[Entry]) -> Vec<(StreamId, Offset)> {
    entries.iter().map(|entry| (entry.stream, entry.offset)).collect()
}

fn from_pairs(pairs: Vec<(StreamId, Offset)>) -> Vec<Entry> {
    pairs.into_iter().map(|(stream, offset)| Entry { stream, offset }).collect()
}

fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::Unread => "Unread",
        Mark::Archived => "Archived",
        Mark::Unarchived => "Unarchived",
        Mark::Deleted => "Deleted",
        Mark::Pinned => "Pinned",
        Mark::Unpinned => "Unpinned",
    }
}

impl Fact {
    /// The name of its type, as the log has it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Started(_) => "Started",
            Self::NotificationPublished(_) => "NotificationPublished",
            Self::Updated(_) => "Updated",
            Self::Retracted(_) => "Retracted",
            Self::Scheduled(_) => "Scheduled",
            Self::ScheduleCancelled(_) => "ScheduleCancelled",
            Self::Joined(_) => "Joined",
            Self::Left(_) => "Left",
            Self::Read(_) => "Read",
            Self::Seen(_) => "Seen",
            Self::Marked(mark, _) => mark_name(*mark),
            Self::Snoozed(_) => "Snoozed",
            Self::Woken(_) => "Woken",
            Self::Clicked(_) => "Clicked",
            Self::Progress(_) => "Progress",
            Self::Unknown(unknown) => &unknown.type_name,
        }
    }

    /// The version of its schema.
    #[must_use]
    pub fn version(&self) -> u16 {
        match self {
            Self::Unknown(unknown) => unknown.version,
            _ => VERSION,
        }
    }

    /// The fact without a notification's content, as JSON.
    #[must_use]
    pub fn envelope(&self) -> String {
        let bytes = match self {
            Self::Started(started) => encode(started),
            Self::NotificationPublished(published) => encode(&envelope_of(published)),
            Self::Updated(updated) => encode(&UpdatedEnvelope {
                published: envelope_of(&updated.published),
                published_at: updated.position,
                entries: to_pairs(&updated.entries),
            }),
            Self::Retracted(retracted) => encode(&RetractedEnvelope {
                id: retracted.id,
                published_at: retracted.position,
                entries: to_pairs(&retracted.entries),
                audience: retracted.audience.clone(),
                inbox: retracted.inbox,
                reason: retracted.reason,
            }),
            Self::Scheduled(scheduled) => encode(&ScheduledEnvelope {
                published: envelope_of(&scheduled.published),
                idempotency_key: scheduled.key.clone(),
            }),
            Self::ScheduleCancelled(cancelled) => encode(cancelled),
            Self::Joined(membership) | Self::Left(membership) => encode(membership),
            Self::Read(read) => encode(read),
            Self::Seen(seen) => encode(seen),
            Self::Marked(_, marked) | Self::Clicked(marked) => encode(marked),
            Self::Snoozed(snoozed) => encode(snoozed),
            Self::Woken(woken) => encode(woken),
            Self::Progress(progress) => encode(progress),
            Self::Unknown(unknown) => unknown.envelope.clone().into_bytes(),
        };
        String::from_utf8(bytes).unwrap_or_else(|_| unreachable!("JSON is UTF-8"))
    }

    /// The notification whose content it carries.
    fn carried(&self) -> Option<&Published> {
        match self {
            Self::NotificationPublished(published) => Some(published),
            Self::Updated(updated) => Some(&updated.published),
            Self::Scheduled(scheduled) => Some(&scheduled.published),
            _ => None,
        }
    }

    /// What a store is given to keep.
    pub(crate) fn encoded(&self, recorded_at: jiff::Timestamp) -> NewEvent {
        let payload = self.carried().map(|published| {
            let content = encode(&published.notification.content);
            String::from_utf8(content).unwrap_or_else(|_| unreachable!("JSON is UTF-8"))
        });
        NewEvent {
            type_name: self.type_name().to_owned(),
            version: self.version(),
            recorded_at,
            envelope: self.envelope(),
            payload,
            streams: self.streams(),
        }
    }
}

impl Event {
    /// The event as a JSON object, for those who look at the log.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let encoded = self.fact.encoded(self.recorded_at);
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut json = serde_json::json!({
            "position": self.position,
            "type": encoded.type_name,
            "version": encoded.version,
            "tenant": self.tenant,
            "recordedAt": self.recorded_at,
            "event": parsed(&encoded.envelope),
        });
        if let Some(payload) = &encoded.payload {
            json["content"] = parsed(payload);
        }
        json
    }
}

fn envelope_of(published: &Published) -> PublishedEnvelope {
    let notification = &published.notification;
    PublishedEnvelope {
        id: notification.id,
        kind: notification.kind.clone(),
        priority: notification.priority.clone(),
        tags: notification.tags.clone(),
        created_at: notification.created_at,
        deliver_at: notification.deliver_at,
        expires_at: notification.expires_at,
        collapse_key: notification.collapse_key.clone(),
        inbox: notification.inbox,
        audience: published.audience.clone(),
        publisher: published.publisher.clone(),
    }
}

/// Decodes an event, whatever version it was written in.
///
/// # Errors
/// [`DecodeError`] when the JSON of a known type is not what its version says.
pub(crate) fn decode(stored: StoredEvent) -> Result<Event, DecodeError> {
    decode_with(UPCASTS, stored)
}

fn decode_with(upcasts: &[Upcast], stored: StoredEvent) -> Result<Event, DecodeError> {
    let failed = |reason: String| DecodeError {
        position: stored.position,
        type_name: stored.type_name.clone(),
        version: stored.version,
        reason,
    };
    let fact = decode_fact(upcasts, &stored).map_err(|error| failed(error.to_string()))?;
    // To pass over a newer form of a known fact would make every count after it wrong.
    if !matches!(fact, Fact::Unknown(_)) && stored.version > fact.version() {
        return Err(failed("it was written by a newer version of tidings".to_owned()));
    }
    let bytes = stored.bytes();
    Ok(Event::new(stored.position, stored.tenant, stored.recorded_at, stored.entries, fact, bytes))
}

fn decode_fact(upcasts: &[Upcast], stored: &StoredEvent) -> Result<Fact, serde_json::Error> {
    let envelope = upcast(upcasts, stored)?;
    let envelope = envelope.as_deref().unwrap_or(&stored.envelope);
    let marked = |mark| serde_json::from_str(envelope).map(|marked| Fact::Marked(mark, marked));
    match stored.type_name.as_str() {
        "NotificationPublished" => {
            let envelope = serde_json::from_str(envelope)?;
            let published = published(envelope, stored.payload.as_deref())?;
            Ok(Fact::NotificationPublished(Box::new(published)))
        }
        "Updated" => updated(envelope, stored.payload.as_deref()),
        "Retracted" => retracted(envelope),
        "Scheduled" => {
            let ScheduledEnvelope { published: envelope, idempotency_key: key } =
                serde_json::from_str(envelope)?;
            let published = published(envelope, stored.payload.as_deref())?;
            Ok(Fact::Scheduled(Box::new(Scheduled { published, key })))
        }
        "ScheduleCancelled" => serde_json::from_str(envelope).map(Fact::ScheduleCancelled),
        "Snoozed" => serde_json::from_str(envelope).map(Fact::Snoozed),
        "Woken" => serde_json::from_str(envelope).map(Fact::Woken),
        "Read" => serde_json::from_str(envelope).map(Fact::Read),
        "Seen" => serde_json::from_str(envelope).map(Fact::Seen),
        "Joined" => serde_json::from_str(envelope).map(Fact::Joined),
        "Left" => serde_json::from_str(envelope).map(Fact::Left),
        "Started" => serde_json::from_str(envelope).map(Fact::Started),
        "Clicked" => serde_json::from_str(envelope).map(Fact::Clicked),
        "Progress" => serde_json::from_str(envelope).map(Fact::Progress),
        "Unread" => marked(Mark::Unread),
        "Archived" => marked(Mark::Archived),
        "Unarchived" => marked(Mark::Unarchived),
        "Deleted" => marked(Mark::Deleted),
        "Pinned" => marked(Mark::Pinned),
        "Unpinned" => marked(Mark::Unpinned),
        _ => Ok(Fact::Unknown(Unknown {
            type_name: stored.type_name.clone(),
            version: stored.version,
            envelope: stored.envelope.clone(),
        })),
    }
}

fn published(envelope: PublishedEnvelope, payload: Option<&str>) -> Result<Published, serde_json::Error> {
    // An erased payload leaves a notification that says nothing, in its place.
    let content: Content = payload.map(serde_json::from_str).transpose()?.unwrap_or_default();
    let notification = Notification {
        id: envelope.id,
        kind: envelope.kind,
        content,
        priority: envelope.priority,
        tags: envelope.tags,
        created_at: envelope.created_at,
        deliver_at: envelope.deliver_at,
        expires_at: envelope.expires_at,
        collapse_key: envelope.collapse_key,
        inbox: envelope.inbox,
    };
    let (audience, publisher) = (envelope.audience, envelope.publisher);
    Ok(Published { notification, audience, publisher })
}

fn updated(envelope: &str, payload: Option<&str>) -> Result<Fact, serde_json::Error> {
    let envelope: UpdatedEnvelope = serde_json::from_str(envelope)?;
    let (position, entries) = (envelope.published_at, from_pairs(envelope.entries));
    let published = published(envelope.published, payload)?;
    Ok(Fact::Updated(Box::new(Updated { published, position, entries })))
}

fn retracted(envelope: &str) -> Result<Fact, serde_json::Error> {
    let envelope: RetractedEnvelope = serde_json::from_str(envelope)?;
    Ok(Fact::Retracted(Box::new(Retracted {
        id: envelope.id,
        position: envelope.published_at,
        entries: from_pairs(envelope.entries),
        audience: envelope.audience,
        inbox: envelope.inbox,
        reason: envelope.reason,
    })))
}

/// The envelope in today's version, or `None` when it is that already.
fn upcast(upcasts: &[Upcast], stored: &StoredEvent) -> Result<Option<String>, serde_json::Error> {
    let mut steps = upcasts
        .iter()
        .filter(|step| step.type_name == stored.type_name && step.from >= stored.version)
        .peekable();
    if steps.peek().is_none() {
        return Ok(None);
    }
    let mut envelope: Value = serde_json::from_str(&stored.envelope)?;
    for upcast in steps {
        (upcast.step)(&mut envelope);
    }
    Ok(Some(envelope.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Tenant;

    /// Events of every type as version 1 wrote them. Never changed: what was written once must be readable for ever.
    const GOLDEN: &str = include_str!("golden/v1.jsonl");

    fn stored(line: &str) -> StoredEvent {
        let golden: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| golden[name].as_str().unwrap().to_owned();
        let entries = golden["entries"].as_array().map_or(&[][..], Vec::as_slice);
        let number = |value: &Value| value.as_u64().unwrap();
        StoredEvent {
            position: Position(1),
            tenant: Tenant::default(),
            type_name: text("type"),
            version: number(&golden["version"]) as u16,
            recorded_at: jiff::Timestamp::UNIX_EPOCH,
            envelope: golden["envelope"].to_string(),
            payload: golden.get("payload").map(Value::to_string),
            entries: entries
                .iter()
                .map(|pair| Entry { stream: StreamId(number(&pair[0])), offset: Offset(number(&pair[1])) })
                .collect(),
        }
    }

    #[test]
    fn every_event_that_was_ever_written_can_be_read_and_is_written_the_same_today() {
        for line in GOLDEN.lines() {
            let golden = stored(line);
            let event = decode(golden.clone()).unwrap();
            assert!(!matches!(event.fact, Fact::Unknown(_)), "{line}");
            let again = event.fact.encoded(golden.recorded_at);
            let same = |one: &str, other: &str| {
                serde_json::from_str::<Value>(one).unwrap() == serde_json::from_str::<Value>(other).unwrap()
            };
            assert_eq!(
                (again.type_name.as_str(), again.version),
                (golden.type_name.as_str(), golden.version)
            );
            assert!(same(&again.envelope, &golden.envelope), "{line}\n{}", again.envelope);
            match (&again.payload, &golden.payload) {
                (Some(again), Some(golden)) => assert!(same(again, golden), "{line}\n{again}"),
                (again, golden) => assert_eq!(again, golden, "{line}"),
            }
        }
    }

    #[test]
    fn there_is_a_golden_event_of_every_type() {
        let types: std::collections::BTreeSet<String> =
            GOLDEN.lines().map(|line| stored(line).type_name).collect();
        let known = "Archived Clicked Deleted Joined Left NotificationPublished Pinned Progress Read Retracted \
                     ScheduleCancelled Scheduled Seen Snoozed Started Unarchived Unpinned Unread Updated Woken";
        assert_eq!(types.into_iter().collect::<Vec<_>>(), known.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn an_old_version_is_brought_up_step_by_step() {
        let steps = [
            Upcast { type_name: "Seen", from: 0, step: |json| json["user"] = json["who"].take() },
            Upcast { type_name: "Read", from: 0, step: |_| panic!("of another type") },
        ];
        let mut old = stored(r#"{"type":"Seen","version":0,"envelope":{"who":"ada","upTo":7}}"#);
        let Fact::Seen(seen) = decode_with(&steps, old.clone()).unwrap().fact else { panic!("not seen") };
        assert_eq!((seen.user.as_str(), seen.up_to), ("ada", Position(7)));
        old.version = 1;
        assert!(decode_with(&steps, old).is_err(), "what is new already is not changed");
    }

    #[test]
    fn a_newer_version_is_refused_and_an_unknown_type_passed_over() {
        let newer = stored(r#"{"type":"Seen","version":2,"envelope":{"user":"ada","upTo":7}}"#);
        assert!(decode(newer).unwrap_err().to_string().contains("newer version"));
        let unknown = stored(r#"{"type":"FenceDrawn","version":3,"envelope":{"x":1}}"#);
        assert!(matches!(decode(unknown).unwrap().fact, Fact::Unknown(_)));
    }

    #[test]
    fn an_erased_payload_leaves_a_notification_that_says_nothing() {
        let mut erased = stored(GOLDEN.lines().next().unwrap());
        assert!(erased.payload.take().is_some());
        let event = decode(erased).unwrap();
        assert_eq!(event.published().unwrap().notification.content, Content::default());
    }
}
