//! Views that begin with a snapshot: the same answers as from the first event (promise 7), from the newest one that can be used.

use std::time::Duration;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::check::check;
use crate::rebuild::{MANY, answers, live_a_little};
use crate::world::{World, in_time, person, service};

async fn take(world: &World) -> i64 {
    world.post("/v1/admin/snapshot", &service(), json!({})).await["position"].as_i64().unwrap()
}

fn log(world: &World) -> Connection {
    Connection::open(world.data().join("log.db")).unwrap()
}

/// The positions of the snapshots that are kept, and how many parts there are that are of none of them.
fn kept(world: &World) -> (Vec<i64>, i64) {
    let log = log(world);
    let mut statement = log.prepare("SELECT position FROM snapshots ORDER BY position").unwrap();
    let positions = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let sql = "SELECT count(*) FROM snapshot_parts WHERE position NOT IN (SELECT position FROM snapshots)";
    (positions, log.query_row(sql, [], |row| row.get(0)).unwrap())
}

async fn command(world: &World, arguments: &[&str]) -> (bool, String) {
    let output = world.command(arguments).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// What came before a snapshot is read only where its content is needed: damage elsewhere shows what a view was built from.
fn damage_a_mark_before(world: &World, position: i64) {
    let sql = "UPDATE events SET envelope = '{}' WHERE position =
        (SELECT max(position) FROM events WHERE type = 'Read' AND position < ?1)";
    assert_eq!(log(world).execute(sql, [position]).unwrap(), 1);
}

#[tokio::test]
async fn a_view_begins_with_the_newest_snapshot_that_can_be_used() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    let older = take(&world).await;
    live_a_little(&world).await;
    let (taken, said) = command(&world, &["snapshot"]).await;
    assert!(taken && said.contains("took a snapshot of everything up to position"), "{said}");
    live_a_little(&world).await;
    let (sound, said) = check(&world).await;
    assert!(sound && said.contains("compared what came of 2 snapshots, too"), "{said}");
    assert!(world.stop().await.success());
    let newer = *kept(&world).0.last().unwrap();
    assert!(newer > older);

    // The delivery view is built of all of the log; until that fails, the inbox view is in place.
    let is_in_place = |said: &str| said.contains("the delivery view cannot be built");
    damage_a_mark_before(&world, older);
    let (_, said) = command(&world, &["rebuild"]).await;
    assert!(said.contains("its checksum does not fit") && !is_in_place(&said), "all of the log: {said}");
    let (_, said) = command(&world, &["rebuild", "--from-snapshot"]).await;
    assert!(is_in_place(&said), "{said}");

    damage_a_mark_before(&world, newer);
    let (_, said) = command(&world, &["rebuild", "--from-snapshot"]).await;
    assert!(is_in_place(&said), "it begins with the newest: {said}");
    let garble = "UPDATE snapshot_parts SET part = zeroblob(length(part)) WHERE position = ?1";
    assert!(log(&world).execute(garble, [newer]).unwrap() > 0);
    let (_, said) = command(&world, &["rebuild", "--from-snapshot"]).await;
    assert!(!is_in_place(&said), "from the one before, over a damaged event: {said}");
    let (sound, said) = check(&world).await;
    assert!(!sound, "{said}");
}

/// The same answers, over the wire: live, and in views that began with either snapshot or with the first event.
#[tokio::test]
async fn a_view_from_a_snapshot_answers_as_one_from_the_first_event() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    take(&world).await;
    live_a_little(&world).await;
    let newer = take(&world).await;
    live_a_little(&world).await;
    let before = answers(&world).await;
    let view = world.data().join("inbox.db");
    for damage in [None, Some(newer), Some(0)] {
        assert!(world.stop().await.success());
        if let Some(position) = damage {
            let garble = "UPDATE snapshot_parts SET part = zeroblob(3) WHERE position >= ?1";
            assert!(log(&world).execute(garble, [position]).unwrap() > 0);
        }
        std::fs::remove_file(&view).unwrap();
        world.resume().await;
        assert_eq!(answers(&world).await, before, "damaged from {damage:?} on");
    }
    let path = "/v1/admin/rebuild?from=snapshot";
    let rebuilt = world.request(Method::POST, path, &service()).send().await.unwrap().text().await.unwrap();
    assert!(rebuilt.contains("rebuilt"), "{rebuilt}");
    assert_eq!(answers(&world).await, before, "while it is served");
}

