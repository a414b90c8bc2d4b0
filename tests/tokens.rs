//! Who may come in: every algorithm and kind of key, every way to forge a token that we know of, keys that come and go,
//! and connections that end with what let them in.

mod attacks;
mod forge;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidings_config::{IssuerSettings, KeySettings, TokenSettings};
use tidings_engine::transport::Transport;
use tidings_engine::{Engine, Options};
use tidings_http::Http;
use tidings_http::problem::Problem;
use tidings_http::token::{Grant, Tokens, mint};
use tidings_sse::EventStreams;
use tidings_ws::WebSockets;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

use crate::world::{Device, SECRET, World, in_time, person, token};
use attacks::{AUDIENCE, ISSUER, TENANT, but, header, sound};

pub use attacks::now;
use forge::{ALGORITHMS, Keys, file};

/// The settings of a server that knows three issuers: one with a key of each kind, one of another tenant, and one of old
/// whose secret is short and who says nothing about itself.
fn settings(directory: &Path, keys: &Keys, other: &Keys) -> String {
    let path = |name: &str, content: &str| file(directory, name, content).display().to_string();
    let set = |keys: Vec<Value>| json!({ "keys": keys }).to_string();
    let rs256 = path("rs256.pem", &keys.pem("RS256"));
    let ps384 = path("ps384.pem", &keys.pem("PS384"));
    let secret = path("hs512", str::from_utf8(&keys.secret).unwrap());
    let ec = set(vec![
        keys.jwk("ES256", Some("ES256")),
        keys.jwk("ES384", Some("ES384")),
        keys.jwk("EdDSA", Some("EdDSA")),
        json!({ "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB", "kid": "for something else" }),
    ]);
    let (ec, theirs) = (path("ec.json", &ec), path("theirs.pem", &other.pem("RS256")));
    format!(
        "[[token.issuers]]\nname = 'login'\nissuer = '{ISSUER}'\naudience = '{AUDIENCE}'\ntenant = '{TENANT}'\nkeys = [\n\
         {{ kid = 'RS256', pem-file = '{rs256}' }},\n\
         {{ kid = 'PS384', pem-file = '{ps384}', algorithm = 'PS384' }},\n\
         {{ kid = 'HS512', secret-file = '{secret}', algorithm = 'HS512' }},\n\
         {{ kid = 'HS256', secret = 'of no use to anybody, but long enough' }},\n\
         {{ jwks-file = '{ec}' }},\n]\n\
         [[token.issuers]]\nname = 'other'\nissuer = 'https://other.example'\ntenant = 'other'\n\
         keys = [{{ kid = 'their-key', pem-file = '{theirs}' }}]\n\
         [[token.issuers]]\nname = 'old'\ntenant = 'old'\nallow-weak-secret = true\nclaims = {{ user = 'userId' }}\n\
         keys = [{{ kid = 'old', secret = 'short' }}]\n\
         [limits]\ncommands = {{ count = 100_000, seconds = 1 }}\n"
    )
}

/// The same settings as they are read.
fn parsed(text: &str) -> TokenSettings {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let sources = tidings_config::Sources { file: Some(file.path()), ..Default::default() };
    tidings_config::load(&sources).unwrap().settings.token
}

