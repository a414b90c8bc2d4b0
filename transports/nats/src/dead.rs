//! Dead letters: what could not be accepted, with the problem, on a stream of its own. A message is given up only when its letter is
//! stored. A task of its own does it, many at once, while the others are published.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;
use tidings_config::NatsSettings;
use tidings_engine::problem::Problem;
use tokio::sync::mpsc;

use crate::header;
use crate::incoming::Incoming;
use crate::link::Link;
use crate::stream::stream_of_dead_letters;
use crate::subject::Subjects;

/// Letters that wait to be written.
pub(crate) const LETTERS: usize = 1_024;
/// Letters that are written at once.
const AT_ONCE: usize = 256;
/// Bytes of a message that its letter repeats: enough to see what it was.
const DATA_BYTES: usize = 32 << 10;
/// Headers that it repeats, and bytes of each.
const HEADERS: (usize, usize) = (32, 512);
/// Bytes of each text in a letter that would be too large with all of them; in the end there are none.
const TEXT_BYTES: [usize; 2] = [256, 0];
/// Bytes of a letter's headers, and to spare.
const LETTER_HEADERS: usize = 1_024;
/// Bytes of a problem's detail that the log repeats.
const DETAIL_BYTES: usize = 512;
/// How often the log says that there were some.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How often it is seen to it that their stream is there, when they cannot be stored.
const MAKE_EVERY: Duration = Duration::from_secs(10);

/// A message that cannot be accepted, and why.
pub(crate) struct Dead {
    pub(crate) incoming: Incoming,
    pub(crate) problem: Problem,
}

/// What is written of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Letter<'m> {
    problem: &'m Problem,
    subject: &'m str,
    stream: &'m str,
    sequence: u64,
    /// How often it was handed out.
    delivered: u32,
    headers: BTreeMap<&'m str, &'m str>,
    /// Bytes of the message.
    bytes: usize,
    /// The message, or its beginning, if that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'m str>,
    /// Else so.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// Writes letters until nobody sends any more.
pub(crate) async fn run(
    link: Link,
    context: Context,
    settings: NatsSettings,
    subjects: Subjects,
    mut queue: mpsc::Receiver<Dead>,
) {
    let mut batch = Vec::new();
    let mut said = Said::default();
    let mut made: Option<Instant> = None;
    while queue.recv_many(&mut batch, AT_ONCE).await > 0 {
        let letters = batch.drain(..).map(|dead| {
            let (link, context, subjects) = (&link, &context, &subjects);
            async move {
                let written = write(context, subjects, &dead).await;
                match &written {
                    Ok(()) => dead.incoming.bury(link).await,
                    Err(_) => dead.incoming.postpone(link).await,
                }
                written.map(|()| dead.problem)
            }
        });
        let written = join_all(letters).await;
        said.note(&written);
        let is_due = made.is_none_or(|made| made.elapsed() >= MAKE_EVERY);
        if written.iter().any(Result::is_err) && is_due && link.broker.is_connected() {
            made = Some(Instant::now());
            if let Err(error) = stream_of_dead_letters(&context, &settings, &subjects).await {
                tracing::warn!(%error, "the stream of dead letters cannot be made");
            }
        }
    }
}

async fn write(context: &Context, subjects: &Subjects, dead: &Dead) -> Result<(), String> {
    let subject = dead.incoming.message.subject.as_str();
    let mut headers = HeaderMap::new();
    headers.insert(header::MESSAGE_ID, dead.incoming.name.as_str()); // the same letter twice is one
    headers.insert(header::CONTENT_TYPE, "application/json");
    let letter = Bytes::from(letter(dead, context.client().max_payload()));
    let stored = context.publish_with_headers(subjects.dead_of(subject), headers, letter).await;
    let stored = stored.map_err(|error| error.to_string())?;
    stored.await.map(drop).map_err(|error| error.to_string())
}

