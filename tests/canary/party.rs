//! A tenant: its people and services, what they know, and the wires on which everything that they receive is kept.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidings_http::token::Grant;
use tokio::task::JoinSet;

use super::asks::{self, Ask, Who};
use super::wire::Wire;
use crate::disk::Chance;
use crate::world::{Device, World, token};

/// Ids that are remembered, the last ones.
const REMEMBERED: usize = 48;
/// Connections of each kind that are open at once.
const OPEN: usize = 4;

/// What somebody has learnt: of use to themselves, and of none to others.
#[derive(Clone, Default)]
pub struct Known {
    pub ids: Vec<String>,
    /// What is in Ada's inbox.
    pub inbox: Vec<String>,
    pub cursors: Vec<String>,
    pub link: Option<String>,
    /// Of what has not gone out yet.
    pub key: Option<String>,
}

/// A tenant.
pub struct Party {
    /// In the names of everything of its own: the tenant, users, channels, types, tags, keys, devices.
    pub name: &'static str,
    /// In everything that it publishes.
    pub text: &'static str,
    /// Through a wire on which only its own words, ids, and names that both have, are said.
    pub world: World,
    pub wire: Wire,
    /// Through another one, on which it says names of others.
    pub intruding: World,
    pub intruders_wire: Wire,
    /// A key of its service, whose name both have.
    pub key: String,
    pub known: Known,
    pub devices: Vec<Device>,
    streams: JoinSet<()>,
    pub count: usize,
}

impl Party {
    pub async fn new(name: &'static str, text: &'static str, server: &World) -> Self {
        let (wire, intruders_wire) = (Wire::to(server.address()).await, Wire::to(server.address()).await);
        let (mut world, mut intruding) = (World::prepared(""), World::prepared(""));
        world.serve_from(wire.address);
        intruding.serve_from(intruders_wire.address);
        let arguments =
            ["key", "make", "billing", "--scope", "publish", "--scope", "admin", "--tenant", name];
        let made = server.command(&arguments).output().await.unwrap();
        assert!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let (known, devices, streams) = (Known::default(), Vec::new(), JoinSet::new());
        Self { name, text, world, wire, intruding, intruders_wire, key, known, devices, streams, count: 0 }
    }

