//! What an operator does with a server that runs: stops it, changes its configuration, reads its metrics and its log.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidings_http::token::Grant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, in_time, person, service, token};

/// Scrapes, and reads what comes with the parser of another project.
async fn metrics(world: &World) -> BTreeMap<String, f64> {
    let reader = token(&Grant { scopes: vec!["metrics".to_owned()], ..Grant::default() });
    let response = world.request(Method::GET, "/metrics", &reader).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    parsed(&response.text().await.unwrap())
}

fn parsed(text: &str) -> BTreeMap<String, f64> {
    const PARSE: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
samples = {}
for family in parse(sys.stdin.read()):
    assert family.documentation, family
    for s in family.samples:
        labels = ','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))
        assert (s.name, labels) not in samples, s
        samples[s.name + '{' + labels + '}'] = s.value
json.dump(samples, sys.stdout)
";
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    assert!(python.exists(), "{} is missing: ./test.sh makes it", python.display());
    let mut parser = std::process::Command::new(python);
    let mut parser = parser.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn note(title: &str) -> Value {
    json!({ "type": "note", "title": title, "audience": { "users": ["ada"] } })
}

#[tokio::test]
async fn metrics_are_well_formed_and_move_as_they_should() {
    let world = World::start().await;
    world.publish(note("so that she is known")).await;
    let before = metrics(&world).await;
    let mut phone = world.connect(&person("ada")).await;
    for title in ["a", "b", "c"] {
        world.publish(note(title)).await;
        phone.expect("notification").await;
    }
    let cursor = phone.hello["cursor"].clone();
    phone.ask(json!({ "type": "read-all" })).await;
    phone.close().await;
    let path = format!("/v1/ws?token={}&cursor={}", person("ada"), cursor.as_str().unwrap());
    let mut back = world.try_connect(&path).await.unwrap();
    assert_eq!(back.notifications().await.len(), 3, "before the answer to a ping, and written before that");
    world.send(Method::GET, "/v1/inbox", "forged", &Value::Null).await;
    let after = metrics(&world).await;
    let moved = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    for (name, by) in [
        ("tidings_events_total{type=NotificationPublished}", 3.0),
        ("tidings_events_total{type=Read}", 1.0),
        ("tidings_connections_opened_total{transport=ws}", 2.0),
        ("tidings_connections{transport=ws}", 1.0),
        ("tidings_connection_seconds_count{transport=ws}", 1.0),
        ("tidings_resumes_total{result=continued}", 1.0),
        ("tidings_resumes_total{result=reset_cursor_ahead}", 0.0),
        ("tidings_delivery_seconds_count{transport=ws}", 3.0),
        ("tidings_delivery_seconds_bucket{le=+Inf,transport=ws}", 3.0),
        ("tidings_http_requests_total{method=POST,route=/v1/notifications,status=201}", 3.0),
        ("tidings_http_requests_total{method=GET,route=/v1/inbox,status=401}", 1.0),
        ("tidings_http_request_seconds_count{route=/v1/notifications}", 3.0),
        ("tidings_commits_failed_total{}", 0.0),
        ("tidings_mailboxes_full_total{}", 0.0),
    ] {
        assert_eq!(moved(name), by, "{name}");
    }
    let sent = moved("tidings_notifications_sent_total{transport=ws}");
    assert_eq!(sent, 6.0, "three live, and what was missed again");
    let commits = moved("tidings_commit_seconds_count{}");
    assert!(commits >= 4.0 && commits == moved("tidings_commit_commands_count{}"), "{commits}");
    assert!(moved("tidings_commit_seconds_sum{}") > 0.0 && moved("tidings_mailbox_parcels_total{}") >= 3.0);
    assert_eq!(after["tidings_subscribers{state=live}"], 1.0);
    for view in ["inbox", "deliveries"] {
        let lag = format!("tidings_view_lag_events{{view={view}}}");
        let caught_up = async { while metrics(&world).await[&lag] > 0.0 {} };
        in_time("the view", caught_up).await;
    }
    let syncs = moved("tidings_sync_seconds_count{}");
    assert!(syncs >= commits && moved("tidings_sync_seconds_sum{}") > 0.0, "{syncs}");
    assert!(moved("tidings_sync_seconds_sum{}") <= moved("tidings_commit_seconds_sum{}"));
    assert!(after["tidings_log_head{}"] > before["tidings_log_head{}"]);
    assert!(after["process_cpu_seconds_total{}"] > 0.0 && after["process_resident_memory_bytes{}"] > 1e6);
    assert_eq!(after[&format!("tidings_build_info{{version={}}}", env!("CARGO_PKG_VERSION"))], 1.0);
    // Nobody's name, and no tenant, is in a label.
    assert!(after.keys().all(|name| !name.contains("ada") && !name.contains("default")), "{after:?}");
}