#[tokio::test]
async fn snapshots_are_taken_by_themselves_and_the_last_two_are_kept() {
    let world = World::with_configuration("snapshot-events = 50").await;
    for _ in 0..4 {
        let (seen, _) = kept(&world);
        for _ in 0..3 {
            live_a_little(&world).await;
        }
        in_time("another snapshot", async {
            while kept(&world).0.last() == seen.last() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let last = take(&world).await;
    let (positions, left_over) = kept(&world);
    assert_eq!((positions.len(), positions.last(), left_over), (2, Some(&last), 0), "{positions:?}");
    let (sound, said) = check(&world).await;
    assert!(sound, "{said}");
}

#[tokio::test]
async fn a_snapshot_that_is_cut_short_is_none() {
    let mut world = World::with_configuration(MANY).await;
    let draft = json!({ "type": "n", "title": "x".repeat(100), "audience": { "users": ["carol"] } });
    for _ in 0..30 {
        world.post("/v1/notifications/batch", &service(), json!(vec![draft.clone(); 1_000])).await;
    }
    let given_up = world.request(Method::POST, "/v1/admin/snapshot", &service()).send();
    let in_the_middle = async {
        while kept(&world).1 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = given_up => panic!("it takes longer than its first part"),
        () = in_time("the first part", in_the_middle) => {}
    }
    world.kill().await;
    let (listed, parts) = kept(&world);
    assert!(listed.is_empty() && parts > 0, "{listed:?}, {parts}");
    world.resume().await;
    let taken = take(&world).await;
    assert_eq!(kept(&world), (vec![taken], 0), "what was left over is gone");
    let (sound, said) = check(&world).await;
    assert!(sound, "{said}");
}

/// What was wrong in the view may be so in the snapshots of it.
#[tokio::test]
async fn a_rebuild_from_the_first_event_drops_the_snapshots() {
    let world = World::start().await;
    live_a_little(&world).await;
    let taken = take(&world).await;
    let (rebuilt, said) = command(&world, &["rebuild", "--from-snapshot"]).await;
    assert!(rebuilt && kept(&world).0 == [taken], "{said}");
    let (rebuilt, said) = command(&world, &["rebuild"]).await;
    assert!(rebuilt && kept(&world) == (Vec::new(), 0), "{said}");
}

#[tokio::test]
async fn no_snapshot_is_taken_where_there_is_no_room() {
    let world = World::with_configuration("reserve-bytes = 1_000_000_000_000_000").await;
    let (status, problem) = world.send(Method::POST, "/v1/admin/snapshot", &service(), &Value::Null).await;
    assert_eq!(status.as_u16(), 507, "{problem}");
    assert_eq!(kept(&world), (Vec::new(), 0));
}

/// The old one is there until the new one is complete.
#[tokio::test]
async fn a_delivery_view_that_cannot_be_rebuilt_is_kept() {
    let mut world = World::with_configuration(MANY).await;
    live_a_little(&world).await;
    let receipt = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let path = format!("/v1/notifications/{}/deliveries", crate::world::id(&receipt));
    let before = world.get(&path, &service()).await;
    assert_eq!(before["totals"]["routed"], 1);
    // Further back than what a server has in memory after a start.
    let draft = json!({ "type": "n", "audience": { "users": ["bob"] } });
    for _ in 0..18 {
        world.post("/v1/notifications/batch", &service(), json!(vec![draft.clone(); 1_000])).await;
    }
    let position = take(&world).await;
    assert!(world.stop().await.success());
    damage_a_mark_before(&world, position);
    world.resume().await;
    let rebuilt = world.request(Method::POST, "/v1/admin/rebuild?from=snapshot", &service());
    let said = rebuilt.send().await.unwrap().text().await.unwrap();
    assert!(said.contains("problem"), "{said}");
    assert_eq!(world.get(&path, &service()).await, before);
}

#[tokio::test]
async fn only_operators_take_snapshots() {
    let world = World::start().await;
    let refused = world.send(Method::POST, "/v1/admin/snapshot", &person("ada"), &Value::Null).await;
    assert_eq!(refused.0.as_u16(), 403);
    let path = "/v1/admin/rebuild?from=memory";
    let (status, problem) = world.send(Method::POST, path, &service(), &Value::Null).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (422, &json!("from")), "{problem}");
}
