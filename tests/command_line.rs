//! The command line: what a person types, and what it says.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use crate::world::{World, binary, in_time, person};

async fn run(mut command: Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = in_time("the command", command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

/// Reads lines until one holds each of the texts, in their order.
async fn says(output: impl AsyncRead + Unpin, texts: &[&str]) {
    let mut lines = BufReader::new(output).lines();
    for text in texts {
        let line = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("it ended without saying {text:?}");
        };
        in_time(text, line).await;
    }
}

#[tokio::test]
async fn it_publishes_shows_the_inbox_and_the_log() {
    let world = World::start().await;
    let publish = ["publish", "--user", "ada", "--type", "greeting", "--title", "Hello, Ada", "--key", "k"];
    let (succeeded, said, _) = run(world.command(&publish)).await;
    assert!(succeeded && said.contains("at position 2"), "{said}");
    let (succeeded, said, _) = run(world.command(&publish)).await;
    assert!(succeeded && said.contains("at position 2 (published before, under this key)"), "{said}");
    let (_, said, _) =
        run(world.command(&["publish", "--channel", "everyone", "--data", "{\"a\":1}", "--live"])).await;
    assert!(said.contains("at position 3"), "{said}");

    let (_, said, _) = run(world.command(&["inbox", "ada"])).await;
    assert!(said.starts_with("ada: 1 unread, 1 unseen\n•  "), "{said}");
    assert!(said.contains("greeting") && said.contains("Hello, Ada"), "{said}");
    let (_, said, _) = run(world.command(&["inbox", "ada", "--json", "--unread"])).await;
    let page: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(page["items"][0]["notification"]["title"], "Hello, Ada");

    let mut tail = world.command(&["tail", "--after", "0"]);
    let mut tail = tail.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let published = "NotificationPublished  greeting to ada: Hello, Ada";
    says(tail.stdout.take().unwrap(), &["Started", published, "message to everyone"]).await;
    let mut tail = world.command(&["tail", "--json"]);
    let mut tail = tail.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let live = async {
        // Until it follows, there is nothing to tell that it does.
        loop {
            world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
            if let Ok(line) = tokio::time::timeout(Duration::from_millis(200), lines.next_line()).await {
                return line.unwrap().unwrap();
            }
        }
    };
    let event: Value = serde_json::from_str(&in_time("an event", live).await).unwrap();
    assert_eq!(event["type"], "NotificationPublished");
}

#[tokio::test]
async fn it_makes_tokens_that_the_server_takes() {
    let world = World::start().await;
    let (_, token, _) =
        run(world.command(&["token", "--user", "bob", "--role", "PRO", "--permit", "topic:*"])).await;
    let device = world.connect(token.trim()).await;
    assert_eq!(device.hello["channels"], json!(["everyone", "role:PRO"]));
    for (flags, expected) in [
        (["--user", ""], "expected a user id"),
        (["--permit", "*"], "expected a channel"),
        (["--expires-in", "soon"], "expected a whole number and a unit"),
        (["--scope", "everything"], "possible values: publish, admin"),
    ] {
        let (succeeded, said, complaint) = run(world.command(&[&["token"][..], &flags].concat())).await;
        assert!(!succeeded && said.is_empty() && complaint.contains(expected), "{flags:?}: {complaint}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words() {
    let world = World::start().await;
    let (succeeded, _, complaint) = run(world.command(&["publish"])).await;
    assert!(!succeeded && complaint.contains("Nobody is addressed"), "{complaint}");
    let (_, _, complaint) = run(world.command(&["publish", "--user", "ada", "--data", "x"])).await;
    assert!(complaint.contains("--data is not JSON"), "{complaint}");
    let (_, _, complaint) = run(world.command(&["inbox", "ada", "--url", "http://127.0.0.1:1"])).await;
    assert!(complaint.contains("no server answers at http://127.0.0.1:1"), "{complaint}");
    let (_, _, complaint) = run(world.command(&["inbox", "ada", "--token", "forged"])).await;
    assert!(complaint.contains("A valid token is needed"), "{complaint}");

    let empty = tempfile::tempdir().unwrap();
    let mut stranger = Command::new(binary());
    stranger.args(["inbox", "ada", "--data-dir"]).arg(empty.path()).env_remove("TIDINGS_SECRET");
    let (_, _, complaint) = run(stranger).await;
    assert!(complaint.contains("there is no secret in"), "{complaint}");

    let mut taken = Command::new(binary());
    taken.args(["serve", "--listen", world.address(), "--data-dir"]).arg(empty.path());
    let (succeeded, _, complaint) = run(taken).await;
    assert!(!succeeded && complaint.contains("cannot listen on"), "{complaint}");
    let mut twice = Command::new(binary());
    twice.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(world.data());
    let (succeeded, _, complaint) = run(twice).await;
    assert!(!succeeded && complaint.contains("in use by another process"), "{complaint}");

    let file = empty.path().join("tidings.toml");
    for (toml, expected) in [
        ("lisen = 1", "did you mean listen?"),
        ("[plugins.nosuch]", "plugins.nosuch: there is no such key"),
        ("[plugins.type-routes]\n\"a\" = [\"nowhere\"]", "expected a channel"),
        ("[log]\nlevel = 'x=y=z'", "log.level"),
    ] {
        std::fs::write(&file, toml).unwrap();
        let mut wrong = Command::new(binary());
        wrong
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(empty.path());
        let (succeeded, _, complaint) = run(wrong).await;
        assert!(!succeeded && complaint.contains(expected), "{toml}: {complaint}");
    }
}

/// The command line without a server, with a configuration file and nothing in its environment.
fn configured(directory: &std::path::Path, toml: &str, arguments: &[&str]) -> Command {
    let file = directory.join("tidings.toml");
    std::fs::write(&file, toml).unwrap();
    let mut command = Command::new(binary());
    command.env_clear().args(["config"]).args(arguments).arg("--config").arg(file).current_dir(directory);
    command
}

#[tokio::test]
async fn config_check_says_everything_that_is_wrong_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = "lisen = 'x'\n[log]\nformat = 'jsn'\n[plugins.type-routes]\n'booking *' = []\n'a' = ['everyone', 'nowhere']";
    let (succeeded, said, complained) = run(configured(directory.path(), wrong, &["check"])).await;
    assert!(!succeeded && said.is_empty(), "{said}");
    for part in [
        "4 things in the configuration are not as expected",
        "tidings.toml:1:1: lisen: there is no such key; did you mean listen?",
        "tidings.toml:3:10: log.format: expected \"human\" or \"json\", got \"jsn\"; did you mean \"json\"?",
        "tidings.toml:5:1: plugins.type-routes.booking *: expected a type",
        "tidings.toml:6:20: plugins.type-routes.a[1]: expected a channel",
    ] {
        assert!(complained.contains(part), "{part}: {complained}");
    }
    let mut sound = configured(directory.path(), "listen = '127.0.0.1:1'", &["check"]);
    let (succeeded, said, _) = run({
        sound.env("TIDINGS_LISEN", "x");
        sound
    })
    .await;
    assert!(
        succeeded && said.contains("did you mean TIDINGS_LISTEN?") && said.contains("is as expected"),
        "{said}"
    );
    let file = directory.path().join("other.toml");
    std::fs::write(&file, "x = 1").unwrap();
    let (succeeded, _, complained) =
        run(configured(directory.path(), "", &["check", file.to_str().unwrap()])).await;
    assert!(!succeeded && complained.contains("other.toml:1:1: x"), "{complained}");
}

#[tokio::test]
async fn config_print_is_a_configuration_that_says_where_each_setting_comes_from_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let toml = "stall-seconds = 7\n[token]\nsecret = 'hunter2hunter2hunter2hunter2hunter2'\n[plugins.type-routes]\n'a.*' = ['everyone']";
    let mut print = configured(directory.path(), toml, &["print", "--set", "log.level=debug"]);
    print.env("TIDINGS_DELIVERY_PROGRESS", "false");
    let (succeeded, said, _) = run(print).await;
    assert!(succeeded && !said.contains("hunter2"), "{said}");
    for (setting, source) in [
        ("stall-seconds = 7", "tidings.toml:1:1"),
        ("listen = \"127.0.0.1:7400\"", "default"),
        ("progress = false", "TIDINGS_DELIVERY_PROGRESS"),
        ("level = \"debug\"", "--set log.level"),
        ("# token.secret is set, and not shown", "tidings.toml:3:1"),
    ] {
        let line = said
            .lines()
            .find(|line| line.starts_with(setting))
            .unwrap_or_else(|| panic!("{setting}: {said}"));
        assert!(line.ends_with(source), "{line}");
    }
    let (succeeded, again, complained) = run(configured(directory.path(), &said, &["print"])).await;
    assert!(succeeded, "{complained}");
    assert!(again.contains("stall-seconds = 7") && again.contains("\"a.*\" = [\"everyone\"]"), "{again}");
}

#[tokio::test]
async fn config_explain_says_what_a_setting_is_for_and_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let explain = |key| configured(directory.path(), "[log]\nlevel = 'warn'", &["explain", key]);
    let (_, said, _) = run(explain("log.level")).await;
    for part in [
        "How much is said",
        "text",
        "\"info\"",
        "\"warn\", from ",
        ":2:1",
        "TIDINGS_LOG_LEVEL or LOG_LEVEL",
        "--set log.level=VALUE",
        "changes it",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (_, said, _) = run(explain("listen")).await;
    assert!(said.contains("--listen VALUE or --set") && said.contains("takes a restart"), "{said}");
    let (succeeded, _, complained) = run(explain("log.levle")).await;
    assert!(!succeeded && complained.contains("did you mean log.level?"), "{complained}");
}

#[tokio::test]
async fn without_configuration_it_keeps_a_secret_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let tidings = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data-dir").arg(&data).env_remove("TIDINGS_SECRET").kill_on_drop(true);
        command
    };
    let mut serve = tidings(&["serve", "--listen", "127.0.0.1:0"]);
    let mut server = serve.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut address = String::new();
    while address.is_empty() {
        let line = in_time("its greeting", lines.next_line()).await.unwrap().unwrap();
        address =
            line.split_once("http://").map_or("", |(_, rest)| rest).split('/').next().unwrap().to_owned();
    }
    let url = format!("http://{address}");
    let (succeeded, _, complaint) = run(tidings(&["publish", "--user", "ada", "--url", &url])).await;
    assert!(succeeded, "{complaint}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(data.join("secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else reads the secret");
    server.kill().await.unwrap();
}

