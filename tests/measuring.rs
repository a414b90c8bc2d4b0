//! The load harness measures a real server, and finds what is wrong with what a faulty one delivers.

mod faulty;

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tidings_http::token::Grant;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::tls;
use crate::world::{SECRET, World, binary, built, service, token};
use faulty::{Fault, Faulty};

const DEVICES: u64 = 12;
/// Limits that a machine's own load does not meet.
const OPEN: &str = "[limits]\nconnections-per-address = 10_000\n";

/// The harness, pointed at a server; what to do in one line.
fn harness(server: &str, line: &str) -> Command {
    static HARNESS: OnceLock<std::path::PathBuf> = OnceLock::new();
    let mut run = Command::new(HARNESS.get_or_init(|| built("tidings-load", "tidings-load")));
    run.args(line.split_whitespace()).args(["--quiet", "--format", "json", "--server", server]);
    if !line.contains("--connections ") {
        run.args(["--connections", &DEVICES.to_string()]);
    }
    run.env("TIDINGS_SECRET", SECRET).stdin(Stdio::null()).kill_on_drop(true);
    run
}

async fn output(mut run: Command) -> Output {
    let patience = Duration::from_secs(120);
    tokio::time::timeout(patience, run.output()).await.expect("it ends").expect("it runs")
}

/// What a run says that has measured; and whether everything was as it should be.
async fn measured(run: Command) -> (Value, bool) {
    let output = output(run).await;
    let (said, complained) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    let outcome = serde_json::from_slice(said).unwrap_or_else(|error| panic!("{error}: {complained}"));
    let is_sound = match output.status.code() {
        Some(0) => true,
        Some(3) => false,
        other => panic!("{other:?}: {complained}"),
    };
    (outcome, is_sound)
}