#[tokio::test]
async fn metrics_are_for_those_whose_token_says_so_and_on_an_address_of_their_own() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::with_configuration(&format!("metrics-listen = '{free}'")).await;
    let status =
        async |token: &str| world.request(Method::GET, "/metrics", token).send().await.unwrap().status();
    assert_eq!(status("forged").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&person("ada")).await, StatusCode::FORBIDDEN);
    let publisher = token(&Grant { scopes: vec!["publish".to_owned()], ..Grant::default() });
    assert_eq!(status(&publisher).await, StatusCode::FORBIDDEN);
    let scoped = |scope: &str| token(&Grant { scopes: vec![scope.to_owned()], ..Grant::default() });
    assert_eq!(status(&scoped("admin")).await, StatusCode::FORBIDDEN, "they are of the whole server");
    assert_eq!(status(&scoped("operator")).await, StatusCode::OK);
    let open = world.http.get(format!("http://{free}/metrics")).send().await.unwrap();
    assert!(parsed(&open.text().await.unwrap()).contains_key("tidings_log_head{}"));
    let elsewhere = world.http.get(format!("http://{free}/v1/inbox")).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND, "there is nothing else");
}

#[tokio::test]
async fn only_operators_do_what_concerns_the_whole_server_and_others_are_told_what_they_lack() {
    let shops = "a secret of another shop, long enough for HS256";
    let world = World::with_configuration(&format!(
        "[[token.issuers]]\nname = 'shop'\nissuer = 'shop'\ntenant = 'shop'\nkeys = [{{ secret = '{shops}' }}]"
    ))
    .await;
    let scoped = |scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        token(&Grant { scopes, ..Grant::default() })
    };
    let of_shop = tidings_config::TokenSettings { issuer: Some("shop".to_owned()), ..Default::default() };
    let scopes = ["operator", "admin", "metrics"].map(str::to_owned).to_vec();
    let grant = Grant { scopes, ..Grant::default() };
    let of_shop =
        tidings_http::token::mint(&of_shop, shops.as_bytes(), &grant, Duration::from_secs(60)).unwrap();
    world.get("/v1/presence", &of_shop).await; // it manages its own
    let metrics = world.request(Method::GET, "/metrics", &of_shop).send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::FORBIDDEN, "they are of the whole server");
    for path in ["/v1/admin/snapshot", "/v1/admin/rebuild"] {
        for token in [&scoped(&["publish", "admin", "metrics"]), &of_shop, &person("ada")] {
            let (status, problem) = world.send(Method::POST, path, token, &Value::Null).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains("scope `operator`"), "{problem}");
        }
        let allowed = world.send(Method::POST, path, &scoped(&["operator"]), &Value::Null).await;
        assert_eq!(allowed.0, StatusCode::OK, "{path}: {}", allowed.1);
    }
    for command in ["snapshot", "rebuild"] {
        let said = async |token: Option<&str>| {
            let mut arguments = vec![command, "--url"];
            let url = world.url("");
            arguments.push(&url);
            arguments.extend(token.iter().flat_map(|token| ["--token", token]));
            let output = in_time(command, world.command(&arguments).output()).await.unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (succeeded, error) = said(Some(&scoped(&["admin"]))).await;
        assert!(!succeeded && error.contains("scope `operator`"), "{command}: {error}");
        let (succeeded, error) = said(None).await;
        assert!(succeeded, "{command} beside the server: {error}");
    }
}

