//! Derived means derived (promise 7): a view that is missing, damaged or of another version is rebuilt, with the same
//! answers.

use serde_json::{Value, json};

use crate::world::{World, id, person, service};

/// Something of everything.
pub async fn live_a_little(world: &World) {
    for channel in ["topic:a", "topic:b"] {
        let add = json!({ "add": ["ada", "bob"] });
        world.post(&format!("/v1/channels/{channel}/members"), &service(), add).await;
    }
    let mut published = Vec::new();
    for number in 0..30 {
        let audience = match number % 4 {
            0 => json!({ "users": ["ada", "bob"] }),
            1 => json!({ "channels": ["topic:a", "topic:b"] }),
            2 => json!({ "channels": ["everyone"], "except": ["bob"] }),
            _ => json!({ "users": ["ada"], "channels": ["topic:a"] }),
        };
        let title = format!("number {number}");
        published.push(world.publish(json!({ "type": "note", "title": title, "audience": audience })).await);
    }
    let ada = person("ada");
    for (command, numbers) in
        [("read", [0, 1, 3]), ("archive", [2, 3, 4]), ("pin", [5, 6, 7]), ("delete", [8, 9, 10])]
    {
        let ids: Vec<String> = numbers.iter().map(|number| id(&published[*number])).collect();
        world.post(&format!("/v1/inbox/{command}"), &ada, json!({ "notifications": ids })).await;
    }
    world.post("/v1/inbox/seen", &ada, json!({ "upTo": published[20]["position"] })).await;
    world.post("/v1/inbox/read-all", &person("bob"), json!({ "upTo": published[20]["position"] })).await;
    let path = "/v1/channels/topic:b/members/bob";
    world.ok(reqwest::Method::DELETE, path, &service(), &Value::Null).await;
}

/// Every answer there is, without the position it was given at: the server's own starts are in the log, too.
pub async fn answers(world: &World) -> Vec<String> {
    let mut answers = Vec::new();
    for user in ["ada", "bob"] {
        for path in [
            "/v1/inbox?limit=100",
            "/v1/inbox?archived=true",
            "/v1/inbox?unread=true",
            "/v1/inbox?pinned=true",
            "/v1/inbox?channel=topic:a",
            "/v1/counts?by=type",
            "/v1/counts?by=channel",
        ] {
            let mut answer = world.get(path, &person(user)).await;
            answer["position"].take();
            answers.push(format!("{user} {path} {answer}"));
        }
    }
    for channel in ["everyone", "topic:a", "topic:b"] {
        answers.push(world.get(&format!("/v1/channels/{channel}/members"), &service()).await.to_string());
    }
    answers
}

#[tokio::test]
async fn a_view_that_cannot_be_used_is_rebuilt_with_the_same_answers() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    let before = answers(&world).await;
    let view = world.data().join("inbox.db");

    assert!(world.stop().await.success());
    world.resume().await;
    assert_eq!(answers(&world).await, before, "kept");

    assert!(world.stop().await.success());
    std::fs::remove_file(&view).unwrap();
    world.resume().await;
    assert_eq!(answers(&world).await, before, "missing");

    assert!(world.stop().await.success());
    std::fs::write(&view, "this is not a database, but it is long enough to be taken for one".repeat(100))
        .unwrap();
    world.resume().await;
    assert_eq!(answers(&world).await, before, "damaged");

    for change in ["version = version + 1", "epoch = 'another'", "position = 999999"] {
        assert!(world.stop().await.success());
        let connection = rusqlite::Connection::open(&view).unwrap();
        connection.execute(&format!("UPDATE checkpoint SET {change}"), []).unwrap();
        connection.execute("DELETE FROM entries", []).unwrap();
        drop(connection);
        world.resume().await;
        assert_eq!(answers(&world).await, before, "{change}");
    }
}

/// Wherever it is damaged: at the start, or when somebody looks, the server finds out and mends it.
#[tokio::test]
async fn a_view_of_which_a_page_is_damaged_is_rebuilt() {
    const PAGE: usize = 4_096;
    let mut world = World::start().await;
    live_a_little(&world).await;
    let before = answers(&world).await;
    assert!(world.stop().await.success());
    let view = world.data().join("inbox.db");
    let pages = std::fs::read(&view).unwrap().len() / PAGE;
    for page in 1..pages {
        let mut bytes = std::fs::read(&view).unwrap();
        let at = (page * PAGE).min(bytes.len() - PAGE);
        for (index, byte) in bytes[at..at + PAGE].iter_mut().enumerate() {
            *byte = (index * 31 + page * 7) as u8;
        }
        std::fs::write(&view, bytes).unwrap();
        world.resume().await;
        if !world.answers_all(&[&person("ada"), &person("bob")]).await {
            assert!(!world.ended().await.success(), "page {page}: a server that cannot answer stops");
            world.resume().await;
        }
        assert_eq!(answers(&world).await, before, "page {page} of {pages}");
        assert!(world.stop().await.success(), "page {page}");
    }
}

#[tokio::test]
async fn a_view_that_fell_behind_catches_up() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    let view = world.data().join("inbox.db");
    assert!(world.stop().await.success());
    let old = std::fs::read(&view).unwrap();
    world.resume().await;
    world.publish(json!({ "type": "note", "audience": { "users": ["ada"], "channels": ["topic:a"] } })).await;
    world.post("/v1/inbox/read-all", &person("ada"), json!({ "upTo": 1 })).await;
    let before = answers(&world).await;
    assert!(world.stop().await.success());
    std::fs::write(&view, old).unwrap();
    world.resume().await;
    assert_eq!(answers(&world).await, before);
}

#[tokio::test]
async fn the_command_rebuilds_while_no_server_runs() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    let before = answers(&world).await;
    let refused = world.command(&["rebuild"]).output().await.unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("in use"), "{refused:?}");
    let mut nowhere = tokio::process::Command::new(crate::world::binary());
    let nowhere = nowhere.args(["rebuild", "--data-dir", "/nowhere"]).output().await.unwrap();
    assert!(!nowhere.status.success(), "there is no log to rebuild from");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("no event log"), "{nowhere:?}");
    assert!(world.stop().await.success());
    let rebuilt = world.command(&["rebuild"]).output().await.unwrap();
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    assert!(
        String::from_utf8_lossy(&rebuilt.stdout).starts_with("rebuilt the inbox view from "),
        "{rebuilt:?}"
    );
    world.resume().await;
    assert_eq!(answers(&world).await, before);
}
