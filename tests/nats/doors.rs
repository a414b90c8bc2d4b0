//! The connection: a broker that is not there yet, how one is known to it, TLS, and what operators are told.

use std::time::Duration;

use async_nats::ConnectOptions;
use rcgen::{CertifiedKey, KeyPair};
use serde_json::Value;

use super::broker::Broker;
use super::{metric, note, publish, titles, until, until_settled, until_state};
use crate::world::World;

/// A pair of keys of an NKey user, as the documentation of NATS shows it.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

async fn ready(world: &World) -> Value {
    world.http.get(world.url("/health/ready")).send().await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test]
async fn a_server_serves_without_the_broker_and_connects_when_it_comes() {
    let mut broker = Broker::start().await;
    broker.kill().await;
    let world = World::with_configuration(&broker.settings("")).await;
    let said = ready(&world).await;
    assert_eq!((&said["status"], &said["brokers"]["nats"]), (&"ready".into(), &"disconnected".into()));
    world.publish(note("by HTTP")).await;
    broker.resume().await;
    until_state(&world, "consuming").await;
    assert_eq!(metric(&world, "tidings_broker_connected").await, 1.0);
    let jetstream = broker.jetstream().await;
    publish(&jetstream, "tidings.publish.x", &note("by NATS")).await;
    until_settled(&jetstream).await;
    assert_eq!(titles(&world).await.len(), 2);
    assert_eq!(metric(&world, "tidings_broker_accepted_total").await, 1.0);
}

#[tokio::test]
async fn a_server_without_a_broker_says_nothing_of_one() {
    let world = World::start().await;
    assert!(ready(&world).await.get("brokers").is_none());
}

#[tokio::test]
async fn a_server_that_takes_nothing_makes_no_stream() {
    let broker = Broker::start().await;
    let world = World::with_configuration(&broker.settings("ingest = false\n")).await;
    until_state(&world, "connected").await;
    let jetstream = broker.jetstream().await;
    assert!(jetstream.get_stream("TIDINGS").await.is_err());
    let client = jetstream.client();
    let request = client.request("tidings.request.publish", note("asked").to_string().into());
    let answer: Value = serde_json::from_slice(&request.await.expect("an answer").payload).expect("JSON");
    assert_eq!(answer["duplicate"], false);
}

#[tokio::test]
async fn a_user_and_a_password_a_token_or_an_nkey_is_shown_to_the_broker() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{SEED}\n")).expect("it is written");
    let of_file = format!("nkey-file = '{}'\n", file.path().display());
    for (lines, settings, options) in [
        (
            "authorization { user: ada, password: \"s3cret\" }".to_owned(),
            "user = 'ada'\npassword = 's3cret'\n".to_owned(),
            ConnectOptions::with_user_and_password("ada".to_owned(), "s3cret".to_owned()),
        ),
        (
            "authorization { token: \"t0ken\" }".to_owned(),
            "token-secret = 't0ken'\n".to_owned(),
            ConnectOptions::with_token("t0ken".to_owned()),
        ),
        (
            format!("authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}"),
            of_file,
            ConnectOptions::with_nkey(SEED.to_owned()),
        ),
    ] {
        let broker = Broker::with_configuration(&lines).await;
        let world = World::with_configuration(&broker.settings(&settings)).await;
        until_state(&world, "consuming").await;
        let jetstream = async_nats::jetstream::new(broker.client_with(options).await);
        publish(&jetstream, "tidings.publish.x", &note("known")).await;
        until_settled(&jetstream).await;
        assert_eq!(titles(&world).await.len(), 1, "{lines}");
        // Who is not known is not let in, and serves nonetheless.
        let stranger = World::with_configuration(&broker.settings("")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let said = ready(&stranger).await;
        assert_eq!((&said["status"], &said["brokers"]["nats"]), (&"ready".into(), &"disconnected".into()));
    }
}

#[tokio::test]
async fn a_server_takes_nothing_that_is_published_for_another() {
    let (broker, world) = super::pair("").await;
    let settings = broker.settings("prefix = 'others'\n");
    let other = World::with_configuration(&settings).await;
    until_state(&other, "connected").await;
    let jetstream = broker.jetstream().await;
    for number in 0..20 {
        publish(&jetstream, "tidings.publish.x", &note(&number.to_string())).await;
    }
    until_settled(&jetstream).await;
    assert_eq!(titles(&world).await.len(), 20);
    assert_eq!(titles(&other).await.len(), 0);
    assert_eq!(ready(&other).await["brokers"]["nats"], "connected");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said_at_the_start() {
    for (settings, said) in [
        ("nkey-file = '/nowhere/seed'\n", "nats.nkey-file names /nowhere/seed"),
        ("credentials-file = '/nowhere/x.creds'\n", "nats.credentials-file names /nowhere/x.creds"),
        ("tls-ca = '/nowhere/ca.pem'\n", "nats.tls-ca names /nowhere/ca.pem"),
    ] {
        let world = World::prepared(&format!("[nats]\nurl = 'nats://127.0.0.1:1'\n{settings}"));
        let output = world.serve().output().await.expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn the_connection_is_encrypted_and_both_sides_show_a_certificate() {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> =
        rcgen::generate_simple_self_signed(names).expect("a certificate");
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, cert.pem()).expect("a file");
    std::fs::write(&key, signing_key.serialize_pem()).expect("a file");
    let (certificate, key) = (certificate.display(), key.display());
    let lines = format!(
        "tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{certificate}\", verify: true, timeout: 5 }}"
    );
    let broker = Broker::with_configuration(&lines).await;
    let settings = format!(
        "tls = true\ntls-ca = '{certificate}'\ntls-certificate = '{certificate}'\ntls-key = '{key}'\n"
    );
    let world = World::with_configuration(&broker.settings(&settings)).await;
    until_state(&world, "consuming").await;
    let stranger = World::with_configuration(&broker.settings(&format!("tls-ca = '{certificate}'\n"))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ready(&stranger).await["brokers"]["nats"], "disconnected");
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_when_any_server_is_named_with_tls() {
    let broker = Broker::start().await;
    let (plain, port) = (broker.url(), broker.port);
    let both = format!("[nats]\nurl = '{plain},tls://127.0.0.1:{port}'\n");
    let world = World::with_configuration(&both).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(ready(&world).await["brokers"]["nats"], "disconnected");
    }
}

#[tokio::test]
async fn how_much_waits_is_told() {
    let (broker, mut world) = super::pair("").await;
    let jetstream = broker.jetstream().await;
    world.kill().await;
    for number in 0..20 {
        publish(&jetstream, "tidings.publish.x", &note(&number.to_string())).await;
    }
    let settings = format!("reserve-bytes = {}\n{}", i64::MAX, broker.settings("in-flight = 5\n"));
    std::fs::write(world.directory.path().join("tidings.toml"), settings).expect("a file");
    let stream = jetstream.get_stream("TIDINGS").await.expect("the stream");
    stream.delete_consumer("tidings").await.expect("it is made anew, with other limits");
    world.resume().await;
    until("a look", async || metric(&world, "tidings_broker_lag_messages").await >= 15.0).await;
    assert!(metric(&world, "tidings_broker_unacknowledged_messages").await <= 5.0);
}
