//! What became of the log while the server was not looking: an older copy was put back, or a backup restored. Nobody is
//! served silently less than they had seen (promise 3), and nothing that is damaged is handed out.

use std::path::Path;

use serde_json::{Value, json};

use crate::world::{Device, World, id, ids, person};

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
