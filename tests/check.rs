//! `tidings check` finds every kind of damage and names its place; what is damaged in the log is never delivered.

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use crate::rebuild::live_a_little;
use crate::world::{World, person, service};

/// Whether all is well, and what was said.
pub async fn check(world: &World) -> (bool, String) {
    let output = world.command(&["check"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_sound_directory_is_found_sound_with_and_without_a_server() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    let (sound, said) = check(&world).await;
    assert!(
        sound && said.contains("compared the inbox view") && said.contains("compared the delivery view"),
        "while it serves: {said}"
    );
    assert!(world.stop().await.success());
    let before = std::fs::read(world.data().join("log.db")).unwrap();
    let (sound, said) = check(&world).await;
    assert!(sound && said.contains("compared the inbox view"), "{said}");
    assert!(before == std::fs::read(world.data().join("log.db")).unwrap(), "it only reads");
    std::fs::remove_file(world.data().join("inbox.db")).unwrap();
    let (sound, said) = check(&world).await;
    assert!(
        sound && said.contains("the next start builds it"),
        "a view that is not there is no damage: {said}"
    );
    std::fs::write(world.data().join("inbox.db"), "this is no database ".repeat(1_000)).unwrap();
    let (sound, said) = check(&world).await;
    assert!(!sound && said.contains("inbox.db: it cannot be read"), "{said}");
    let files = std::fs::read_dir(world.data()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = files.filter(|name| name == "check").collect();
    assert!(left.is_empty(), "{left:?}");

    let mut nowhere = tokio::process::Command::new(crate::world::binary());
    let nowhere = nowhere.args(["check", "--data-dir", "/nowhere"]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("no event log"), "{nowhere:?}");
}

#[tokio::test]
async fn a_busy_server_is_checked_as_well_as_an_idle_one() {
    let world = World::start().await;
    live_a_little(&world).await;
    let mut device = world.connect(&person("ada")).await;
    let publishing = async {
        loop {
            world.publish(json!({ "type": "n", "audience": { "users": ["ada"] } })).await;
            device.expect("notification").await;
        }
    };
    let (sound, said) =
        tokio::select! { checked = check(&world) => checked, () = publishing => unreachable!() };
    assert!(sound && !said.contains("the next start builds it"), "{said}");
    assert!(
        said.contains("compared the inbox view") && said.contains("compared the delivery view"),
        "{said}"
    );
}

/// Damage, done by SQL to the log and to the view, and what has to be said of it.
const DAMAGE: &[(&str, &str, &str)] = &[
    (
        "log.db",
        "UPDATE events SET envelope = replace(envelope, 'ada', 'bda') WHERE position = 7",
        "event 7: its checksum",
    ),
    ("log.db", "UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 7", "event 7: its checksum"),
    (
        "log.db",
        "UPDATE payloads SET payload = replace(payload, 'number', 'numbur') WHERE position = 9",
        "event 9: the checksum of its payload",
    ),
    ("log.db", "UPDATE events SET checksum = NULL WHERE position = 9", "event 9: it has no checksum"),
    (
        "log.db",
        "UPDATE events SET checksum = NULL, envelope = '{' WHERE position = 9",
        "event 9: event 9 (NotificationPublished version 1) cannot be decoded",
    ),
    ("log.db", "DELETE FROM events WHERE position = 8", "event 8: it is missing, up to 8"),
    ("log.db", "DELETE FROM events WHERE position = (SELECT position FROM head)", "but the events end at"),
    ("log.db", "UPDATE head SET position = position - 1", "there are 1 events beyond it"),
    (
        "log.db",
        "DELETE FROM entries WHERE (stream, \"offset\") = (1, 2)",
        "offset 2 of stream 1 is not its own",
    ),
    (
        "log.db",
        "UPDATE entries SET \"offset\" = 99 WHERE (stream, \"offset\") = (1, 2)",
        "stream 1: its head is",
    ),
    ("log.db", "INSERT INTO entries VALUES (77, 1, 3)", "entries: there are"),
    ("log.db", "UPDATE streams SET head = head + 1 WHERE id = 1", "stream 1: its head is"),
    ("log.db", "UPDATE streams SET name = 'user:eve' WHERE name = 'user:ada'", "is not its own"),
    ("log.db", "UPDATE idempotency_keys SET position = 999", "key \"k\": it points to 999"),
    ("log.db", "INSERT INTO payloads VALUES (999, '{}', 0)", "payload 999: it belongs to no event"),
    (
        "log.db",
        "UPDATE epochs SET first = 999 WHERE first = (SELECT max(first) FROM epochs)",
        "1 begin beyond the head",
    ),
    (
        "inbox.db",
        "DELETE FROM notifications WHERE position = 9",
        "inbox.db, notifications (9): it is missing",
    ),
    (
        "inbox.db",
        "INSERT INTO people VALUES ('default', 'eve', 3, NULL)",
        "inbox.db, people (default, eve): a rebuild does not have it",
    ),
    ("inbox.db", "UPDATE readings SET cursor = cursor + 1 WHERE user = 'bob'", "in a rebuild"),
    (
        "deliveries.db",
        "UPDATE notifications SET routed = 7 WHERE position = 9",
        "deliveries.db, notifications (9): routed is 7, in a rebuild",
    ),
    ("deliveries.db", "DELETE FROM reads", "deliveries.db, reads ("),
    (
        "log.db",
        "UPDATE snapshot_parts SET part = zeroblob(9)",
        "the checksum of part 0 of its snapshot does not fit",
    ),
    ("log.db", "DELETE FROM snapshot_parts", "0 of its 1 parts are there"),
    (
        "inbox.db",
        "UPDATE readings SET archived = NULL WHERE user = 'ada' AND archived IS NOT NULL",
        "archived is nothing, in a rebuild",
    ),
    ("inbox.db", "DELETE FROM concerns WHERE channel = 'user:ada'", "concerns (default, user:ada"),
    ("inbox.db", "DELETE FROM entries WHERE \"offset\" = 2", "inbox.db, entries (1, 2): it is missing"),
];

/// Changes a file as nobody should.
fn damage(data: &Path, file: &str, sql: &str) {
    let connection = Connection::open(data.join(file)).unwrap();
    let changed = connection.execute(sql, []).unwrap();
    assert!(changed > 0, "{sql} changes something");
}

#[tokio::test]
async fn every_kind_of_damage_is_found_and_named() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    world.publish(json!({ "type": "n", "audience": { "users": ["ada"] }, "idempotencyKey": "k" })).await;
    world.post("/v1/admin/snapshot", &service(), json!({})).await;
    world.get("/v1/stats", &service()).await; // so that the delivery view has everything, too
    assert!(world.stop().await.success());
    let whole: Vec<(&str, Vec<u8>)> = ["log.db", "inbox.db", "deliveries.db"]
        .map(|file| (file, std::fs::read(world.data().join(file)).unwrap()))
        .into();
    for (file, sql, expected) in DAMAGE {
        damage(&world.data(), file, sql);
        let (sound, said) = check(&world).await;
        assert!(!sound && said.contains(expected), "{sql}: {said}");
        assert!(said.contains("finding"), "{said}");
        for (file, bytes) in &whole {
            std::fs::write(world.data().join(file), bytes).unwrap();
        }
    }
    assert!(check(&world).await.0, "it is the damage that is found");
}

/// Whatever byte of a stored event changes, it is found when it is read, and what it says is not handed out.
#[tokio::test]
async fn an_event_whose_bytes_changed_on_the_disk_is_never_delivered() {
    let mut world = World::start().await;
    let device = world.connect(&person("ada")).await;
    let cursor = device.hello["cursor"].as_str().unwrap().to_owned();
    drop(device);
    let audience = json!({ "users": ["ada"] });
    world.publish(json!({ "type": "n", "title": "CANARY-IN-THE-LOG", "audience": audience })).await;
    assert!(world.stop().await.success());
    let log = world.data().join("log.db");
    let whole = std::fs::read(&log).unwrap();
    let at =
        whole.windows(17).position(|bytes| bytes == b"CANARY-IN-THE-LOG").expect("it is stored as it is");
    let mut flipped = whole.clone();
    flipped[at + 3] ^= 1;
    std::fs::write(&log, &flipped).unwrap();

    let (sound, said) = check(&world).await;
    assert!(!sound && said.contains("the checksum of its payload does not fit"), "{said}");
    let mut command = world.command(&["serve"]);
    let output = crate::world::in_time("the server's end", command.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("at position 3"),
        "what is recent is read at the start: {said}"
    );

    // Further back than what a start reads, it is found by whoever comes to it.
    std::fs::write(&log, &whole).unwrap();
    world.resume().await;
    for _ in 0..17 {
        let drafts: Vec<_> =
            (0..1_000).map(|_| json!({ "type": "n", "audience": { "users": ["bob"] } })).collect();
        world.post("/v1/notifications/batch", &service(), json!(drafts)).await;
    }
    assert!(world.stop().await.success());
    let mut bytes = std::fs::read(&log).unwrap();
    let at =
        bytes.windows(17).position(|bytes| bytes == b"CANARY-IN-THE-LOG").expect("it is stored as it is");
    bytes[at + 3] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    world.resume().await;
    let path = format!("/v1/events?cursor={cursor}");
    let answer = world.request(reqwest::Method::GET, &path, &person("ada")).send().await.unwrap();
    assert_eq!(answer.status(), 500, "what was missed cannot be said");
    assert!(!answer.text().await.unwrap().contains("CAN"));
    let counts = world.get("/v1/counts", &person("bob")).await;
    assert_eq!(counts["unread"], 17_000, "others are served");
}