/// What a run says that could not measure.
async fn refused(run: Command) -> String {
    let output = output(run).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn number(outcome: &Value, pointer: &str) -> u64 {
    let found = outcome.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {outcome}"));
    found.as_f64().unwrap_or_else(|| panic!("{pointer} is a number: {found}")) as u64
}

fn assert_sound((outcome, is_sound): &(Value, bool)) {
    assert!(is_sound, "{}", outcome["checks"]);
    for fault in ["gaps", "repeats", "disorder", "misplaced", "misdelivered", "missedByReset"] {
        assert_eq!(outcome["checks"][fault], 0, "{fault}");
    }
}

#[tokio::test]
async fn every_publish_is_delivered_answered_timed_and_checked_over_both_transports() {
    let world = World::with_configuration(OPEN).await;
    for transport in ["ws", "sse"] {
        let flags = format!("--transport {transport} --publishes 30 --warm-up 0s --rate 100");
        let run = measured(harness(&world.url(""), &format!("broadcast {flags}"))).await;
        assert_sound(&run);
        let outcome = &run.0;
        assert_eq!(number(outcome, "/checks/deliveries"), 30 * DEVICES, "{transport}");
        assert_eq!(number(outcome, "/phases/0/series/0/deliveryMicros/count"), 30 * DEVICES);
        assert_eq!(number(outcome, "/phases/0/series/0/answerMicros/count"), 30);
        assert_eq!(number(outcome, "/phases/0/series/0/completeMicros/count"), 30);
        assert_eq!(number(outcome, "/connecting/greetedMicros/count"), DEVICES);
        // 30 publishes at 100 a second: the last one is due 290 ms after the first, which may be a little before the phase.
        assert!(outcome["phases"][0]["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.2));

        let flags = format!("--transport {transport} --publishes 60 --warm-up 0s --outstanding 4 --batch 3");
        let run = measured(harness(&world.url(""), &format!("unicast {flags}"))).await;
        assert_sound(&run);
        assert_eq!(number(&run.0, "/checks/deliveries"), 60, "{transport}");
        assert_eq!(run.0["phases"][0]["series"][0]["completeMicros"], Value::Null, "one reader each");
    }
}

#[tokio::test]
async fn those_who_would_have_published_while_the_server_stalled_are_counted() {
    let world = World::with_configuration(OPEN).await;
    let faulty = Faulty::before(world.address().to_owned(), Fault::Stall, 0).await;
    let flags = "--rate 100 --publishers 2 --duration 1500ms --warm-up 0s";
    let run = measured(harness(&faulty.url(), &format!("broadcast {flags}"))).await;
    assert_sound(&run);
    let count = |field: &str| number(&run.0, &format!("/phases/0/series/0/{field}/count"));
    let published = count("answerMicros");
    assert!((145..=151).contains(&published), "rate times duration, and not what could go out: {published}");
    assert_eq!(count("deliveryMicros"), published * DEVICES);
    let half = number(&run.0, "/phases/0/series/0/answerMicros/p50");
    assert!(half > 200_000, "two thirds were due while it stalled, and waited as long: {half}");
}

#[tokio::test]
async fn a_server_that_answers_no_more_is_not_called_sound() {
    let world = World::with_configuration(OPEN).await;
    let faulty = Faulty::before(world.address().to_owned(), Fault::Mute, 0).await;
    let flags = "--outstanding 2 --duration 1500ms --warm-up 0s --patience 1s";
    let (outcome, is_sound) = measured(harness(&faulty.url(), &format!("broadcast {flags}"))).await;
    assert!(!is_sound);
    assert_eq!((&outcome["checks"]["unanswered"], &outcome["checks"]["gaps"]), (&2.into(), &0.into()));
}

#[tokio::test]
async fn each_kind_of_a_mixed_load_is_timed_apart() {
    let world = World::with_configuration(OPEN).await;
    let flags = "--outstanding 2 --broadcast-rate 20 --duration 1s --warm-up 200ms --acknowledge";
    let run = measured(harness(&world.url(""), &format!("mixed {flags}"))).await;
    assert_sound(&run);
    let series =
        |index: usize, field: &str| number(&run.0, &format!("/phases/0/series/{index}/{field}/count"));
    assert_eq!(
        (&run.0["phases"][0]["series"][0]["name"], series(1, "answerMicros") * DEVICES),
        (&Value::from("unicast"), series(1, "deliveryMicros"))
    );
    assert_eq!(series(0, "deliveryMicros"), series(0, "answerMicros"));
    assert!(series(1, "answerMicros") > 0, "20 a second");
}

#[tokio::test]
async fn slow_readers_get_everything_once_they_read() {
    let world = World::with_configuration(OPEN).await;
    for (transport, bytes) in [("ws", "0"), ("sse", "2000")] {
        let flags = format!(
            "--transport {transport} --slow 4 --slow-bytes {bytes} --outstanding 4 --publishes 100 --body-bytes 2000 --warm-up 0s"
        );
        let run = measured(harness(&world.url(""), &format!("slow {flags}"))).await;
        assert_sound(&run);
        assert_eq!(number(&run.0, "/checks/deliveries"), 100 * DEVICES + 100 * (DEVICES + 4), "{transport}");
        assert!(number(&run.0, "/slowReaders/behind") > 0, "they are slow");
        let timed = |phase| number(&run.0, &format!("/phases/{phase}/series/0/deliveryMicros/count"));
        assert_eq!((timed(0), timed(1)), (100 * DEVICES, 100 * DEVICES), "the slow ones' times do not count");
    }
}

#[tokio::test]
async fn all_devices_come_back_from_storms_with_what_they_missed() {
    let world = World::with_configuration(OPEN).await;
    for transport in ["ws", "sse"] {
        let flags = format!(
            "--transport {transport} --rate 100 --storms 2 --away 500ms --duration 500ms --warm-up 0s --connect-rate 0"
        );
        let run = measured(harness(&world.url(""), &format!("storm {flags}"))).await;
        assert_sound(&run);
        let of_storms = |field: &str| [0, 1].map(|storm| number(&run.0, &format!("/storms/{storm}/{field}")));
        assert_eq!(of_storms("caughtUpMicros/count"), [DEVICES; 2]);
        assert!(of_storms("publishedMeanwhile").iter().sum::<u64>() > 0, "while they were away");
        let published: u64 = (0..5).map(|phase| number(&run.0, &format!("/phases/{phase}/publishes"))).sum();
        assert!(
            number(&run.0, "/checks/deliveries") >= published * DEVICES,
            "those on their way at the end, too"
        );
    }
}

#[tokio::test]
async fn idle_connections_are_weighed_on_a_server_that_it_starts_itself_and_shown_in_a_report() {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("report.html");
    let mut run = Command::new(built("tidings-load", "tidings-load"));
    run.args([
        "connections",
        "--connections",
        "50",
        "--hold",
        "600ms",
        "--quiet",
        "--format",
        "json",
        "--report",
    ]);
    run.arg(&report).arg("--binary").arg(binary()).kill_on_drop(true);
    let run = measured(run).await;
    assert_sound(&run);
    assert!(number(&run.0, "/connecting/serverMemoryIdleBytes") > 1 << 20);
    assert!(run.0["phases"][0]["serverCpuSeconds"].is_number());
    assert_is_one_page(&report);
}

/// It has charts, and needs nothing but itself.
fn assert_is_one_page(file: &Path) {
    let page = std::fs::read_to_string(file).expect("it was written");
    assert!(page.contains("<svg") && page.ends_with("</html>\n"));
    for resource in ["src=", "href=", "@import", "url(", "<script", "NaN"] {
        assert!(!page.contains(resource), "{resource}");
    }
}

#[tokio::test]
async fn a_server_with_tls_is_measured_once_its_certificate_is_trusted() {
    let (world, _) = tls::started(OPEN).await;
    let certificate = world.directory.path().join("certificate.pem");
    for transport in ["ws", "sse"] {
        let line = format!("broadcast --transport {transport} --rate 50 --publishes 20 --warm-up 0s");
        let trusting = format!("{line} --ca {}", certificate.display());
        let run = measured(harness(&world.url(""), &trusting)).await;
        assert_sound(&run);
        assert_eq!(number(&run.0, "/checks/deliveries"), 20 * DEVICES, "{transport}");
        let stranger = refused(harness(&world.url(""), &line)).await;
        assert!(stranger.contains("certificate"), "{stranger}");
    }
}

#[tokio::test]
async fn tokens_of_an_issuer_are_taken_from_a_file_and_need_a_channel_of_their_own() {
    let world = World::with_configuration(OPEN).await;
    let file = world.directory.path().join("users.txt");
    let user = |number: u64| {
        let (id, roles) = (format!("issued-{number}"), vec!["LOAD".to_owned()]);
        let token = token(&Grant { user: Some(id.clone()), roles, ..Grant::default() });
        format!("{id} {token}\n")
    };
    std::fs::write(&file, (0..DEVICES).map(user).collect::<String>()).expect("a file");
    let line = "broadcast --rate 50 --publishes 20 --warm-up 0s";
    let with_tokens = |more: &str| {
        let line = format!("{line} --tokens {} --publish-token {} {more}", file.display(), service());
        harness(&world.url(""), &line)
    };
    let nowhere = refused(with_tokens("")).await;
    assert!(nowhere.contains("--channel"), "{nowhere}");
    let few = refused(with_tokens("--connections 100 --channel role:LOAD")).await;
    assert!(few.contains("tokens of 12 users, and 100"), "{few}");
    let run = measured(with_tokens("--channel role:LOAD")).await;
    assert_sound(&run);
    assert_eq!(number(&run.0, "/checks/deliveries"), 20 * DEVICES);
}

#[tokio::test]
async fn what_devices_miss_that_are_told_to_reset_is_counted_and_no_gap() {
    let world = World::with_configuration(OPEN).await;
    for transport in ["ws", "sse"] {
        let line = format!(
            "storm --transport {transport} --rate 100 --limit 3 --away 400ms --duration 500ms --warm-up 0s"
        );
        let (outcome, is_sound) = measured(harness(&world.url(""), &line)).await;
        assert!(is_sound, "{}", outcome["checks"]);
        assert_eq!(outcome["disturbances"]["resets"]["tooMany"], DEVICES, "{}", outcome["disturbances"]);
        let missed = number(&outcome, "/checks/missedByReset");
        assert!(missed > 3 * DEVICES, "{}", outcome["checks"]);
    }
}

/// Runs it through a proxy that does something wrong to three of its devices.
async fn measured_through(server: String, fault: Fault, transport: &str) -> (Value, bool) {
    let faulty = Faulty::before(server, fault, 3).await;
    // Each in a tenant of its own, as they run at once.
    let tenant = format!("{fault:?}-{transport}").to_lowercase();
    let line = format!(
        "broadcast --transport {transport} --tenant {tenant} --rate 30 --publishes 20 --warm-up 0s --patience 1s"
    );
    measured(harness(&faulty.url(), &line)).await
}

#[tokio::test]
async fn a_message_that_is_dropped_repeated_swapped_or_moved_is_found() {
    let world = World::with_configuration(OPEN).await;
    let mut runs = JoinSet::new();
    for transport in ["ws", "sse"] {
        for (fault, told) in [
            (Fault::Drop, "gaps"),
            (Fault::Repeat, "repeats"),
            (Fault::Swap, "disorder"),
            (Fault::Move, "misplaced"),
        ] {
            let address = world.address().to_owned();
            runs.spawn(async move {
                let (outcome, is_sound) = measured_through(address, fault, transport).await;
                let checks = &outcome["checks"];
                assert!(!is_sound, "{fault:?} over {transport}: {checks}");
                let found = number(&outcome, &format!("/checks/{told}"));
                // If a wrong position is the first to come, those who get the right one are told.
                let is_found = found == 3 || fault == Fault::Move && found > 3;
                assert!(is_found, "{fault:?} over {transport}: {checks}");
                let example = checks["examples"][0].as_str().unwrap_or_default();
                assert!(example.starts_with("connection "), "{checks}");
                for other in ["gaps", "repeats"] {
                    assert!(other == told || checks[other] == 0, "{fault:?} over {transport}: {checks}");
                }
            });
        }
        let address = world.address().to_owned();
        runs.spawn(async move { assert_sound(&measured_through(address, Fault::None, transport).await) });
    }
    runs.join_all().await;
}

#[tokio::test]
async fn connections_that_the_server_ends_are_told_and_come_back_without_a_gap() {
    let mut world = World::with_configuration(OPEN).await;
    let address = world.address().parse().expect("an address");
    let flags = "--rate 50 --duration 4s --warm-up 0s --patience 5s";
    let running = tokio::spawn(measured(harness(&world.url(""), &format!("broadcast {flags}"))));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(world.stop().await.success());
    let again = world.serve_on(address);
    world.resume_with(again).await;
    let run = running.await.expect("it ends");
    assert_sound(&run);
    let closings = run.0["disturbances"]["closings"].to_string();
    assert!(closings.contains("1012"), "{}", run.0["disturbances"]);
    assert!(number(&run.0, "/checks/deliveries") > 0 && run.0["notes"].is_array());
}

#[tokio::test]
async fn what_keeps_it_from_measuring_is_said_with_what_to_do() {
    let nobody = refused(harness("http://127.0.0.1:1", "connections")).await;
    assert!(nobody.contains("127.0.0.1:1") && nobody.contains("refused"), "{nobody}");
    let nonsense = refused(harness("127.0.0.1:7400/v1", "connections")).await;
    assert!(nonsense.contains("http://127.0.0.1:7400"), "{nonsense}");

    let world = World::with_configuration(
        "[limits]\nconnections-per-address = 60\nconnections-per-user = 3\npublishes = { count = 5, seconds = 60 }\n",
    )
    .await;
    let url = world.url("");
    let mut wrong = harness(&url, "connections");
    wrong.env("TIDINGS_SECRET", "another secret, of another server altogether");
    let wrong = refused(wrong).await;
    assert!(wrong.contains("401") && wrong.contains("--secret"), "{wrong}");
    let crowd = refused(harness(&url, "connections --connections 100")).await;
    assert!(crowd.contains("limits.connections-per-address"), "{crowd}");
    for transport in ["ws", "sse"] {
        let same = refused(harness(&url, &format!("connections --users 1 --transport {transport}"))).await;
        assert!(same.contains("limits.connections-per-user"), "{same}");
    }
    let flags = "--rate 50 --publishes 20 --warm-up 0s";
    let run = measured(harness(&url, &format!("unicast {flags}"))).await;
    assert_sound(&run);
    let refusals = run.0["disturbances"]["publishesRefused"].to_string();
    assert!(refusals.contains("limits.publishes") && refusals.contains("15"), "{refusals}");
    assert_eq!(number(&run.0, "/checks/deliveries"), 5);
}
