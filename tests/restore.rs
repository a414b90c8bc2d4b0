//! What became of the log while the server was not looking: an older copy was put back, or a backup restored. Nobody is
//! served silently less than they had seen (promise 3), and nothing that is damaged is handed out.

use std::path::Path;

use serde_json::{Value, json};

use crate::rebuild::live_a_little;
use crate::world::{Device, World, id, ids, person, service};

async fn publish(world: &World, title: &str) -> Value {
    let audience = json!({ "users": ["ada"], "channels": ["everyone"] });
    world.publish(json!({ "type": "note", "title": title, "audience": audience })).await
}

async fn resume(world: &World, cursor: &str) -> Device {
    let path = format!("/v1/ws?token={}&cursor={cursor}", person("ada"));
    world.try_connect(&path).await.expect("a device connects")
}

/// Everything in a data directory, as it is.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What a device holds at a moment, and the notification it saw last.
async fn see(world: &World, title: &str) -> (String, String) {
    let mut device = world.connect(&person("ada")).await;
    let receipt = publish(world, title).await;
    let message = device.expect("notification").await;
    assert_eq!(message["notification"]["id"], receipt["id"]);
    (message["cursor"].as_str().unwrap().to_owned(), id(&receipt))
}

/// However the copy is put back, and however far the log has grown since: who saw more than it has is reset, who did not
/// goes on where they were.
#[tokio::test]
async fn an_older_log_put_back_resets_who_saw_its_lost_end_and_nobody_else() {
    for everything in [false, true] {
        let mut world = World::start().await;
        let (within, first) = see(&world, "kept").await;
        assert!(world.stop().await.success());
        let aside = world.directory.path().join("aside");
        copy(&world.data(), &aside);
        world.resume().await;
        let (beyond, lost) = see(&world, "lost").await;
        publish(&world, "lost, too").await;
        assert!(world.stop().await.success());
        world.resume().await;
        let (further, _) = see(&world, "lost in a later run").await;
        assert!(world.stop().await.success());

        if everything {
            std::fs::remove_dir_all(world.data()).unwrap();
            copy(&aside, &world.data());
        } else {
            std::fs::copy(aside.join("log.db"), world.data().join("log.db")).unwrap();
        }
        world.resume().await;
        let again = publish(&world, "instead").await;
        // Beyond every position that was lost: the same positions are other events now.
        for number in 0..20 {
            publish(&world, &format!("more {number}")).await;
        }
        for cursor in [&beyond, &further] {
            let mut device = resume(&world, cursor).await;
            let expected = json!({ "result": "reset", "reason": "historyChanged" });
            assert_eq!(device.hello["resume"], expected, "{cursor}, everything: {everything}");
            assert_eq!(device.notifications().await, Vec::<String>::new());
        }
        let mut device = resume(&world, &within).await;
        assert_eq!(device.hello["resume"]["result"], "continued", "everything: {everything}");
        let missed = device.notifications().await;
        assert_eq!((missed.len(), &missed[0]), (21, &id(&again)));

        let page = world.get("/v1/inbox?limit=100", &person("ada")).await;
        assert_eq!(ids(&page).len(), 22);
        assert_eq!((&page["unread"], ids(&page).last()), (&json!(22), Some(&first)));
        assert!(!ids(&page).contains(&lost));
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_reported() {
    let mut world = World::start().await;
    publish(&world, "kept").await;
    assert!(world.stop().await.success());
    let old = std::fs::read(world.data().join("log.db")).unwrap();
    world.resume().await;
    publish(&world, "lost").await;
    assert!(world.stop().await.success());
    assert!(!world.errors_of_a_start().await.contains("lost its end"), "nothing was lost");
    std::fs::write(world.data().join("log.db"), old).unwrap();
    assert!(world.errors_of_a_start().await.contains("lost its end"));
    assert!(!world.errors_of_a_start().await.contains("lost its end"), "said once");
    // A file that says nothing is passed over.
    for nonsense in ["", "x", "0123456789ab"] {
        std::fs::write(world.data().join("known-head"), nonsense).unwrap();
        assert!(!world.errors_of_a_start().await.contains("lost its end"));
    }
}

/// Whether it succeeded, and what was said.
async fn run(world: &World, arguments: &[&str]) -> (bool, String) {
    let output = world.command(arguments).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_backup_made_while_serving_is_restored_whole_and_resets_who_saw_more() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    let (within, _) = see(&world, "within").await;
    // Something is appended all the time.
    let stop = tokio_util::sync::CancellationToken::new();
    let (url, stopped) = (world.url("/v1/notifications"), stop.clone());
    let appending = tokio::spawn(async move {
        let http = reqwest::Client::new();
        let mut count = 0;
        while !stopped.is_cancelled() {
            let body =
                json!({ "type": "load", "audience": { "users": ["carol"] }, "body": "x".repeat(2_000) });
            let sent = http.post(&url).bearer_auth(service()).json(&body).send().await.unwrap();
            assert!(sent.status().is_success(), "{:?}", sent.text().await);
            count += 1;
        }
        count
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let backup = world.directory.path().join("backup.db").display().to_string();
    let (succeeded, said) = run(&world, &["backup", &backup]).await;
    assert!(succeeded && said.contains("backed up"), "{said}");
    stop.cancel();
    assert!(appending.await.unwrap() > 0);
    let of: u64 = said.split(' ').nth(2).unwrap().parse().unwrap();
    let (succeeded, said) = run(&world, &["backup", &backup]).await;
    assert!(!succeeded && said.contains("is there already"), "{said}");
    let (beyond, lost) = see(&world, "beyond").await;
    let log = world.log().await;
    assert!(world.stop().await.success());

    let (succeeded, said) = run(&world, &["restore", &backup]).await;
    assert!(!succeeded && said.contains("--replace"), "{said}");
    let (succeeded, said) = run(&world, &["restore", &backup, "--replace"]).await;
    assert!(succeeded && said.contains(&format!("restored {of} events")), "{said}");
    assert!(world.data().join("log.replaced.db").exists(), "a mistake can be undone");
    assert!(!world.errors_of_a_start().await.contains("lost its end"), "it is known already");
    world.resume().await;
    assert_eq!(world.log().await[..of as usize], log[..of as usize], "it is the log up to there");
    let mut device = resume(&world, &beyond).await;
    assert_eq!(device.hello["resume"], json!({ "result": "reset", "reason": "historyChanged" }));
    assert!(!device.notifications().await.contains(&lost));
    assert_eq!(resume(&world, &within).await.hello["resume"]["result"], "continued");
    let (sound, said) = crate::check::check(&world).await;
    assert!(sound, "{said}");

    // And on another machine, where there is nothing.
    let other = world.directory.path().join("other");
    let mut restore = tokio::process::Command::new(crate::world::binary());
    let restored = restore.args(["restore", &backup, "--data-dir"]).arg(&other).output().await.unwrap();
    assert!(restored.status.success(), "{restored:?}");
    assert!(other.join("log.db").exists());
}

#[tokio::test]
async fn a_backup_that_is_damaged_or_none_is_not_restored() {
    let mut world = World::start().await;
    live_a_little(&world).await;
    let backup = world.directory.path().join("backup.db");
    let name = backup.display().to_string();
    let (refused, said) = run(&world, &["restore", &name]).await;
    assert!(!refused && said.contains("backup.db"), "there is none: {said}");
    assert!(run(&world, &["backup", &name]).await.0);
    let (refused, said) = run(&world, &["restore", &name, "--replace"]).await;
    assert!(!refused && said.contains("in use"), "{said}");
    assert!(world.stop().await.success());
    let whole = std::fs::read(&backup).unwrap();
    let log = std::fs::read(world.data().join("log.db")).unwrap();
    let at = whole.windows(9).position(|bytes| bytes == b"number 17").unwrap();
    for damaged in [
        [&whole[..at], b"numbre 17", &whole[at + 9..]].concat(),
        [&whole[..8_192], &[7; 4_096], &whole[12_288..]].concat(),
        whole[..whole.len() / 2].to_vec(),
        b"this is no database".repeat(1_000),
        Vec::new(),
    ] {
        std::fs::write(&backup, &damaged).unwrap();
        let (restored, said) = run(&world, &["restore", &name, "--replace"]).await;
        assert!(!restored, "{} bytes: {said}", damaged.len());
        assert!(log == std::fs::read(world.data().join("log.db")).unwrap(), "nothing was done");
        assert!(!world.data().join("log.restoring.db").exists());
    }
    std::fs::write(&backup, &whole).unwrap();
    assert!(run(&world, &["restore", &name, "--replace"]).await.0, "it is the damage that is refused");
}
