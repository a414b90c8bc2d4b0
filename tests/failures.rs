//! When the log fails: everything stops at once, and says what is not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use tidings_engine::log::TailError;
use tidings_engine::store::sqlite::SqliteStore;
use tidings_engine::store::{
    AppendItem, AppendOutcome, EventStore, Head, KeyClaim, KeyHolder, SnapshotStore, StoreError, StoredEvent,
    StreamName,
};
use tidings_engine::{Draft, Engine, Error, Identity, Offset, Options, Position, Tenant};
use tokio::process::Command;

use crate::world::{World, binary, in_time, service};

/// A store that fails when it is told to, and can lose an event in the middle.
struct Faulty {
    store: SqliteStore,
    fail: Arc<AtomicBool>,
    lose: Option<Position>,
}

impl EventStore for Faulty {
    fn append(&self, items: Vec<AppendItem>) -> BoxFuture<'_, Result<Vec<AppendOutcome>, StoreError>> {
        if self.fail.load(Ordering::Relaxed) {
            return async { Err(StoreError::Other("the disk is gone".into())) }.boxed();
        }
        self.store.append(items)
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>> {
        async move {
            let mut events = self.store.read(after, limit).await?;
            events.retain(|event| Some(event.position) != self.lose);
            Ok(events)
        }
        .boxed()
    }

    fn read_at(&self, positions: Vec<Position>) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>> {
        self.store.read_at(positions)
    }

    fn read_stream(
        &self,
        tenant: &Tenant,
        stream: &StreamName,
        after: Offset,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Offset, StoredEvent)>, StoreError>> {
        self.store.read_stream(tenant, stream, after, limit)
    }

    fn find_key(
        &self,
        tenant: &Tenant,
        claim: &KeyClaim,
    ) -> BoxFuture<'_, Result<Option<KeyHolder>, StoreError>> {
        self.store.find_key(tenant, claim)
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, StoreError>> {
        self.store.head()
    }

    fn snapshots(&self) -> &dyn SnapshotStore {
        &self.store
    }
}

fn draft() -> Draft {
    serde_json::from_value(json!({ "type": "note", "audience": { "users": ["ada"] } })).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_append_nothing_is_accepted_and_what_was_asked_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let fail = Arc::new(AtomicBool::new(false));
    let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
    let mut options = Options::new(directory.path());
    options.store = Some(Arc::new(Faulty { store, fail: fail.clone(), lose: None }));
    let engine = Engine::start(options).await.unwrap();
    let service = Identity::service(Tenant::default());
    engine.publish(&service, draft().into()).await.unwrap();

    fail.store(true, Ordering::Relaxed);
    let publishes = (0..20).map(|_| engine.publish(&service, draft().into()));
    for outcome in futures_util::future::join_all(publishes).await {
        assert!(matches!(outcome, Err(Error::OutcomeUnknown | Error::Stopping)), "{outcome:?}");
    }
    in_time("the failure", engine.failed()).await;
    assert!(!engine.is_ready());
    fail.store(false, Ordering::Relaxed);
    let later = engine.publish(&service, draft().into()).await;
    assert!(matches!(later, Err(Error::Stopping)), "not even when the disk is back: {later:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_log_is_an_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start(Options::new(directory.path())).await.unwrap();
    let service = Identity::service(Tenant::default());
    for _ in 0..9 {
        engine.publish(&service, draft().into()).await.unwrap();
    }
    engine.shutdown().await;
    drop(engine);

    let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
    let lose = Some(Position(5));
    let store = Faulty { store, fail: Arc::default(), lose };
    std::fs::remove_file(directory.path().join("inbox.db")).unwrap();
    let mut options = Options::new(directory.path());
    options.store = Some(Arc::new(store));
    let refused = Engine::start(options).await.map(drop).unwrap_err().to_string();
    assert_eq!(refused, "the event log has a hole: expected position 5, found 6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_the_log_wakes_for_every_commit_and_begins_wherever_one_likes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start(Options::new(directory.path())).await.unwrap();
    let mut tail = engine.log().tail(Position(0));
    let service = Identity::service(Tenant::default());
    for number in 2..50 {
        let receipt = engine.publish(&service, draft().into()).await.unwrap();
        assert_eq!(receipt.position, Position(number));
    }
    let mut followed = Vec::new();
    while tail.position() < engine.log().head() {
        let events: Result<_, TailError> = in_time("the tail", tail.next()).await;
        followed.extend(events.unwrap().iter().map(|event| event.position.0));
    }
    assert_eq!(followed, (1..50).collect::<Vec<_>>());
    let waiting = tokio::spawn(async move { tail.next().await.map(|events| events.len()) });
    engine.publish(&service, draft().into()).await.unwrap();
    assert_eq!(in_time("the tail", waiting).await.unwrap().unwrap(), 1);
    engine.shutdown().await;
}

#[test]
fn an_engine_that_is_dropped_without_a_shutdown_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    for position in [2, 4, 6] {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let engine = runtime.block_on(Engine::start(Options::new(directory.path()))).unwrap();
        let published =
            runtime.block_on(engine.publish(&Identity::service(Tenant::default()), draft().into()));
        assert_eq!(published.unwrap().position, Position(position), "what was accepted before is there");
        drop(runtime);
        drop(engine);
    }
}

/// Linux refuses to let a file grow beyond `ulimit -f`: a real write error, from the real disk.
#[tokio::test]
async fn a_server_whose_disk_fails_stops_with_an_error_and_recovers_when_it_is_started_again() {
    let mut world = World::start().await;
    assert!(world.stop().await.success());
    let script = r#"trap '' XFSZ; ulimit -f 400; exec "$0" serve --listen 127.0.0.1:0 --data-dir "$1""#;
    let mut command = Command::new("bash");
    command.args(["-c", script]).arg(binary()).arg(world.data());
    world.resume_with(command).await;

    let publish = async |number: usize| {
        let body = json!({
            "type": "load", "title": format!("t{number}"), "body": "x".repeat(8_000),
            "idempotencyKey": format!("k{number}"), "audience": { "users": ["ada"] },
        });
        let request = world.request(reqwest::Method::POST, "/v1/notifications", &service()).json(&body);
        let response = request.send().await.ok()?;
        Some(response.status())
    };
    let mut answered = 0;
    let refused = loop {
        match publish(answered).await {
            Some(status) if status.is_success() => answered += 1,
            other => break other,
        }
    };
    assert!(answered > 3, "it worked at first");
    assert!(refused.is_none_or(|status| status == 503), "{refused:?}");
    assert!(!world.ended().await.success(), "it does not go on as if nothing had happened");

    world.resume().await;
    for number in 0..=answered {
        let body = json!({
            "type": "load", "title": format!("t{number}"), "body": "x".repeat(8_000),
            "idempotencyKey": format!("k{number}"), "audience": { "users": ["ada"] },
        });
        let receipt = world.publish(body).await;
        assert!(number == answered || receipt["duplicate"] == true, "{number} was answered, and is lost");
    }
    let counts = world.get("/v1/counts", &crate::world::person("ada")).await;
    assert_eq!(counts["unread"], answered + 1, "each once");
}