#[tokio::test]
async fn the_demo_shows_two_devices_receive_and_goes_on_serving() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Command::new(binary());
    demo.args(["demo", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .env_remove("TIDINGS_SECRET");
    let mut demo = demo.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let story = [
        "phone  connected over WebSocket, 0 unread",
        "laptop connected over WebSocket, 0 unread",
        "durable at position",
        "phone  gets booking.accepted: Booking 17 was accepted  (1 unread)",
        "laptop gets booking.accepted: Booking 17 was accepted  (1 unread)",
        "phone  gets system.maintenance",
        "laptop gets system.maintenance: Maintenance tonight at eleven  (2 unread)",
        "phone  2 → 1 unread",
        "laptop 2 → 1 unread",
        "1 unread, 2 unseen",
        "system.maintenance",
        "booking.accepted",
        "Try in another terminal:",
        "publish --data-dir",
    ];
    says(demo.stdout.take().unwrap(), &story).await;
    assert!(demo.try_wait().unwrap().is_none(), "it goes on serving");
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_reason_to_complain() {
    let world = World::start().await;
    for _ in 0..50 {
        world
            .publish(json!({ "type": "note", "title": "x".repeat(500), "audience": { "users": ["ada"] } }))
            .await;
    }
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 50);
    let script = r#""$0" inbox ada --limit 50 --listen "$1" --data-dir "$2" | head -1"#;
    let mut piped = Command::new("bash");
    piped.args(["-c", script]).arg(binary()).arg(world.address()).arg(world.data());
    piped.env("TIDINGS_SECRET", crate::world::SECRET);
    let (succeeded, said, complaint) = run(piped).await;
    assert!(succeeded && said.starts_with("ada: 50 unread") && complaint.is_empty(), "{said} {complaint}");
}