#[test]
fn every_algorithm_is_verified_with_a_key_from_wherever_it_comes() {
    let (directory, keys) = (tempfile::tempdir().unwrap(), Keys::generate());
    for algorithm in ALGORITHMS {
        let configured =
            algorithm.starts_with("HS") || algorithm.starts_with("PS") || algorithm.starts_with("RS");
        let wanted = serde_json::from_value(json!(algorithm)).ok().filter(|_| configured);
        let mut said = keys.jwk(algorithm, Some("k"));
        said["alg"] = json!(algorithm);
        let silent = keys.jwk(algorithm, None);
        let set = |jwk: Value| json!({ "keys": [jwk] }).to_string();
        let mut places = vec![
            KeySettings {
                jwks_file: Some(file(directory.path(), "said.json", set(said))),
                ..Default::default()
            },
            KeySettings {
                jwks_file: Some(file(directory.path(), "silent.json", set(silent))),
                algorithm: wanted,
                ..Default::default()
            },
        ];
        if algorithm.starts_with("HS") {
            let secret = Some(String::from_utf8(keys.secret.clone()).unwrap());
            let secret_file = Some(file(directory.path(), "secret", [&keys.secret, &b"\n"[..]].concat()));
            places.push(KeySettings { secret, algorithm: wanted, ..Default::default() });
            places.push(KeySettings { secret_file, algorithm: wanted, ..Default::default() });
        } else {
            let pem_file = Some(file(directory.path(), "key.pem", keys.pem(algorithm)));
            places.push(KeySettings { pem_file, algorithm: wanted, ..Default::default() });
        }
        for key in places {
            let issuer =
                IssuerSettings { name: "one".to_owned(), keys: vec![key.clone()], ..Default::default() };
            let issuer = IssuerSettings { issuer: Some(ISSUER.to_owned()), ..issuer };
            let settings = TokenSettings { issuers: vec![issuer], ..Default::default() };
            let tokens = Tokens::new(&settings, SECRET.as_bytes()).unwrap();
            for header in
                [json!({ "alg": algorithm }), json!({ "alg": algorithm, "kid": "k", "typ": "at+jwt" })]
            {
                let verified = tokens.explain(&keys.token(&header, &sound()));
                let user = verified.map(|verified| verified.identity.user.as_ref().unwrap().to_string());
                assert_eq!(user, Ok("ada".to_owned()), "{algorithm} {key:?} {header}");
            }
            for another in ALGORITHMS.iter().filter(|another| **another != algorithm) {
                let forged = keys.token(&json!({ "alg": another }), &sound());
                assert!(tokens.explain(&forged).is_err(), "{another} for a key of {algorithm}");
            }
        }
    }
}

#[test]
fn each_issuer_speaks_for_itself_alone() {
    let (directory, keys, other) = (tempfile::tempdir().unwrap(), Keys::generate(), Keys::generate());
    let settings = parsed(&settings(directory.path(), &keys, &other));
    let tokens = Tokens::new(&settings, SECRET.as_bytes()).unwrap();
    let who = |token: &str| {
        let identity = tokens.explain(token).unwrap().identity;
        (identity.tenant.to_string(), identity.user.as_ref().unwrap().to_string())
    };
    let is = |tenant: &str, user: &str| (tenant.to_owned(), user.to_owned());
    for kid in ["RS256", "PS384", "HS512", "ES256", "ES384", "EdDSA"] {
        assert_eq!(who(&keys.token(&header(kid), &sound())), is(TENANT, "ada"), "{kid}");
    }
    let audiences = but(json!({ "aud": ["billing", AUDIENCE], "tenant": TENANT }));
    assert_eq!(who(&keys.token(&header("RS256"), &audiences)), is(TENANT, "ada"));
    // Only one of its keys is of this family, so its tokens need no kid.
    assert_eq!(who(&keys.token(&json!({ "alg": "EdDSA" }), &sound())), is(TENANT, "ada"));
    let theirs = json!({ "iss": "https://other.example", "sub": "bob", "exp": now() + 60 });
    assert_eq!(who(&other.token(&json!({ "alg": "RS256" }), &theirs)), is("other", "bob"));
    let old = json!({ "userId": 42, "exp": now() + 60 });
    for header in [json!({ "alg": "HS256", "kid": "old" }), json!({ "alg": "HS256" })] {
        assert_eq!(who(&forge::by_secret(b"short", &header, &old)), is("old", "42"));
    }
    assert_eq!(who(&person("eve")), is("default", "eve"), "the server's own secret goes on");
    // A service has no user; it may do nothing unless a scope says so.
    let nobody = tokens.explain(&keys.token(&header("RS256"), &but(json!({ "sub": "<none>" })))).unwrap();
    assert!(
        nobody.identity.user.is_none() && !nobody.identity.scopes.publish && !nobody.identity.scopes.admin
    );
}