/// The letter, with less of the message where the broker would not take it.
fn letter(dead: &Dead, most_bytes: usize) -> Vec<u8> {
    let Dead { incoming, problem } = dead;
    let Incoming { message, stream, sequence, delivered, .. } = incoming;
    let mut data_bytes = DATA_BYTES;
    loop {
        let kept = message.payload.get(..data_bytes).unwrap_or(&message.payload);
        let (data, data_base64) = match text(kept) {
            Some(data) => (Some(data), None),
            None => (None, Some(STANDARD.encode(kept))),
        };
        let headers = headers(message.headers.as_ref(), if data_bytes == 0 { 0 } else { HEADERS.0 });
        let letter = Letter {
            problem,
            subject: message.subject.as_str(),
            stream,
            sequence: *sequence,
            delivered: *delivered,
            headers,
            bytes: message.payload.len(),
            data,
            data_base64,
        };
        let json = serde_json::to_vec(&letter).unwrap_or_default();
        if json.len() + LETTER_HEADERS <= most_bytes {
            return json;
        }
        if data_bytes == 0 {
            return outline(dead, most_bytes);
        }
        data_bytes /= 4;
        if data_bytes < 256 {
            data_bytes = 0;
        }
    }
}

/// The letter when even the problem is too large, as it may repeat a field's name: which message, and which problem. It always fits,
/// so that no message comes again for ever because of its letter.
fn outline(Dead { incoming, problem }: &Dead, most_bytes: usize) -> Vec<u8> {
    let Incoming { message, stream, sequence, delivered, .. } = incoming;
    let mut json = Vec::new();
    for most in TEXT_BYTES {
        let said = json!({
            "type": problem.kind(),
            "title": problem.title(),
            "status": problem.status(),
            "detail": beginning(problem.detail(), most),
        });
        let letter = json!({
            "problem": said,
            "subject": beginning(&message.subject, most),
            "stream": stream,
            "sequence": sequence,
            "delivered": delivered,
            "headers": {},
            "bytes": message.payload.len(),
        });
        json = letter.to_string().into_bytes();
        if json.len() + LETTER_HEADERS <= most_bytes {
            break;
        }
    }
    json
}

/// The beginning of a text, of at most so many bytes.
fn beginning(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// Bytes as text, if they are, but for a character that was cut.
fn text(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

fn headers(headers: Option<&HeaderMap>, most: usize) -> BTreeMap<&str, &str> {
    let all = headers.into_iter().flat_map(|headers| headers.iter());
    let first = all.filter_map(|(name, values)| Some((AsRef::<str>::as_ref(name), values.first()?.as_str())));
    let short = first.filter(|(name, value)| name.len() + value.len() <= HEADERS.1);
    short.take(most).collect()
}

/// What the log says of them: not a line for each, of which there may be any number.
#[derive(Default)]
struct Said {
    stored: usize,
    failed: usize,
    last: [Option<Instant>; 2],
}

impl Said {
    fn note(&mut self, written: &[Result<Problem, String>]) {
        let is_due = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() >= SAY_EVERY);
        let mut stored = written.iter().filter_map(|written| written.as_ref().ok());
        let mut failed = written.iter().filter_map(|written| written.as_ref().err());
        self.stored += stored.clone().count();
        self.failed += failed.clone().count();
        if let Some(problem) = stored.next_back().filter(|_| is_due(self.last[0])) {
            let (count, kind, detail) =
                (self.stored, problem.kind(), beginning(problem.detail(), DETAIL_BYTES));
            tracing::warn!(
                count,
                kind,
                detail,
                "messages from NATS were put aside as dead letters; the last one says why"
            );
            (self.stored, self.last[0]) = (0, Some(Instant::now()));
        }
        if let Some(error) = failed.next_back().filter(|_| is_due(self.last[1])) {
            let count = self.failed;
            tracing::warn!(count, error, "dead letters could not be stored: their messages come again");
            (self.failed, self.last[1]) = (0, Some(Instant::now()));
        }
    }
}
