//! What goes out for downstream services: each event, and the notifications of users and channels, each under its subject. Read from
//! the log and not from the hub: so nothing waits for the broker, and while it is away the place in the log is kept.
//!
//! The broker gets everything at least once. It keeps nothing by itself: who must have everything lets a stream of theirs take it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use serde_json::json;
use tidings_config::NatsOut;
use tidings_engine::delivery::Message;
use tidings_engine::event::{Event, Fact};
use tidings_engine::log::Tail;
use tidings_engine::{Audience, Cursor, Engine, Position};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::header;
use crate::link::Link;
use crate::subject::Subjects;

/// How often the place in the log is noted, at most: what is sent again after a crash.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// Where the place is noted within the data directory.
const PLACE: &str = "nats-sent";

/// Sends what goes out.
pub(crate) struct Out {
    pub(crate) link: Link,
    pub(crate) engine: Engine,
    pub(crate) subjects: Subjects,
    pub(crate) wanted: Vec<NatsOut>,
    pub(crate) data: PathBuf,
}

impl Out {
    /// Sends until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut place = Place::begin(self.data.join(PLACE), &self.engine).await;
        let mut tail = self.engine.log().tail(place.position);
        loop {
            let sent = tokio::select! {
                () = shutdown.cancelled() => break,
                sent = self.send_next(&mut tail) => sent,
            };
            let Some(position) = sent else { break }; // the engine says why
            place.reach(position, &self.engine).await;
        }
        place.note(&self.engine).await;
    }

    /// Sends the next events, again until the broker has them: up to where. `None` when there will be no more.
    async fn send_next(&self, tail: &mut Tail) -> Option<Position> {
        let next = tail.next().await;
        let events = next
            .inspect_err(|error| tracing::error!(%error, "the event log cannot be followed for NATS"))
            .ok()?;
        loop {
            self.link.connected().await; // what is sent without one would be gathered in memory
            let connects = self.connects();
            for event in &events {
                self.send_event(event).await;
            }
            // The answer on another connection says nothing of what was written to the one before.
            if self.broker_has_it().await && self.connects() == connects {
                return events.last().map(|event| event.position);
            }
            tracing::warn!("the broker does not confirm what was sent: it is sent again");
        }
    }

    /// How often the client has connected so far.
    fn connects(&self) -> u64 {
        self.link.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Whether the broker has what was sent: it answers in order, also to what nobody listens to.
    async fn broker_has_it(&self) -> bool {
        let asked = self.link.client.request(self.link.client.new_inbox(), Bytes::new()).await;
        asked.map_or_else(|error| error.kind() == RequestErrorKind::NoResponders, |_| true)
    }

    async fn send_event(&self, event: &Arc<Event>) {
        let cursor = self.engine.log().cursor(event.position);
        if self.wanted.contains(&NatsOut::Log) {
            let json = Bytes::from(event.to_json().to_string());
            let tenant =
                if event.is_of_server() { tidings_engine::Tenant::default() } else { event.tenant.clone() };
            self.send(self.subjects.log(&tenant), cursor.to_string(), &cursor, json, event).await;
        }
        let Some((message, audience)) = message(event) else { return };
        let json = self.engine.json().encode(&message);
        let mut subjects = Vec::new();
        if self.wanted.contains(&NatsOut::Users) {
            subjects.extend(audience.users.iter().map(|user| self.subjects.user(&event.tenant, user)));
        }
        if self.wanted.contains(&NatsOut::Channels) {
            subjects.extend(
                audience.channels.iter().map(|channel| self.subjects.channel(&event.tenant, channel)),
            );
        }
        for subject in subjects {
            // A stream that takes several subjects takes what went out on each.
            let id = format!("{cursor}:{subject}");
            self.send(subject, id, &cursor, json.clone(), event).await;
        }
    }

    async fn send(&self, subject: Subject, id: String, cursor: &Cursor, json: Bytes, event: &Event) {
        let mut headers = HeaderMap::new();
        headers.insert(header::MESSAGE_ID, id);
        headers.insert(header::POSITION, cursor.position.to_string());
        headers.insert(header::CURSOR, cursor.to_string());
        headers.insert(header::CONTENT_TYPE, "application/json");
        let fits = json.len() + 2_048 <= self.link.client.max_payload();
        let payload = if fits { json } else { too_large(event, json.len()) };
        match self.link.client.publish_with_headers(subject, headers, payload).await {
            Ok(()) => self.link.broker.sent.add(1),
            Err(error) => {
                tracing::debug!(%error, position = %event.position, "an event could not be sent to NATS")
            }
        }
    }
}

/// What is said in place of an event that is larger than the broker takes: where it is.
fn too_large(event: &Event, bytes: usize) -> Bytes {
    let kind = event.fact.type_name();
    json!({ "position": event.position, "type": kind, "tenant": event.tenant, "omittedBytes": bytes })
        .to_string()
        .into()
}

/// What an event says to those whom it is for.
fn message(event: &Arc<Event>) -> Option<(Message, &Audience)> {
    match &event.fact {
        Fact::NotificationPublished(published) => {
            let counts = published.notification.inbox;
            let message = Message::Notification { event: event.clone(), counts, supersedes: Vec::new() };
            Some((message, &published.audience))
        }
        Fact::Updated(updated) => Some((Message::Updated(event.clone()), &updated.published.audience)),
        Fact::Retracted(retracted) => Some((Message::Retracted(event.clone()), &retracted.audience)),
        _ => None,
    }
}

/// How far the log was sent, noted in a file so that a restart goes on there.
struct Place {
    file: PathBuf,
    position: Position,
    noted: Instant,
}

impl Place {
    /// Where it was left, if that is of this log; else where the log is now, which is noted at once.
    async fn begin(file: PathBuf, engine: &Engine) -> Self {
        let log = engine.log();
        let read = std::fs::read_to_string(&file);
        let is_there = !read.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let left = read.ok().and_then(|text| text.trim().parse::<Cursor>().ok());
        let left = left.filter(|left| left.position <= log.head() && log.epochs().hold(left));
        if is_there && left.is_none() {
            tracing::warn!(
                file = %file.display(),
                from = %log.head(),
                "how far the log was sent to NATS is not known, as the file is none of this log's: expected a cursor of it. What came \
                 before is not sent"
            );
        }
        let position = left.as_ref().map_or(log.head(), |left| left.position);
        let mut place = Self { file, position, noted: Instant::now() };
        if left.is_none() {
            place.note(engine).await;
        }
        place
    }

    async fn reach(&mut self, position: Position, engine: &Engine) {
        self.position = position;
        if self.noted.elapsed() >= NOTE_EVERY {
            self.note(engine).await;
        }
    }

    async fn note(&mut self, engine: &Engine) {
        self.noted = Instant::now();
        let (file, cursor) = (self.file.clone(), engine.log().cursor(self.position));
        let written = tokio::task::spawn_blocking(move || write_whole(&file, &format!("{cursor}\n")));
        if !matches!(written.await, Ok(Ok(()))) {
            tracing::warn!(
                "how far the log was sent to NATS cannot be noted; after a restart more is sent again"
            );
        }
    }
}

/// Writes a file whole or not at all, also when the power goes.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let building = path.with_extension("new");
    let mut file = File::create(&building)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&building, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