    pub fn token(&self, who: Who) -> String {
        let (user, scopes) = match who {
            Who::Ada => (Some("ada".to_owned()), vec!["publish", "admin", "metrics"]),
            Who::Bob => (Some("bob".to_owned()), Vec::new()),
            Who::Own => (Some(format!("{}-user", self.name)), Vec::new()),
            Who::Service => (None, vec!["publish", "admin", "metrics", "operator"]),
            Who::Key => return self.key.clone(),
            Who::Nobody => return "nobody".to_owned(),
        };
        token(&Grant {
            tenant: Some(self.name.to_owned()),
            user,
            roles: vec!["PRO".to_owned(), format!("{}-role", self.name)],
            session: Some("s1".to_owned()),
            channels: vec!["topic:*".to_owned()],
            scopes: scopes.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Sends a request, and learns from its answer.
    pub async fn send(&mut self, ask: &Ask) -> StatusCode {
        let mut request = match ask.who {
            Who::Nobody => self.world.http.request(ask.method.clone(), self.world.url(&ask.path)),
            who => self.world.request(ask.method.clone(), &ask.path, &self.token(who)),
        };
        request = request.header("x-request-id", format!("{}-request", self.name));
        if !ask.body.is_null() {
            request = request.header("content-type", ask.content).body(ask.body.to_string());
        }
        let response = request.send().await.expect("the server answers");
        let status = response.status();
        let text = response.text().await.expect("an answer");
        assert!(!status.is_server_error(), "{} {}: {status} {text}", ask.method, ask.path);
        if status.is_success() {
            self.learn(ask, &serde_json::from_str(&text).unwrap_or_default());
        }
        status
    }

    fn learn(&mut self, ask: &Ask, answer: &Value) {
        let receipts = answer["results"].as_array().into_iter().flatten().chain([answer]);
        self.known.ids.extend(receipts.filter_map(|receipt| receipt["id"].as_str()).map(str::to_owned));
        let items = answer["items"].as_array().into_iter().flatten();
        let items = items.filter_map(|item| item["notification"]["id"].as_str()).map(str::to_owned);
        self.known.inbox.extend(items.filter(|_| matches!(ask.who, Who::Ada)));
        for known in [&mut self.known.ids, &mut self.known.inbox, &mut self.known.cursors] {
            known.drain(..known.len().saturating_sub(REMEMBERED));
        }
        if let Some(link) = answer["link"].as_str() {
            self.known.link = Some(link.to_owned());
        }
        if answer["deliverAt"].is_string() {
            self.known.key = ask.body["idempotencyKey"].as_str().map(str::to_owned);
        }
    }

    /// Opens a WebSocket, at times with a cursor of somebody's.
    pub async fn connect(&mut self, theirs: &Known, chance: &mut Chance) {
        let who = [Who::Ada, Who::Ada, Who::Bob, Who::Own][chance.below(4)];
        let query = self.wishes(theirs, chance);
        let path = format!("/v1/ws?token={}&{query}", self.token(who));
        let device = self.world.try_connect(&path).await.expect("it connects");
        self.known.cursors.extend(device.hello["cursor"].as_str().map(str::to_owned));
        if self.devices.len() == OPEN {
            let place = chance.below(OPEN);
            self.devices.swap_remove(place).close().await;
        }
        self.devices.push(device);
    }

    /// Opens an event stream, or follows the log; both are read to their end.
    pub async fn stream(&mut self, theirs: &Known, chance: &mut Chance) {
        let (path, who) = match chance.below(3) {
            0 => ("/v1/log?follow=true&after=0".to_owned(), Who::Key),
            1 => (format!("/v1/events?{}", self.wishes(theirs, chance)), Who::Own),
            _ => (format!("/v1/events?{}", self.wishes(theirs, chance)), Who::Ada),
        };
        let mut response = self.world.request(Method::GET, &path, &self.token(who)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        if self.streams.len() == OPEN {
            self.streams.abort_all();
            while self.streams.join_next().await.is_some() {}
        }
        self.streams.spawn(async move { while let Ok(Some(_)) = response.chunk().await {} });
    }

    /// Which device comes back, from where, and what it watches: of the names that both have, and with cursors of both.
    fn wishes(&self, theirs: &Known, chance: &mut Chance) -> String {
        let mut query = match chance.below(3) {
            0 => String::new(),
            1 => "device=phone".to_owned(),
            _ => format!("device={}-phone", self.name),
        };
        let known = if chance.coin() { &theirs.cursors } else { &self.known.cursors };
        if let Some(cursor) = known.get(chance.below(known.len())) {
            let (epoch, _) = cursor.split_once('.').unwrap();
            let guessed = format!("{epoch}.{}", chance.below(400));
            query += &format!("&cursor={}", if chance.coin() { cursor } else { &guessed });
        }
        if chance.coin() {
            query += "&watch=topic:shared";
        }
        query
    }

    /// One command on one of the WebSockets; its name, if it was not refused.
    pub async fn command(&mut self, theirs: &Known, chance: &mut Chance) -> Option<String> {
        let commands = asks::commands(self, theirs, chance);
        let command = commands[chance.below(commands.len())].clone();
        let place = chance.below(self.devices.len());
        let name = command["type"].as_str().unwrap().to_owned();
        if name == "ack" {
            let cursor = self.devices[place].hello["cursor"].clone();
            let acknowledged = self.devices[place].ask(json!({ "type": "ack", "upTo": cursor })).await;
            return acknowledged["position"].is_u64().then_some(name);
        }
        let answer = self.devices[place].ask(command.clone()).await;
        assert!(
            answer["problem"]["status"].as_u64().is_none_or(|status| status < 500),
            "{command}: {answer}"
        );
        if name == "publish" {
            self.known.ids.extend(answer["id"].as_str().map(str::to_owned));
        }
        (answer["type"] != "error").then_some(name)
    }

    /// Asks for what is another's by its name, in ways that leave nothing behind.
    pub async fn intrude(&self, other: &'static str, chance: &mut Chance) {
        let asks = asks::intrusions(other, &self.known);
        let Ask { method, path, who, .. } = &asks[chance.below(asks.len())];
        let answer = self.intruding.request(method.clone(), path, &self.token(*who)).send().await.unwrap();
        assert!(!answer.status().is_server_error(), "{path}: {}", answer.status());
        answer.bytes().await.unwrap();
        if chance.below(8) == 0 {
            let watched = format!("/v1/ws?token={}&watch=topic:{other}", self.token(Who::Ada));
            let mut device = self.intruding.try_connect(&watched).await.unwrap();
            device.ask(json!({ "type": "presence", "channel": format!("topic:{other}") })).await;
            device.ask(json!({ "type": "inbox", "channel": format!("topic:{other}") })).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            device.heard().await;
            device.close().await;
        }
    }

    /// Waits until everything that is on its way has come.
    pub async fn settle(&mut self) {
        for device in &mut self.devices {
            device.heard().await;
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await; // counts of channels come within a second
        for device in &mut self.devices {
            device.heard().await;
        }
    }
}