#[test]
fn keys_that_cannot_be_used_are_refused_at_the_start_with_their_place() {
    let (directory, keys) = (tempfile::tempdir().unwrap(), Keys::generate());
    let file = |name: &str, content: &str| Some(file(directory.path(), name, content));
    let set = |keys: Value| json!({ "keys": keys }).to_string();
    let (mut private, mut short, mut odd, mut twice) = (
        keys.jwk("EdDSA", None),
        keys.jwk("RS256", None),
        keys.jwk("ES256", None),
        keys.jwk("ES256", Some("k")),
    );
    private["d"] = json!("AAAA");
    short["n"] = json!(forge::base64url(&[0xc5; 128]));
    odd["x"] = json!(forge::base64url(&[1; 32]));
    twice["kid"] = json!("k");
    let wide = "x".repeat((1 << 20) + 1);
    let jwks =
        |name: &str, keys: Value| KeySettings { jwks_file: file(name, &set(keys)), ..Default::default() };
    let pem = |name: &str, text: &str| KeySettings { pem_file: file(name, text), ..Default::default() };
    let es256 = keys.pem("ES256");
    for (key, expected) in [
        (KeySettings { secret_file: file("s1", "short"), ..Default::default() }, "at least 32 bytes"),
        (
            KeySettings { secret_file: file("s2", &es256), ..Default::default() },
            "a public key belongs in pem-file",
        ),
        (KeySettings { secret_file: file("s3", ""), ..Default::default() }, "got nothing"),
        (
            KeySettings { pem_file: Some("/nowhere/key.pem".into()), ..Default::default() },
            "/nowhere/key.pem cannot be read",
        ),
        (pem("p1", "no key"), "expected one public key in PEM"),
        (pem("p2", &es256.replace("PUBLIC KEY", "PRIVATE KEY")), "expected one public key in PEM"),
        (pem("p3", &es256.replace("PUBLIC KEY", "CERTIFICATE")), "expected one public key in PEM"),
        (pem("p4", &format!("{es256}{es256}")), "expected one public key in PEM"),
        (pem("p5", &forge::pem("PUBLIC KEY", &[0x30, 3, 2, 1, 1])), "RSA, P-256, P-384 or Ed25519"),
        (
            KeySettings { algorithm: serde_json::from_value(json!("ES384")).ok(), ..pem("p6", &es256) },
            "expected a key for ES384, got one for ES256",
        ),
        (
            KeySettings { jwks_file: file("j1", "<html>"), ..Default::default() },
            "expected a JSON Web Key Set",
        ),
        (
            KeySettings { jwks_file: file("j2", &wide), ..Default::default() },
            "expected at most 1048576 bytes",
        ),
        (jwks("j3", json!([])), "at least one key"),
        (jwks("j4", json!([{ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }])), "at least one key"),
        (jwks("j5", json!([private])), "keys[0]: expected a public key, got a private one"),
        (jwks("j6", json!([short])), "2048 to 8192 bits"),
        (jwks("j7", json!([odd])), "expected a sound public key for ES256"),
        (jwks("j8", json!([{ "kty": "oct", "k": "c2hvcnQ" }])), "at least 32 bytes"),
        (jwks("j9", json!([twice, twice])), "each kid once"),
    ] {
        let issuer = IssuerSettings { name: "one".to_owned(), keys: vec![key.clone()], ..Default::default() };
        let settings = TokenSettings { issuers: vec![issuer], ..Default::default() };
        let tokens = Tokens::new(&settings, SECRET.as_bytes()).map(drop);
        let error = tokens.expect_err(expected).to_string();
        assert!(error.contains(expected) && error.contains("`one`"), "{key:?}: {error}");
    }
}

/// How every refusal looks, byte for byte.
async fn refusal(world: &World) -> String {
    let answer = world.request(Method::GET, "/v1/counts", "no token").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    answer.text().await.unwrap()
}

