//! TLS: HTTP/1.1, HTTP/2 and WebSocket over it, with real clients; certificates that are renewed under way; and clients
//! that do not go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{CertifiedKey, KeyPair};
use reqwest::{Certificate, Method, StatusCode, Version};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::doors::{IMPATIENT, stall};
use crate::world::{Device, World, in_time, person};

fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("a certificate")
}

/// Writes a certificate and a key where the server looks for them.
fn show(directory: &Path, certificate: &str, key: &str) {
    std::fs::write(directory.join("certificate.pem"), certificate).expect("a file");
    std::fs::write(directory.join("key.pem"), key).expect("a file");
}

/// A world that is not started yet, with a certificate and a client that trusts it.
fn prepared(certificate: &CertifiedKey<KeyPair>, more: &str) -> World {
    let mut world = World::prepared("");
    let directory = world.directory.path().to_owned();
    let path = |name: &str| directory.join(name).display().to_string();
    let settings =
        format!("{more}\n[tls]\ncertificate = '{}'\nkey = '{}'", path("certificate.pem"), path("key.pem"));
    std::fs::write(directory.join("tidings.toml"), settings).expect("a file");
    show(&directory, &certificate.cert.pem(), &certificate.signing_key.serialize_pem());
    world.http = trusting(certificate).build().expect("a client");
    world
}

/// A world that serves over TLS; its certificate is `certificate.pem` in its directory.
pub async fn started(more: &str) -> (World, CertifiedKey<KeyPair>) {
    let certificate = certificate();
    let mut world = prepared(&certificate, more);
    world.resume().await;
    (world, certificate)
}

fn trusting(certificate: &CertifiedKey<KeyPair>) -> reqwest::ClientBuilder {
    let trusted = Certificate::from_der(certificate.cert.der()).expect("a certificate");
    reqwest::Client::builder().tls_certs_only([trusted])
}

/// A connection on which TLS is established.
async fn connect(world: &World, trusted: &[&CertifiedKey<KeyPair>], alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.cert.der().clone()).expect("a root");
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(world.address()).await.expect("it listens");
    let name = "localhost".try_into().expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS is established")
}

async fn device(
    world: &World,
    trusted: &[&CertifiedKey<KeyPair>],
    user: &str,
) -> (Device<TlsStream<TcpStream>>, CertificateDer<'static>) {
    let stream = connect(world, trusted, b"http/1.1").await;
    let shown = stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone();
    let mut device =
        world.open_over(stream, &format!("/v1/ws?token={}", person(user))).await.expect("it opens");
    device.hello = device.expect("hello").await;
    (device, shown)
}

fn note(user: &str) -> Value {
    json!({ "type": "note", "audience": { "users": [user] } })
}

