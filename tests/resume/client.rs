//! A client as a front end would write it: it keeps what it was told, and the last cursor it got, over WebSocket and SSE
//! alike.

use std::collections::{BTreeMap, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::histories::model::described;
use crate::world::{SECRET, in_time};

/// A notification as the client knows it.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// Where it is listed.
    pub position: u64,
    /// Where it was published: how far the list was seen goes by that.
    pub published: u64,
    pub title: String,
    pub read: bool,
    /// By which message it was marked unread: a read-all that had not seen that leaves it alone.
    pub unread_at: u64,
    pub seen: bool,
    pub archived: bool,
    pub snoozed: bool,
    pub pinned: bool,
}

/// What a person's device holds while it is away.
#[derive(Default)]
pub struct Client {
    pub user: String,
    pub cursor: Option<String>,
    pub items: BTreeMap<String, Item>,
    pub counts: Value,
    /// What was only shown live.
    pub shown: Vec<String>,
    /// It left a channel: what it has is no longer all its own, and it has to load its inbox.
    pub must_reload: bool,
    last: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    WebSocket,
    Sse,
}

/// Without the time it was issued, it takes back nothing that others gave the person.
fn token(user: &str) -> String {
    let claims = serde_json::json!({ "sub": user, "exp": jsonwebtoken::get_current_timestamp() + 3600 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("a token is made")
}

/// Messages as they come, over either.
pub struct Connection {
    messages: BoxStream<'static, Value>,
}

impl Connection {
    pub async fn open(address: &str, way: Way, user: &str, cursor: Option<&str>) -> Self {
        let token = token(user);
        let messages = match way {
            Way::WebSocket => {
                let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
                let url = format!("ws://{address}/v1/ws?token={token}{cursor}");
                let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("a WebSocket");
                let texts = socket.filter_map(async |message| match message {
                    Ok(Message::Text(text)) => Some(serde_json::from_str(&text).expect("JSON")),
                    _ => None,
                });
                texts.boxed()
            }
            Way::Sse => {
                let request = reqwest::Client::new().get(format!("http://{address}/v1/events?token={token}"));
                let request = cursor.iter().fold(request, |request, id| request.header("last-event-id", *id));
                let response = request.send().await.expect("an event stream");
                assert_eq!(response.status(), 200, "{:?}", response.text().await);
                events(response).boxed()
            }
        };
        Self { messages }
    }

    pub async fn next(&mut self) -> Option<Value> {
        in_time("a message", self.messages.next()).await
    }
}

/// The events of a stream: their data, which names what the fields of the event say.
pub fn events(response: reqwest::Response) -> impl futures_util::Stream<Item = Value> + Send {
    let state = (response.bytes_stream(), String::new(), VecDeque::new());
    futures_util::stream::unfold(state, |(mut bytes, mut text, mut ready)| async move {
        loop {
            if let Some(event) = ready.pop_front() {
                return Some((event, (bytes, text, ready)));
            }
            let chunk = bytes.next().await?.ok()?;
            text.push_str(std::str::from_utf8(&chunk).expect("UTF-8, in whole events"));
            while let Some((event, rest)) = text.split_once("\n\n").map(|(e, r)| (e.to_owned(), r.to_owned()))
            {
                ready.extend(data(&event));
                text = rest;
            }
        }
    })
}

fn data(event: &str) -> Option<Value> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let mut data: Value = serde_json::from_str(field("data")?).expect("JSON");
    assert_eq!(data["type"].as_str(), field("event"), "{event}");
    if let Some(id) = field("id") {
        assert!(data["cursor"].is_null() || data["cursor"] == id, "{event}");
        data["cursor"] = id.into();
    }
    Some(data)
}

impl Client {
    pub fn new(user: &str, cursor: String) -> Self {
        Self { user: user.to_owned(), cursor: Some(cursor), ..Self::default() }
    }

    /// Takes in a message. Whether that was the last of what was missed.
    pub fn take(&mut self, message: &Value) -> bool {
        let kind = message["type"].as_str().expect("a type");
        if kind == "hello" {
            assert_eq!(message["resume"]["result"], "continued", "{message}");
            assert_eq!(message["cursor"].as_str(), self.cursor.as_deref(), "it goes on where it was");
            return false;
        }
        let position = message["position"].as_u64().expect("a position");
        let is_mark = kind == "counts" || kind == "caughtUp" || kind == "heartbeat";
        assert!(
            position > self.last || is_mark && position == self.last,
            "nothing twice, in order: {message}"
        );
        self.last = self.last.max(position);
        if let Some(cursor) = message["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        match kind {
            "notification" => self.show(message, position),
            "updated" => self.update(message),
            "counts" => self.counts = message.clone(),
            "left" => self.must_reload = true,
            "caughtUp" => return true,
            "joined" | "heartbeat" => {}
            _ => self.change(kind, message, position),
        }
        false
    }

    fn show(&mut self, message: &Value, position: u64) {
        for older in message["supersedes"].as_array().into_iter().flatten() {
            self.items.remove(older.as_str().expect("an id"));
        }
        let id = message["notification"]["id"].as_str().expect("an id").to_owned();
        let title = message["notification"]["title"].as_str().expect("a title").to_owned();
        if message["counts"] == true {
            let item = Item { position, published: position, title, ..Item::default() };
            self.items.entry(id).or_insert(item);
        } else {
            self.shown.push(id);
        }
    }

    fn update(&mut self, message: &Value) {
        let notification = &message["notification"];
        if let Some(item) = self.items.get_mut(notification["id"].as_str().expect("an id")) {
            notification["title"].as_str().expect("a title").clone_into(&mut item.title);
        }
    }

    fn change(&mut self, kind: &str, message: &Value, position: u64) {
        if let Some(up_to) = message["upTo"].as_u64() {
            for item in self.items.values_mut() {
                match kind {
                    "seen" if item.published <= up_to => item.seen = true,
                    "read" if item.published <= up_to && item.unread_at <= up_to => item.read = true,
                    _ => {}
                }
            }
            return;
        }
        for id in message["notifications"].as_array().expect("notifications") {
            let id = id.as_str().expect("an id");
            if kind == "deleted" || kind == "retracted" {
                self.items.remove(id);
                continue;
            }
            let Some(item) = self.items.get_mut(id) else { continue };
            match kind {
                "read" => item.read = true,
                "unread" => (item.read, item.unread_at) = (false, position),
                "archived" => (item.archived, item.snoozed) = (true, false),
                "snoozed" => (item.snoozed, item.archived) = (true, false),
                "woken" => {
                    (item.snoozed, item.read) = (false, false);
                    (item.unread_at, item.position) = (position, position);
                }
                "unarchived" => item.archived = false,
                "pinned" => item.pinned = true,
                "unpinned" => item.pinned = false,
                other => panic!("{other}: {message}"),
            }
        }
    }

    /// Replaces what it has by what the inbox says.
    pub fn reload<'a>(&mut self, pages: impl Iterator<Item = &'a Value>) {
        let known = std::mem::take(&mut self.items);
        for item in pages.flat_map(|page| page["items"].as_array().expect("items")) {
            let id = item["notification"]["id"].as_str().expect("an id").to_owned();
            let flag = |name: &str| item[name] == true;
            let position = item["position"].as_u64().expect("a position");
            let (published, unread_at) = known.get(&id).map_or((position, 0), |k| (k.published, k.unread_at));
            let title = item["notification"]["title"].as_str().expect("a title").to_owned();
            let (read, seen, archived) = (flag("read"), flag("seen"), flag("archived"));
            let (pinned, snoozed) = (flag("pinned"), item["snoozedUntil"].is_string());
            let item = Item { position, published, title, read, unread_at, seen, archived, snoozed, pinned };
            self.items.insert(id, item);
        }
        self.must_reload = false;
    }

    /// What it would show, newest first, as the model writes it.
    pub fn lines(&self, archived: bool) -> Vec<String> {
        let is_in_list = |item: &Item| item.archived == archived && !item.snoozed;
        let mut items: Vec<_> = self.items.iter().filter(|(_, item)| is_in_list(item)).collect();
        items.sort_by_key(|(_, item)| std::cmp::Reverse(item.position));
        let line = |(id, item): (&String, &Item)| {
            described(&item.position, id, &item.title, [item.read, item.seen, item.archived, item.pinned])
        };
        items.into_iter().map(line).collect()
    }
}
