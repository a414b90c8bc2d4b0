//! Publishers that know what they were answered, and the check that the log holds it: what the tests of power failures
//! and of disks that fail have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::{Device, World, person, service};

const PUBLISHERS: usize = 6;

/// Where a notification was answered to be: its position and id. `None` when nothing is known of it.
type Answered = Option<(u64, String)>;
/// What a publisher knows of its keys.
type Keys = BTreeMap<String, Answered>;

/// What is known, from the outside, of what the server has to hold.
pub struct Load {
    keys: Vec<Keys>,
    /// The log, as anybody could read it: nothing in it may ever change.
    log: Vec<Value>,
    /// What a device was sent: nothing is that is not durable.
    delivered: Vec<(u64, Value)>,
    begun: u64,
}

/// Load that is under way.
pub struct Running {
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<Keys>>,
    follower: JoinHandle<Vec<(u64, Value)>>,
}

/// The content is the key's, so that a retry sends the same.
fn body(key: &str) -> Value {
    let number: usize = key.bytes().map(usize::from).sum();
    json!({
        "type": "load", "title": key, "body": "x".repeat(number * 37 % 3_000), "idempotencyKey": key,
        "audience": { "users": [format!("user {}", number % 3)], "channels": ["everyone"] },
    })
}

fn answered(result: &Value) -> Answered {
    Some((result["position"].as_u64()?, result["id"].as_str()?.to_owned()))
}

/// A publisher that sends single notifications and batches until it is told to stop.
struct Publisher {
    name: String,
    http: reqwest::Client,
    url: String,
    keys: Keys,
}

impl Publisher {
    /// First retries, each by itself, what it knows nothing of.
    async fn run(mut self, stop: Arc<AtomicBool>) -> Keys {
        let token = service();
        let unknown = self.keys.iter().filter(|(_, known)| known.is_none());
        let unknown: Vec<String> = unknown.map(|(key, _)| key.clone()).collect();
        for key in unknown {
            self.send(&token, &[key]).await;
        }
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let size = if count % 4 == 3 { 1 + count % 40 } else { 1 };
            let batch: Vec<String> = (0..size).map(|item| format!("{}-{count}-{item}", self.name)).collect();
            self.send(&token, &batch).await;
            count += 1;
        }
        self.keys
    }

    async fn send(&mut self, token: &str, keys: &[String]) {
        self.keys.extend(keys.iter().map(|key| (key.clone(), None)));
        let items: Vec<Value> = keys.iter().map(|key| body(key)).collect();
        let (path, content) = match &items[..] {
            [single] => ("", single.clone()),
            batch => ("/batch", json!(batch)),
        };
        let url = format!("{}{path}", self.url);
        let Ok(response) = self.http.post(url).bearer_auth(token).json(&content).send().await else { return };
        let status = response.status();
        let Ok(answer) = response.json::<Value>().await else { return };
        assert!(status.is_success() || status == 503, "{status}: {answer}");
        let results = answer["results"].as_array().cloned().unwrap_or_else(|| vec![answer]);
        for (key, result) in keys.iter().zip(&results) {
            if let Some(known) = answered(result) {
                self.keys.insert(key.clone(), Some(known));
            }
        }
    }
}

async fn follow(mut device: Device) -> Vec<(u64, Value)> {
    let mut delivered = Vec::new();
    while let Ok(message) = device.next().await {
        if message["type"] == "notification" {
            let position = message["position"].as_u64().expect("a position");
            delivered.push((position, message["notification"]["id"].clone()));
        }
    }
    delivered
}

impl Load {
    pub fn new() -> Self {
        Self { keys: vec![Keys::new(); PUBLISHERS], log: Vec::new(), delivered: Vec::new(), begun: 0 }
    }

    /// Publishes and follows, until the server is gone.
    pub async fn begin(&mut self, world: &World) -> Running {
        self.begun += 1;
        let follower = tokio::spawn(follow(world.connect(&person("user 0")).await));
        let stop = Arc::new(AtomicBool::new(false));
        let publisher = |(number, keys)| {
            let (http, url) = (world.http.clone(), world.url("/v1/notifications"));
            let publisher = Publisher { name: format!("p{number}-{}", self.begun), http, url, keys };
            tokio::spawn(publisher.run(stop.clone()))
        };
        let publishers = std::mem::take(&mut self.keys).into_iter().enumerate().map(publisher).collect();
        Running { stop, publishers, follower }
    }

    /// The server is gone.
    pub async fn end(&mut self, running: Running) {
        running.stop.store(true, Ordering::Relaxed);
        for publisher in running.publishers {
            self.keys.push(publisher.await.expect("a publisher ends"));
        }
        self.delivered.extend(running.follower.await.expect("a follower ends"));
    }

    /// How many were answered.
    pub fn answered(&self) -> usize {
        self.keys.iter().flatten().filter(|(_, known)| known.is_some()).count()
    }

    /// Whoever was not answered tries again. How many were there already.
    pub async fn retry(&mut self, world: &World) -> usize {
        let mut duplicates = 0;
        for (key, known) in self.keys.iter_mut().flatten().filter(|(_, known)| known.is_none()) {
            let receipt = world.publish(body(key)).await;
            *known = answered(&receipt);
            assert!(known.is_some(), "{key} is answered: {receipt}");
            duplicates += usize::from(receipt["duplicate"] == true);
        }
        duplicates
    }

    /// Everything that was answered, delivered or read is there, where it was, once.
    pub async fn check(&mut self, world: &World) {
        let log = world.log().await;
        let before = self.log.len();
        assert!(log.len() > before, "it is what it was, and a new start");
        assert!(log[..before] == self.log[..], "what was read before has not changed");
        for (index, event) in log.iter().enumerate() {
            assert_eq!(event["position"], json!(index + 1), "positions are dense");
        }
        let mut published: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        for event in log.iter().filter(|event| event["type"] == "NotificationPublished") {
            let key = event["content"]["title"].as_str().expect("a title");
            let id = event["event"]["id"].as_str().expect("an id");
            let position = event["position"].as_u64().expect("a position");
            let twice = published.insert(key, (position, id));
            assert!(twice.is_none(), "{key} was published twice: at {twice:?} and {position}");
        }
        for (key, known) in self.keys.iter().flatten() {
            let Some((position, id)) = known else { continue };
            let found = published.get(key.as_str());
            assert_eq!(found, Some(&(*position, id.as_str())), "{key} was answered, and is lost");
        }
        for (position, id) in self.delivered.drain(..) {
            assert_eq!(
                log[position as usize - 1]["event"]["id"],
                id,
                "{position} was delivered, and is lost"
            );
        }
        let database = rusqlite::Connection::open(world.data().join("log.db")).expect("it opens");
        let sound: String =
            database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it is read");
        assert_eq!(sound, "ok");
        counts_agree(world, &log).await;
        self.log = log;
    }
}

/// The inbox is what the log says: each notification once, in spite of two ways to each person.
async fn counts_agree(world: &World, log: &[Value]) {
    for user in ["user 0", "user 1", "user 2"] {
        let addressed = json!([user]);
        let hears = |event: &Value| {
            event["event"]["audience"]["users"] == addressed || event["event"]["users"] == addressed
        };
        let Some(since) = log.iter().position(hears) else { continue };
        let published = log[since..].iter().filter(|event| event["type"] == "NotificationPublished");
        let counts = world.get("/v1/counts", &person(user)).await;
        assert_eq!(counts["unread"], json!(published.count()), "unread of {user}");
    }
}

/// A number from the environment.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text}")))
}