async fn is_refused_everywhere(world: &World, refusal: &str, name: &str, token: &str) {
    let in_query = utf8_percent_encode(token, NON_ALPHANUMERIC).to_string();
    let mut requests = vec![world.http.get(world.url(&format!("/v1/events?token={in_query}")))];
    if reqwest::header::HeaderValue::from_str(&format!("Bearer {token}")).is_ok() {
        let with_header = |path: &str| world.request(Method::GET, path, token);
        requests.extend([
            with_header("/v1/counts"),
            with_header("/v1/events"),
            with_header("/v1/log?follow=true"),
        ]);
    }
    for request in requests {
        let answer = request.send().await.unwrap();
        let path = answer.url().path().to_owned();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}: {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{name}: {path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{name}: {path}");
        assert_eq!(answer.text().await.unwrap(), refusal, "{name}: {path}");
    }
    match world.try_connect(&format!("/v1/ws?token={in_query}")).await.map(drop) {
        Err(tungstenite::Error::Http(answer)) => {
            assert_eq!(answer.status().as_u16(), 401, "{name}");
            assert_eq!(
                answer.body().as_deref().map(|body| str::from_utf8(body).unwrap()),
                Some(refusal),
                "{name}"
            );
        }
        other => panic!("{name}: expected the handshake to be refused, got {other:?}"),
    }
    let mut device = world.try_connect("/v1/ws").await.unwrap();
    device.send(&json!({ "type": "token", "token": token })).await;
    let closing = device.next().await.unwrap();
    assert_eq!(
        closing,
        json!({ "type": "closing", "code": 4401, "reason": "a valid token is needed" }),
        "{name}"
    );
    assert_eq!(device.closed().await, 4401, "{name}");
}

#[tokio::test]
async fn no_token_that_is_wrong_in_any_way_lets_anybody_in_or_learns_why() {
    let (keys, other) = (Keys::generate(), Keys::generate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut world = World::prepared("");
    let text = settings(world.directory.path(), &keys, &other);
    std::fs::write(world.directory.path().join("tidings.toml"), &text).unwrap();
    world.resume().await;
    let tokens = Tokens::new(&parsed(&text), SECRET.as_bytes()).unwrap();
    let good = keys.token(&header("RS256"), &sound());
    assert_eq!(world.get("/v1/counts", &good).await["unread"], 0, "what is changed below is sound");
    let mut connected = world.connect(&good).await;

    let attacks = attacks::all(&keys, &other, &url);
    let names: BTreeSet<&String> = attacks.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), attacks.len(), "each has a name of its own");
    let (problem, refusal) = (serde_json::to_value(Problem::unauthorized()).unwrap(), refusal(&world).await);
    assert_eq!(serde_json::from_str::<Value>(&refusal).unwrap(), problem);
    let everywhere = futures_util::stream::iter(&attacks);
    let everywhere = everywhere.for_each_concurrent(8, async |(name, token)| {
        is_refused_everywhere(&world, &refusal, name, token).await;
    });
    everywhere.await;
    for (name, token) in &attacks {
        let refused = tokens.verify(token).map(|verified| verified.identity);
        let refused = refused.expect_err(name);
        assert_eq!(serde_json::to_value(refused).unwrap(), problem, "{name}");
        // Nor does it end, or change, a connection that is open.
        let answer = connected.ask(json!({ "type": "token", "token": token })).await;
        assert_eq!(answer["problem"], problem, "{name}");
    }
    assert!(connected.ask(json!({ "type": "ping" })).await["position"].is_u64());
    let called = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(called.is_err(), "nothing that a token names is fetched");
    println!("{} tokens refused", attacks.len());
}

/// A server in this process, so that its keys can be changed while it serves.
struct Served {
    world: World,
    tokens: Arc<Tokens>,
    shutdown: CancellationToken,
}