#[tokio::test]
async fn everything_is_there_over_tls_and_http2_carries_many_streams_on_one_connection() {
    // One connection for the client of HTTP/2, one for that of HTTP/1.1, one for the WebSocket.
    let (world, certificate) = started("[limits]\nconnections = 3").await;
    let answer = world.request(Method::GET, "/v1/counts", &person("ada")).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    let mut streams = Vec::new();
    for _ in 0..10 {
        let stream = world.request(Method::GET, "/v1/events", &person("ada")).send().await.unwrap();
        assert_eq!((stream.status(), stream.version()), (StatusCode::OK, Version::HTTP_2));
        streams.push(stream);
    }
    let older = trusting(&certificate).http1_only().pool_max_idle_per_host(0).build().unwrap();
    let answer = older.get(world.url("/v1/counts")).bearer_auth(person("ada")).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
    drop((answer, older));
    let (mut device, _) = device(&world, &[&certificate], "ada").await;
    let receipt = world.publish(note("ada")).await;
    assert_eq!(device.expect("notification").await["position"], receipt["position"]);
    for stream in &mut streams {
        let mut said = String::new();
        while !said.contains("event: notification") {
            let chunk = in_time("an event", stream.chunk()).await.unwrap().expect("it goes on");
            said.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_plain_request_is_refused_and_the_command_line_comes_in() {
    let (world, _certificate) = started("").await;
    let plain = world.http.get(format!("http://{}/health/live", world.address())).send().await;
    assert!(plain.is_err(), "{plain:?}");
    let config = world.directory.path().join("tidings.toml").display().to_string();
    let published =
        world.command(&["publish", "--user", "ada", "--title", "x", "--config", &config]).output();
    let published = in_time("a publish", published).await.unwrap();
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_and_no_connection_is_cut_and_a_broken_one_is_not() {
    let (world, first) = started("").await;
    let second = certificate();
    let (mut held, shown) = device(&world, &[&first], "ada").await;
    assert_eq!(&shown, first.cert.der());
    let directory = world.directory.path();
    show(directory, &second.cert.pem(), &second.signing_key.serialize_pem());
    let renewed = async {
        while device(&world, &[&first, &second], "bo").await.1 != *second.cert.der() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    in_time("the new certificate", renewed).await;
    let good = (second.cert.pem(), second.signing_key.serialize_pem());
    for (certificate, key) in [("nonsense", good.1.as_str()), (&first.cert.pem(), &good.1), (&good.0, "")] {
        show(directory, certificate, key);
        tokio::time::sleep(Duration::from_millis(3_500)).await; // long enough to be looked at
        assert_eq!(device(&world, &[&first, &second], "bo").await.1, *second.cert.der());
    }
    show(directory, &first.cert.pem(), &first.signing_key.serialize_pem());
    let mended = async {
        while device(&world, &[&first, &second], "bo").await.1 != *first.cert.der() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    in_time("the mended certificate", mended).await;
    assert!(held.ask(json!({ "type": "ping" })).await["position"].is_u64(), "it was there all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_files_are_shown_after_a_reload_and_then_followed() {
    let (world, first) = started("").await;
    let (mut held, _) = device(&world, &[&first], "ada").await;
    let (directory, second, third) = (world.directory.path(), certificate(), certificate());
    let elsewhere = directory.join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let reload = |tls: &str| {
        std::fs::write(directory.join("tidings.toml"), tls).expect("a file");
        world.signal("HUP");
    };
    let named = format!(
        "[tls]\ncertificate = '{0}/certificate.pem'\nkey = '{0}/key.pem'\n[cors]\norigins = ['*']",
        elsewhere.display()
    );
    let all = [&first, &second, &third];
    let shown = async |expected: &CertifiedKey<KeyPair>| {
        while device(&world, &all, "bo").await.1 != *expected.cert.der() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    reload(&named); // there is nothing yet
    tokio::time::sleep(Duration::from_secs(1)).await;
    in_time("what was there before", shown(&first)).await;
    show(&elsewhere, &second.cert.pem(), &second.signing_key.serialize_pem());
    reload(&named);
    in_time("the other file", shown(&second)).await;
    show(directory, &first.cert.pem(), &first.signing_key.serialize_pem());
    show(&elsewhere, &third.cert.pem(), &third.signing_key.serialize_pem());
    in_time("the other file as it was renewed", shown(&third)).await;
    // That it does TLS at all does not change, and nothing else does with it.
    reload("[limits]\ncommands = { count = 7, seconds = 5 }");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (unchanged, certificate) = device(&world, &all, "bo").await;
    assert_eq!((&unchanged.hello["limits"]["commands"], &certificate), (&json!(100), third.cert.der()));
    assert!(held.ask(json!({ "type": "ping" })).await["position"].is_u64(), "it was there all the time");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_said_at_the_start() {
    let (one, other) = (certificate(), certificate());
    for (certificate, key, expected) in [
        (one.cert.pem(), other.signing_key.serialize_pem(), "cannot be used"),
        ("nonsense".to_owned(), one.signing_key.serialize_pem(), "certificates as PEM"),
        (one.cert.pem(), String::new(), "a private key as PEM"),
    ] {
        let world = prepared(&one, "");
        show(world.directory.path(), &certificate, &key);
        let ended = in_time("the end", world.serve().output()).await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(expected), "{said}");
        assert!(said.contains("key.pem") || said.contains("certificate.pem"), "{said}");
    }
}

/// The frames with which a client of HTTP/2 begins: the preface, and empty settings.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A frame of headers that other frames should follow, and never do.
const HALF_THE_HEADERS: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01\x82";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_go_on_over_tls_ends_by_itself_and_keeps_nobody_waiting() {
    let (world, certificate) = started(IMPATIENT).await;
    let mut hello = Vec::new();
    let roots = Arc::new(RootCertStore::empty());
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap());
    client.unwrap().write_tls(&mut hello).expect("a hello");
    let half = hello[..hello.len() / 2].to_vec();
    let mut stalled = JoinSet::new();
    let spawn = |stalled: &mut JoinSet<_>, name: &'static str, stalling| {
        stalled.spawn(async move { in_time(name, stalling).await });
    };
    for _ in 0..10 {
        for (name, first, dribble) in [
            ("nothing", vec![], vec![]),
            ("half a hello", half.clone(), vec![]),
            ("a hello byte by byte", vec![], hello.clone()),
            ("a hello and no more", hello.clone(), vec![]),
        ] {
            let stream = TcpStream::connect(world.address()).await.unwrap();
            let stalling: futures_util::future::BoxFuture<'static, Vec<u8>> =
                Box::pin(stall(stream, first, dribble));
            spawn(&mut stalled, name, stalling);
        }
        for (name, first) in [
            ("TLS and nothing", vec![]),
            ("half a preface", BEGINNING[..10].to_vec()),
            ("a preface", BEGINNING.to_vec()),
            ("half the headers", [BEGINNING, HALF_THE_HEADERS].concat()),
        ] {
            let stream = connect(&world, &[&certificate], b"h2").await;
            spawn(&mut stalled, name, Box::pin(stall(stream, first, vec![])));
        }
    }
    in_time("a normal request", world.get("/v1/counts", &person("bo"))).await;
    while let Some(ended) = stalled.join_next().await {
        ended.expect("it ended in time");
    }
}

/// A client of HTTP/2, and how its connection ends.
async fn http2(
    world: &World,
    certificate: &CertifiedKey<KeyPair>,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = connect(world, &[certificate], b"h2").await;
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    (client.ready().await.expect("it takes requests"), tokio::spawn(connection))
}

fn request(world: &World, path: &str) -> http::request::Builder {
    http::Request::builder().uri(world.url(path)).header("authorization", format!("Bearer {}", person("ada")))
}

#[tokio::test]
async fn half_a_body_over_http2_is_answered_and_large_headers_are_refused() {
    let (world, certificate) = started(IMPATIENT).await;
    let (mut client, _connection) = http2(&world, &certificate).await;
    let post = request(&world, "/v1/inbox/read").method("POST").header("content-type", "application/json");
    let (answer, mut body) = client.send_request(post.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"{"), false).unwrap();
    assert_eq!(in_time("an answer", answer).await.unwrap().status(), 408);
    let large = request(&world, "/v1/counts").header("x-large", "x".repeat(17_000)).body(()).unwrap();
    let many = (0..101)
        .fold(request(&world, "/v1/counts"), |request, number| request.header(format!("x-{number}"), "x"));
    for refused in [large, many.body(()).unwrap()] {
        let (answer, _) = client.send_request(refused, true).unwrap();
        assert_eq!(in_time("an answer", answer).await.unwrap().status(), 431);
    }
}

#[tokio::test]
async fn requests_on_a_connection_are_bounded_and_those_that_are_taken_back_at_once_end_it() {
    let (world, certificate) = started("[limits]\nstreams = 7").await;
    let (mut client, connection) = http2(&world, &certificate).await;
    let (first, _) = client.send_request(request(&world, "/v1/counts").body(()).unwrap(), true).unwrap();
    assert_eq!(in_time("an answer", first).await.unwrap().status(), 200);
    assert_eq!(client.current_max_send_streams(), 7);
    for _ in 0..1_000 {
        let Ok(mut ready) = client.clone().ready().await else { break };
        let get = request(&world, "/v1/counts").body(()).unwrap();
        let Ok((answer, mut sending)) = ready.send_request(get, true) else { break };
        tokio::task::yield_now().await; // it goes out
        sending.send_reset(h2::Reason::CANCEL);
        drop(answer);
    }
    let ended = in_time("its reason", connection).await.unwrap().expect_err("it was ended");
    // Or it was closed before the client had read why.
    assert!(ended.is_io() || ended.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM), "{ended}");
    world.get("/v1/counts", &person("bo")).await;
}