#[tokio::test]
async fn while_it_starts_it_lives_is_not_ready_and_says_when_to_come_back() {
    let mut world = World::start().await;
    assert!(world.stop().await.success());
    // Somebody holds the log, so that the start waits.
    let log = rusqlite::Connection::open(world.data().join("log.db")).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (free, mut command) = (free.to_string(), world.serve_on(free));
    let ask = async |path: &str| {
        let answered = async {
            loop {
                match world.http.get(format!("http://{free}{path}")).send().await {
                    Ok(answer) => return answer,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let answer = in_time(path, answered).await;
        let retry_after = answer.headers().contains_key("retry-after");
        (answer.status(), retry_after, answer.json::<Value>().await.unwrap())
    };
    let asked = async {
        let live = ask("/health/live").await;
        let ready = ask("/health/ready").await;
        let other = ask("/v1/counts").await;
        let mut early = Vec::new();
        for _ in 0..20 {
            early.push(TcpStream::connect(&free).await.unwrap());
        }
        log.execute_batch("ROLLBACK").unwrap();
        (live, ready, other, early)
    };
    let _server = command.spawn().unwrap();
    let (live, ready, other, early) = asked.await;
    assert_eq!(live, (StatusCode::OK, false, json!({ "status": "live" })));
    assert_eq!(ready, (StatusCode::SERVICE_UNAVAILABLE, false, json!({ "status": "starting" })));
    assert_eq!((other.0, other.1), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert_eq!(other.2["type"], "urn:tidings:problem:unavailable", "{}", other.2);
    let served = async { while ask("/health/ready").await.0 != StatusCode::OK {} };
    in_time("its being ready", served).await;
    assert_eq!(ask("/v1/counts").await.0, StatusCode::UNAUTHORIZED);
    for mut connection in early {
        connection.write_all(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        in_time("an answer", connection.read_exact(&mut answer)).await.expect("it was kept open");
        assert_eq!(&answer, b"HTTP/1.1 200 OK", "who came while it started is served like everybody");
    }
}

#[tokio::test]
async fn told_to_stop_it_says_so_goes_on_for_a_while_and_tells_everybody_another_moment_to_come_back() {
    const DEVICES: usize = 24;
    let mut world =
        World::with_configuration("[shutdown]\ndelay-seconds = 2\nreturn-within-seconds = 60").await;
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(world.connect(&person("ada")).await);
    }
    let stream = world.request(Method::GET, "/v1/events", &person("ada")).send().await.unwrap();
    assert_eq!(world.http.get(world.url("/health/ready")).send().await.unwrap().status(), StatusCode::OK);

    world.signal("TERM");
    let not_ready = async {
        while world.http.get(world.url("/health/ready")).send().await.unwrap().status() == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time("its not being ready", not_ready).await;
    let receipt = world.publish(note("still served")).await;
    devices.push(world.connect(&person("ada")).await);
    for device in &mut devices[..DEVICES] {
        device.expect("notification").await;
    }

    let mut moments = Vec::new();
    for device in &mut devices {
        let closing = device.expect("closing").await;
        moments.push(closing["retryAfterMs"].as_u64().unwrap());
        assert_eq!(closing["code"], 1012);
        assert!(closing["cursor"].is_string());
        assert_eq!(device.closed().await, 1012);
    }
    moments.sort_unstable();
    assert!(moments.iter().all(|moment| *moment < 60_000), "{moments:?}");
    assert!(moments[DEVICES] - moments[0] > 15_000, "they would come back together: {moments:?}");
    moments.dedup();
    assert!(moments.len() > DEVICES / 2, "{moments:?}");
    let text = in_time("the stream's end", stream.text()).await.unwrap();
    let last = text.rsplit_once("retry: ").unwrap().1;
    let (moment, rest) = last.split_once('\n').unwrap();
    assert!(moment.parse::<u64>().unwrap() < 60_000 && rest.contains("event: closing"), "{text}");
    assert!(world.ended().await.success(), "it exits with 0");

    world.resume().await;
    let log = world.log().await;
    let after = log.iter().filter(|event| event["position"].as_u64() > receipt["position"].as_u64());
    let types: Vec<&str> = after.map(|event| event["type"].as_str().unwrap()).collect();
    assert!(types.contains(&"Progress"), "how far devices came is recorded: {types:?}");
}

#[tokio::test]
async fn told_twice_to_stop_it_ends_at_once() {
    let mut world = World::with_configuration("[shutdown]\ndelay-seconds = 3600").await;
    world.signal("TERM");
    let not_ready = async {
        while world.http.get(world.url("/health/ready")).send().await.unwrap().status() == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time("its not being ready", not_ready).await;
    world.signal("TERM");
    assert_eq!(world.ended().await.code(), Some(1));
}

/// A server whose log is in a file.
async fn logged(world: &mut World, level: &str) -> PathBuf {
    let path = world.directory.path().join("log");
    let mut command = world.serve();
    command.args(["--set", &format!("log.level={level}")]);
    command.stderr(std::fs::File::create(&path).unwrap());
    world.resume_with(command).await;
    path
}

/// Waits until the log says something; all of it.
async fn says(log: &Path, text: &str) -> String {
    let said = async {
        loop {
            let log = std::fs::read_to_string(log).unwrap();
            if log.contains(text) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(text, said).await
}

#[tokio::test]
async fn a_reload_changes_what_can_and_says_what_cannot_and_a_wrong_file_changes_nothing() {
    let mut world = World::prepared("");
    let log = logged(&mut world, "info").await;
    let receipt = world
        .publish(json!({ "type": "note", "action": { "url": "/there" }, "audience": { "users": ["ada"] } }))
        .await;
    let path = format!("/v1/inbox/{}/link", receipt["id"].as_str().unwrap());
    let link = world.get(&path, &person("ada")).await["link"].as_str().unwrap().to_owned();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let leads = async || {
        let answer = client.get(world.url(&link)).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(leads().await, "/there");

    let write = |toml: &str| std::fs::write(world.directory.path().join("tidings.toml"), toml).unwrap();
    write("stall-seconds = 7\n[delivery]\naction-base = 'https://app.example'\n[log]\nformat = 'json'");
    world.signal("HUP");
    let said = says(&log, "reloaded the configuration").await;
    assert_eq!(leads().await, "https://app.example/there");
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of =
        |key: &str| lines.iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("{key}: {said}"));
    assert_eq!(of("delivery.action-base")["message"], "a setting changed");
    assert_eq!(of("delivery.action-base")["to"], "\"https://app.example\"");
    assert_eq!(of("stall-seconds")["message"], "a setting does not change before a restart");

    write("[delivery]\naction-base = 'https://other.example'\nprogres = false");
    world.signal("HUP");
    let said = says(&log, "nothing changes").await;
    assert!(
        said.contains("tidings.toml:3:1: delivery.progres")
            && said.contains("did you mean delivery.progress?")
    );
    assert_eq!(leads().await, "https://app.example/there");

    write("");
    world.signal("HUP");
    let back = async {
        while leads().await != "/there" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time("the default", back).await;
    assert!(world.stop().await.success());
}

#[tokio::test]
async fn a_request_id_goes_from_the_request_to_the_delivery() {
    let mut world = World::prepared("[log]\nformat = 'json'");
    let log = logged(&mut world, "debug").await;
    let mut phone = world.connect(&person("ada")).await;
    let publish = |header: &'static str, value: &'static str| {
        world
            .request(Method::POST, "/v1/notifications", &service())
            .header(header, value)
            .json(&note("x"))
            .send()
    };
    let id_of = |answer: &reqwest::Response| answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let own = publish("x-request-id", "order-17").await.unwrap();
    assert_eq!(id_of(&own), "order-17");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced =
        publish("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").await.unwrap();
    assert_eq!(id_of(&traced), trace);
    let odd = id_of(&publish("x-request-id", "no \"id\"").await.unwrap());
    assert_eq!(odd.len(), 32, "one is made: {odd}");
    for _ in 0..3 {
        phone.expect("notification").await;
    }
    let refused = world.http.get(world.url("/nowhere")).send().await.unwrap();
    assert_eq!(id_of(&refused).len(), 32, "also where nothing is");
    let published = phone.ask(json!({ "type": "publish", "notification": note("y") })).await;
    assert_eq!(published["problem"]["status"], 403, "{published}");

    for id in ["order-17", trace, &odd] {
        let said = in_time("every step", async {
            loop {
                let said: Vec<Value> = std::fs::read_to_string(&log)
                    .unwrap()
                    .lines()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                    .filter(|line| line["request"] == id)
                    .collect();
                if said.len() >= 4 {
                    return said;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let said = said.await;
        let mut steps: Vec<&str> = said.iter().map(|line| line["message"].as_str().unwrap()).collect();
        steps.sort_unstable();
        assert_eq!(steps, ["appended", "delivered", "folded, and put into mailboxes", "request"], "{id}");
        let request = said.iter().find(|line| line["message"] == "request").unwrap();
        assert_eq!(request["route"], "/v1/notifications");
        assert_eq!(request["status"], 201);
    }
    // A token in a header, in an address, and in a path of nobody's.
    let ada = person("ada");
    for path in ["/v1/inbox?token=", "/nowhere/", "/v1/click/"] {
        world.http.get(world.url(&format!("{path}{ada}"))).bearer_auth(&ada).send().await.unwrap();
    }
    assert!(world.stop().await.success());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("stopped") && !said.contains("eyJ"), "no token is in the log");
}