impl Served {
    async fn start(settings: &TokenSettings) -> Self {
        let mut world = World::prepared("");
        let engine = Engine::start(Options::new(world.data())).await.unwrap();
        let tokens = Arc::new(Tokens::new(settings, SECRET.as_bytes()).unwrap());
        let http = Http::bind("127.0.0.1:0".parse().unwrap(), tokens.clone()).await.unwrap();
        world.serve_from(http.address());
        let shutdown = CancellationToken::new();
        let http = Box::new(http.with(WebSockets).with(EventStreams));
        tokio::spawn(http.run(engine, shutdown.clone()));
        Self { world, tokens, shutdown }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test]
async fn keys_overlap_while_they_change_and_one_that_is_gone_lets_nobody_stay() {
    let (old, new, directory) = (Keys::generate(), Keys::generate(), tempfile::tempdir().unwrap());
    let both = json!({ "keys": [old.jwk("RS256", Some("old")), new.jwk("RS256", Some("new"))] }).to_string();
    let path = file(directory.path(), "keys.json", &both);
    let keys = vec![KeySettings { jwks_file: Some(path.clone()), ..Default::default() }];
    let issuer = IssuerSettings {
        name: "login".to_owned(),
        issuer: Some(ISSUER.to_owned()),
        keys,
        ..Default::default()
    };
    let settings = TokenSettings { issuers: vec![issuer], ..Default::default() };
    let served = Served::start(&settings).await;
    let world = &served.world;
    let scoped = but(json!({ "scope": "admin" }));
    let by_old = old.token(&json!({ "alg": "RS256", "kid": "old" }), &scoped);
    let by_new = new.token(&json!({ "alg": "RS256", "kid": "new" }), &scoped);
    let (mut leaving, mut staying) = (world.connect(&by_old).await, world.connect(&by_new).await);
    let events = world.request(Method::GET, "/v1/events", &by_old).send().await.unwrap();
    let follow = world.request(Method::GET, "/v1/log?follow=true", &by_old).send().await.unwrap();

    // A file that cannot be used changes nothing.
    std::fs::write(&path, "{}").unwrap();
    let error = served.tokens.reload(&settings, SECRET.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("keys.json"), "{error}");
    assert!(leaving.ask(json!({ "type": "ping" })).await["position"].is_u64());

    let only_new = json!({ "keys": [new.jwk("RS256", Some("new"))] }).to_string();
    std::fs::write(&path, only_new).unwrap();
    served.tokens.reload(&settings, SECRET.as_bytes()).unwrap();
    assert_eq!(leaving.expect("closing").await["code"], 4401);
    assert_eq!(leaving.closed().await, 4401);
    assert!(in_time("the stream's end", events.text()).await.unwrap().contains("the token has ended"));
    in_time("the log's end", follow.text()).await.unwrap();
    let (status, _) = world.send(Method::GET, "/v1/counts", &by_old, &Value::Null).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(staying.ask(json!({ "type": "ping" })).await["position"].is_u64());
    assert_eq!(world.get("/v1/counts", &by_new).await["unread"], 0);
}

/// A token of the server's own with these very claims.
pub fn by_own_secret(claims: &Value) -> String {
    forge::by_secret(SECRET.as_bytes(), &json!({ "alg": "HS256" }), claims)
}

fn grant(roles: &[&str], channels: &[&str], scopes: &[&str]) -> Grant {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let user = Some("ada".to_owned());
    Grant { user, roles: texts(roles), channels: texts(channels), scopes: texts(scopes), ..Grant::default() }
}

/// A token of Ada's with a life of so many seconds from now, leeway included.
fn lasting(seconds: u64, grant: &Grant) -> String {
    let settings = TokenSettings::default();
    let token = mint(&settings, SECRET.as_bytes(), grant, Duration::from_secs(3600)).unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&token).unwrap();
    let mut claims = claims.claims;
    claims["exp"] = json!(now() + seconds - settings.leeway_seconds);
    forge::by_secret(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims)
}

