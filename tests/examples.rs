//! The examples do what they show.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use tidings_http::token::Grant;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::nats::broker::Broker;
use crate::nats::until_state;
use crate::world::{World, in_time, token};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

/// A Rust example, built if it is not up to date.
fn cargo_example(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "tidings-examples", "--example", name, "--"]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Python with the clients that the examples need.
fn python() -> PathBuf {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    assert!(python.exists(), "{} is missing: ./test.sh makes it", python.display());
    python
}

fn of_ada(world: &World, command: &mut Command) {
    let scopes = vec!["publish".to_owned()];
    let grant = Grant { user: Some("ada".to_owned()), scopes, ..Grant::default() };
    command.env("TIDINGS_URL", world.url("")).env("TIDINGS_TOKEN", token(&grant)).kill_on_drop(true);
}

/// Building an example takes longer than anything that should happen at once.
async fn output(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().await.expect("the example runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (said, complaint) = (text(stdout), text(stderr));
    assert!(status.success(), "{said}\n{complaint}");
    said
}

#[tokio::test]
async fn the_engine_can_be_embedded() {
    let said = output(cargo_example("embedded")).await;
    assert!(said.contains("durable at position 3"), "{said}");
    assert!(said.contains(r#"delivered: {"type":"notification""#), "{said}");
    assert!(said.contains("inbox: 1 notification, 0 unread"), "{said}");
}

#[tokio::test]
async fn a_routing_rule_can_be_added() {
    let said = output(cargo_example("routing_rule")).await;
    assert_eq!(said, "bob, who is on call, has 1 unread\n");
}

#[tokio::test]
async fn a_publisher_retries_without_publishing_twice() {
    let world = World::start().await;
    let mut publisher = cargo_example("publisher");
    of_ada(&world, &mut publisher);
    let said = output(publisher).await;
    assert!(said.ends_with("published again: duplicate = true, the same id = true\n"), "{said}");
}

#[tokio::test]
async fn curl_publishes_and_listeners_in_rust_and_python_hear_it() {
    let world = World::start().await;
    let mut rust = cargo_example("listener");
    rust.arg("3");
    let mut script = Command::new(python());
    script.arg(folder().join("listen.py")).arg("3");
    let mut listeners = Vec::new();
    for (mut command, greeting) in [(rust, "0 unread"), (script, "I am ada, with 0 unread")] {
        of_ada(&world, &mut command);
        let mut listener = command.stdout(Stdio::piped()).spawn().expect("the listener starts");
        let mut lines = BufReader::new(listener.stdout.take().expect("an output")).lines();
        let first = lines.next_line().await.expect("its output").expect("a line");
        assert_eq!(first, greeting);
        listeners.push((listener, lines));
    }
    let mut publish = Command::new(folder().join("publish.sh"));
    of_ada(&world, &mut publish);
    let said = output(publish).await;
    assert_eq!(said.matches(r#""duplicate":true"#).count(), 1, "{said}");
    assert!(said.contains("urn:tidings:problem:nobody-addressed"), "{said}");
    for (mut listener, mut lines) in listeners {
        let mut heard = Vec::new();
        let listen = async {
            while let Some(line) = lines.next_line().await.expect("its output") {
                heard.push(line.replace('"', ""));
            }
            listener.wait().await.expect("it ends")
        };
        assert!(in_time("the listener", listen).await.success());
        for title in ["Booking 17 was accepted", "Order 1 was paid", "Order 1 was shipped"] {
            assert_eq!(heard.iter().filter(|line| line.ends_with(title)).count(), 1, "{title}: {heard:?}");
        }
    }
}

#[tokio::test]
async fn services_in_rust_and_python_publish_and_hear_over_nats() {
    let broker = Broker::start().await;
    let inboxes = "[[nats.inboxes]]\nusers = ['ada']\nallow = ['read', 'write']\n";
    let world = World::with_configuration(&broker.settings(&format!("out = ['users']\n{inboxes}"))).await;
    until_state(&world, "consuming").await;
    let mut subscriber = cargo_example("nats_subscriber");
    let mut subscriber =
        subscriber.arg("3").env("NATS_URL", broker.url()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(subscriber.stdout.take().expect("an output")).lines();
    assert_eq!(lines.next_line().await.expect("its output").as_deref(), Some("0 unread"));
    let mut publisher = cargo_example("nats_publisher");
    publisher.env("NATS_URL", broker.url());
    let said = output(publisher).await;
    assert!(said.ends_with("published, duplicate = false\npublished, duplicate = true\n"), "{said}");
    let mut script = Command::new(python());
    script.arg(folder().join("nats_service.py")).env("NATS_URL", broker.url());
    let said = output(script).await;
    assert!(said.starts_with("stored in TIDINGS\nnotification: Order 7 was paid\n422: "), "{said}");
    let mut heard = Vec::new();
    while let Some(line) = in_time("a line", lines.next_line()).await.expect("its output") {
        heard.push(line);
    }
    for title in ["Booking 19 was accepted", "Booking 20 was accepted", "Order 7 was paid"] {
        assert_eq!(heard.iter().filter(|line| *line == title).count(), 1, "{heard:?}");
    }
    assert_eq!(heard.iter().filter(|line| line.starts_with("read: {\"position\":")).count(), 3, "{heard:?}");
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was_when_the_server_comes_back() {
    let mut world = World::start().await;
    let address = world.address().to_owned();
    let mut follow = Command::new(folder().join("follow.sh"));
    of_ada(&world, &mut follow);
    let mut follower = follow.stdout(Stdio::piped()).spawn().expect("the follower starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("an output")).lines();
    let hello = in_time("the hello", lines.next_line()).await.expect("its output").expect("a line");
    assert!(hello.starts_with("hello "), "{hello}");
    let mut told = Vec::new();
    for title in ["before", "after"] {
        if title == "after" {
            world.kill().await;
            let mut again = Command::new(crate::world::binary());
            again.args(["serve", "--listen", &address, "--data-dir"]).arg(world.data());
            world.resume_with(again).await;
        }
        let note = serde_json::json!({ "type": "note", "title": title, "audience": { "users": ["ada"] } });
        world.publish(note).await;
        loop {
            let line = in_time("a line", lines.next_line()).await.expect("its output").expect("it goes on");
            told.push(line);
            if told.last().is_some_and(|line| line.starts_with("notification ") && line.contains(title)) {
                break;
            }
        }
    }
    let notifications = told.iter().filter(|line| line.starts_with("notification ")).count();
    assert_eq!(notifications, 2, "each once: {told:#?}");
    assert!(told.iter().any(|line| line.contains(r#""result":"continued""#)), "{told:#?}");
}
