//! Derived means derived (promise 7): a view that is missing, damaged or of another version is rebuilt, with the same
//! answers.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{World, id, ids, person, service};

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
    let mut nowhere = tokio::process::Command::new(crate::world::binary());
    let nowhere = nowhere.args(["rebuild", "--data-dir", "/nowhere"]).output().await.unwrap();
    assert!(!nowhere.status.success(), "there is no log to rebuild from");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("no event log"), "{nowhere:?}");
    assert!(world.stop().await.success());
    rebuild(&world).await;
    world.resume().await;
    assert_eq!(answers(&world).await, before);
}

async fn rebuild(world: &World) {
    let rebuilt = world.command(&["rebuild"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&rebuilt.stdout);
    assert!(rebuilt.status.success() && said.starts_with("rebuilt the views from "), "{rebuilt:?}");
}

/// Which file the view is: another one once it was put in place anew.
fn view(world: &World) -> u64 {
    std::fs::metadata(world.data().join("inbox.db")).unwrap().ino()
}

/// For tests that publish more than anybody may by default.
pub const MANY: &str = "[limits]\npublishes = { count = 1_000_000, seconds = 1 }";

/// A log long enough that a rebuild takes a while.
async fn live_long(world: &World, batches: usize) {
    live_a_little(world).await;
    for _ in 0..batches {
        let draft = json!({ "type": "n", "audience": { "users": ["carol"] } });
        world.post("/v1/notifications/batch", &service(), json!(vec![draft; 1_000])).await;
    }
}

/// Publishes to eve until it is told to stop; how often.
async fn publish_to_eve(url: String, stop: CancellationToken) -> u64 {
    let http = reqwest::Client::new();
    for count in 0.. {
        if stop.is_cancelled() {
            return count;
        }
        let body = json!({ "type": "n", "title": count.to_string(), "audience": { "users": ["eve"] } });
        let sent = http.post(&url).bearer_auth(service()).json(&body).send().await.unwrap();
        assert!(sent.status().is_success());
    }
    0
}

/// Everything is as if nothing happened: for one who is live, for one who looks, for those who did something before.
#[tokio::test]
async fn a_view_is_rebuilt_while_it_is_served_and_nobody_notices() {
    let world = World::start().await;
    live_long(&world, 10).await;
    let mut device = world.connect(&person("eve")).await;
    let before = answers(&world).await;
    let stop = CancellationToken::new();
    let publishing = tokio::spawn(publish_to_eve(world.url("/v1/notifications"), stop.clone()));
    let mut seen = 0;
    for round in 0..3 {
        let old = view(&world);
        let rebuilding = rebuild(&world);
        let looking = async {
            loop {
                let counts = world.get("/v1/counts", &person("eve")).await["unread"].as_u64().unwrap();
                let page = world.get("/v1/inbox?limit=100", &person("eve")).await;
                let (listed, unread) = (ids(&page).len() as u64, page["unread"].as_u64().unwrap());
                assert!(counts >= seen && unread >= counts, "counts only grow: {seen} {counts} {unread}");
                assert_eq!(listed, unread.min(100), "the page is of the same moment as its count");
                seen = unread;
            }
        };
        tokio::select! { () = rebuilding => {}, () = looking => {} }
        assert_ne!(view(&world), old, "round {round}: another file is in place");
        assert_eq!(answers(&world).await, before, "round {round}");
    }
    stop.cancel();
    let published = publishing.await.unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < published as usize {
        let message = device.expect("notification").await;
        numbers.push(message["notification"]["title"].as_str().unwrap().parse::<u64>().unwrap());
    }
    assert!(numbers.iter().copied().eq(0..published), "live, each once and in order");
    assert_eq!(world.get("/v1/counts", &person("eve")).await["unread"], published);
    let (sound, said) = crate::check::check(&world).await;
    assert!(sound, "{said}");
}

#[tokio::test]
async fn what_is_wrong_in_a_view_is_mended_while_it_is_served() {
    let world = World::start().await;
    live_a_little(&world).await;
    let before = answers(&world).await;
    let device = world.connect(&person("bob")).await;
    let connection = rusqlite::Connection::open(world.data().join("inbox.db")).unwrap();
    let garble = "UPDATE notifications SET document = replace(document, 'number', 'nothing')";
    assert!(connection.execute(garble, []).unwrap() > 0);
    connection.execute("UPDATE readings SET cursor = 0", []).unwrap();
    drop(connection);
    assert_ne!(answers(&world).await, before);
    rebuild(&world).await;
    assert_eq!(answers(&world).await, before);
    drop(device);
}

/// Begins a rebuild and hears that it goes on.
async fn begin_rebuild(world: &World) -> reqwest::Response {
    loop {
        let request = world.request(reqwest::Method::POST, "/v1/admin/rebuild", &service());
        let mut response = request.send().await.unwrap();
        if response.status() == 409 {
            continue; // it has not noticed yet that the one before was given up
        }
        let first = response.chunk().await.unwrap().expect("a line of progress");
        let first: Value = serde_json::from_slice(&first).unwrap();
        assert!(first["head"].as_u64().unwrap() > 40_000, "{first}");
        return response;
    }
}

#[tokio::test]
async fn a_rebuild_that_is_given_up_or_killed_leaves_the_view_that_was_there() {
    let mut world = World::with_configuration(MANY).await;
    live_long(&world, 40).await;
    let before = answers(&world).await;
    let (old, building) = (view(&world), world.data().join("inbox.building.db"));

    let given_up = begin_rebuild(&world).await;
    let again = world.send(reqwest::Method::POST, "/v1/admin/rebuild", &service(), &Value::Null).await;
    assert_eq!((again.0.as_u16(), &again.1["type"]), (409, &json!("urn:tidings:problem:rebuilding")));
    drop(given_up);
    let _going_on = begin_rebuild(&world).await;
    assert_eq!(view(&world), old, "given up");

    crate::world::in_time("the file that is built", async {
        while !building.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    world.kill().await;
    assert!(building.exists(), "it was in the middle of it");
    world.resume().await;
    assert!(!building.exists());
    assert_eq!((view(&world), answers(&world).await), (old, before.clone()), "killed");

    let path = "/v1/admin/rebuild";
    let (status, _) = world.send(reqwest::Method::POST, path, &person("ada"), &Value::Null).await;
    assert_eq!(status.as_u16(), 403);
    rebuild(&world).await;
    assert_ne!(view(&world), old);
    assert_eq!(answers(&world).await, before);
}