#[tokio::test]
async fn a_connection_lives_on_with_another_token_of_the_same_user() {
    let world = World::start().await;
    let first = lasting(6, &grant(&["PRO"], &["topic:*"], &["publish", "admin"]));
    let mut device = world.connect(&first).await;
    assert!(device.hello["expiresAt"].is_string(), "{}", device.hello);
    for channel in ["topic:a", "team:b", "role:PRO"] {
        device.ask(json!({ "type": "watch", "channel": channel })).await;
    }
    let mut forgotten = world.connect(&first).await;

    // Of somebody else, of another tenant, of nobody: refused, and nothing has changed.
    let other_tenant = Grant { tenant: Some("other".to_owned()), ..grant(&[], &[], &[]) };
    let nobody = Grant { scopes: vec!["admin".to_owned()], ..Grant::default() };
    for wrong in [person("bob"), token(&other_tenant), token(&nobody)] {
        let answer = device.ask(json!({ "type": "token", "token": wrong })).await;
        assert_eq!(answer["problem"]["type"], "urn:tidings:problem:forbidden", "{answer}");
    }
    for wrong in [json!({}), json!({ "token": 1 }), json!({ "token": first, "more": 1 })] {
        let mut command = wrong;
        command["type"] = json!("token");
        assert_eq!(device.ask(command).await["problem"]["status"], 422);
    }
    assert!(device.ask(json!({ "type": "presence" })).await["connections"].is_u64());

    // `iat` counts whole seconds, and only a newer token takes a role away.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let next = token(&grant(&["AGENT"], &["team:*"], &[]));
    let (answer, heard) = device.ask_and_hear(json!({ "type": "token", "token": next })).await;
    assert!(answer["result"]["expiresAt"].is_string() && answer["result"]["position"].is_u64(), "{answer}");
    assert_eq!(answer["result"]["watching"], json!([]), "what it may watch no longer, it does not");
    let told: Vec<(&Value, &Value)> = heard
        .iter()
        .filter(|message| ["joined", "left"].contains(&message["type"].as_str().unwrap()))
        .map(|message| (&message["type"], &message["channels"]))
        .collect();
    assert_eq!(told, [(&json!("joined"), &json!(["role:AGENT"])), (&json!("left"), &json!(["role:PRO"]))]);

    // The scopes and patterns of the first are gone, and those of the second are there.
    for refused in [
        json!({ "type": "presence" }),
        json!({ "type": "publish", "notification": { "type": "n", "audience": { "users": ["ada"] } } }),
        json!({ "type": "watch", "channel": "topic:a" }),
        json!({ "type": "join", "channel": "topic:a" }),
        json!({ "type": "watch", "channel": "role:PRO" }),
    ] {
        assert_eq!(device.ask(refused.clone()).await["problem"]["status"], 403, "{refused}");
    }
    for permitted in
        [json!({ "type": "watch", "channel": "team:b" }), json!({ "type": "watch", "channel": "role:AGENT" })]
    {
        assert_ne!(device.ask(permitted).await["type"], "error");
    }
    world
        .publish(json!({ "type": "n", "inbox": false, "audience": { "channels": ["topic:a", "role:PRO"] } }))
        .await;
    assert_eq!(
        device.notifications().await,
        Vec::<String>::new(),
        "nothing comes of what was watched before"
    );
    let seen =
        world.publish(json!({ "type": "n", "inbox": false, "audience": { "channels": ["team:b"] } })).await;
    assert_eq!(device.notifications().await, [seen["id"].as_str().unwrap()]);

    // The first token's time is over: whoever showed no other is closed.
    assert_eq!(forgotten.expect("closing").await["code"], 4401);
    assert!(device.ask(json!({ "type": "ping" })).await["position"].is_u64());
}

#[tokio::test]
async fn a_client_is_told_a_minute_before_its_token_ends() {
    let world = World::start().await;
    let mut soon = world.connect(&lasting(62, &grant(&[], &[], &[]))).await;
    let mut sooner = world.connect(&lasting(30, &grant(&[], &[], &[]))).await;
    let warning = soon.expect("expiring").await;
    assert_eq!(warning["expiresAt"], soon.hello["expiresAt"]);
    assert!(
        heard_warnings(&mut soon).await == 0 && heard_warnings(&mut sooner).await == 0,
        "once, or not at all"
    );
    // The next token is warned of by itself.
    let next = lasting(62, &grant(&[], &[], &[]));
    let answer = soon.ask(json!({ "type": "token", "token": next })).await;
    assert_eq!(soon.expect("expiring").await["expiresAt"], answer["expiresAt"]);
}

async fn heard_warnings(device: &mut Device) -> usize {
    device.heard().await.iter().filter(|message| message["type"] == "expiring").count()
}

#[tokio::test]
async fn a_ticket_opens_one_connection_of_whoever_asked_for_it() {
    let world = World::start().await;
    let ada = person("ada");
    let ticket = async || {
        let answer = world.request(Method::POST, "/v1/tickets", &ada).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let answer: Value = answer.json().await.unwrap();
        assert!(answer["expiresAt"].is_string());
        answer["ticket"].as_str().unwrap().to_owned()
    };
    let (first, second) = (ticket().await, ticket().await);
    let mut device = world.try_connect(&format!("/v1/ws?ticket={first}")).await.unwrap();
    assert_eq!(device.expect("hello").await["user"], "ada");
    // As often as anybody reads the address afterwards, and wherever they show it.
    let refusal = refusal(&world).await;
    for path in [format!("/v1/events?ticket={first}"), format!("/v1/events?ticket={first}&token={first}")] {
        let answer = world.http.get(world.url(&path)).send().await.unwrap();
        assert_eq!(
            (answer.status(), answer.text().await.unwrap()),
            (StatusCode::UNAUTHORIZED, refusal.clone())
        );
    }
    for forged in [&first, &second] {
        let answer = world.request(Method::GET, "/v1/counts", forged).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "a ticket is no token");
    }
    assert!(world.try_connect(&format!("/v1/ws?ticket={first}")).await.is_err());
    // Of two who come with the same one at once, one comes in.
    let url = world.url(&format!("/v1/events?ticket={second}"));
    let both = futures_util::future::join_all((0..2).map(|_| world.http.get(&url).send())).await;
    let mut statuses: Vec<u16> = both.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    // It lasts no longer than the token it was given for, and a service has no use for one.
    let short = lasting(2, &grant(&[], &[], &[]));
    let answer = world.post("/v1/tickets", &short, Value::Null).await;
    let events = format!("/v1/events?ticket={}", answer["ticket"].as_str().unwrap());
    let events = world.http.get(world.url(&events)).send().await.unwrap();
    assert!(in_time("the end", events.text()).await.unwrap().contains("the token has ended"));
    let (status, _) = world.send(Method::POST, "/v1/tickets", &crate::world::service(), &Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn no_token_key_or_ticket_is_ever_logged() {
    for format in ["human", "json"] {
        let mut world = World::prepared(&format!("[log]\nformat = '{format}'\n"));
        let log = world.directory.path().join("log");
        let mut command = world.serve();
        let file = std::fs::File::create(&log).unwrap();
        command.env("LOG_LEVEL", "trace").stdout(file.try_clone().unwrap()).stderr(file);
        world.resume_with(command).await;
        let made = world.command(&["key", "make", "k", "--scope", "publish"]).output().await.unwrap();
        let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let mut secrets = vec![("a key", key.clone())];
        // Sound and forged, each in every place.
        let forged = format!("{}x", person("eve"));
        for (kind, token) in [("a token", person("ada")), ("a forged token", forged), ("a key", key)] {
            world.request(Method::GET, "/v1/counts", &token).send().await.unwrap();
            world.request(Method::GET, "/v1/nowhere", &token).send().await.unwrap();
            world.http.get(world.url(&format!("/v1/counts?token={token}"))).send().await.unwrap();
            drop(world.http.get(world.url(&format!("/v1/events?token={token}"))).send().await.unwrap());
            drop(world.try_connect(&format!("/v1/ws?device=d&token={token}")).await.map(drop));
            let mut device = world.try_connect("/v1/ws").await.unwrap();
            device.send(&json!({ "type": "token", "token": token })).await;
            device.next().await.unwrap();
            let mut device = world.connect(&person("ada")).await;
            device.ask(json!({ "type": "token", "token": token })).await;
            device.ask(json!({ "type": token })).await;
            secrets.push((kind, token));
        }
        let ticket = world.post("/v1/tickets", &person("ada"), Value::Null).await["ticket"]
            .as_str()
            .unwrap()
            .to_owned();
        let events = world.url(&format!("/v1/events?ticket={ticket}"));
        drop(world.http.get(&events).send().await.unwrap());
        world.http.get(&events).send().await.unwrap();
        secrets.push(("a ticket", ticket));
        assert!(world.stop().await.success());
        let written = std::fs::read_to_string(&log).unwrap();
        assert!(written.contains("token refused"), "it does say that something was refused: {written}");
        for (kind, secret) in secrets {
            // The whole, the signature, and what says who somebody is.
            let parts = secret.split(['.', '_']).filter(|part| part.len() > 20);
            for part in parts.chain([secret.as_str()]) {
                assert!(!written.contains(part), "{kind} in the log as {format}");
            }
        }
        assert!(!written.contains(SECRET), "nor the server's own");
    }
}
