//! A connection that publishes: one request at a time, and what it was answered.

use std::io::ErrorKind;

use serde::Deserialize;

use crate::http::{self, Head, Refusal};
use crate::message::{Mark, Marks};
use crate::target::Target;
use crate::wire::Wire;

/// What a publish is made of that does not change.
pub(crate) struct Template {
    path: &'static str,
    head: String,
    /// Up to the audience.
    begin: Vec<u8>,
    everybody: Vec<u8>,
    /// By user.
    users: Vec<Vec<u8>>,
    is_batch: bool,
}

impl Template {
    pub(crate) fn new(target: &Target, channel: &str, body_bytes: usize, batch: u32) -> Self {
        let is_batch = batch > 1;
        let path = if is_batch { "/v1/notifications/batch" } else { "/v1/notifications" };
        let head = http::request("POST", path, target.host(), &target.publish_token)
            + "Content-Type: application/json\r\nContent-Length: ";
        let body = "x".repeat(body_bytes);
        let begin = format!(r#"{{"type":"load.test","title":"Load test","body":"{body}","audience":{{"#);
        let audience = |kind: &str, name: &str| {
            serde_json::json!({ kind: [name] }).to_string().trim_start_matches('{').to_owned().into_bytes()
        };
        let users = target.users.iter().map(|user| audience("users", &user.id)).collect();
        Self {
            path,
            head,
            begin: begin.into_bytes(),
            everybody: audience("channels", channel),
            users,
            is_batch,
        }
    }

    /// A request with these notifications.
    fn write(&self, publishes: &[Mark], marks: &Marks) -> Vec<u8> {
        let mut body = Vec::with_capacity(publishes.len() * (self.begin.len() + 128) + 2);
        for (index, mark) in publishes.iter().enumerate() {
            if self.is_batch {
                body.push(if index == 0 { b'[' } else { b',' });
            }
            let user = (mark.sequence as usize).checked_sub(1);
            body.extend_from_slice(&self.begin);
            body.extend_from_slice(user.map_or(&self.everybody, |user| &self.users[user]));
            body.extend_from_slice(b",\"data\":{");
            marks.write(*mark, &mut body);
            body.extend_from_slice(b"}}");
        }
        body.extend_from_slice(if self.is_batch { b"]" } else { b"" });
        let mut request = format!("{}{}\r\n\r\n", self.head, body.len()).into_bytes();
        request.append(&mut body);
        request
    }
}

/// What became of a notification: its position, or why it was refused.
pub(crate) type Answer = Result<u64, Refusal>;

/// Notifications that were sent together.
pub(crate) struct Sent {
    pub(crate) publishes: Vec<Mark>,
}

/// A connection that publishes.
#[derive(Default)]
pub(crate) struct Publisher {
    wire: Option<Wire>,
    input: Vec<u8>,
    sent: Option<Sent>,
}

impl Publisher {
    /// Sends notifications. `number` is the connection's, `opened` registers it when it is a new one.
    pub(crate) fn publish(
        &mut self,
        template: &Template,
        target: &Target,
        number: usize,
        (publishes, marks): (Vec<Mark>, &Marks),
        opened: impl FnOnce(&mut Wire) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let request = template.write(&publishes, marks);
        self.sent = Some(Sent { publishes });
        self.input.clear();
        match &mut self.wire {
            Some(wire) => wire.send(&request),
            None => {
                let wire = self.wire.insert(target.connect(number, false)?);
                wire.send(&request)?;
                opened(wire)
            }
        }
    }

    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.wire.as_mut().map_or(Ok(()), Wire::flush)
    }

    /// Reads what there is: what was sent and what it was answered, once that is all there.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        template: &Template,
    ) -> Result<Option<(Sent, Vec<Answer>)>, String> {
        let mut is_closed = false;
        loop {
            let Some(wire) = &mut self.wire else { return Ok(None) };
            match wire.read(buffer) {
                Ok(0) => {
                    is_closed = true; // perhaps after its last answer
                    break;
                }
                Ok(bytes) => self.input.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let unfinished = || match is_closed {
            true => Err("the server closed the connection".to_owned()),
            false => Ok(None),
        };
        let Some(head) = http::head(&self.input)? else { return unfinished() };
        let Some(body) = body(&head, &self.input)? else { return unfinished() };
        let Some(sent) = self.sent.take() else { return Err("an answer that nobody asked for".to_owned()) };
        let answers = answers(&head, &body, sent.publishes.len(), template)?;
        self.input.clear();
        if head.closes || is_closed {
            self.wire = None;
        }
        Ok(Some((sent, answers)))
    }

    /// Gives the connection up; what was sent on it and not answered.
    pub(crate) fn close(&mut self) -> Option<Sent> {
        self.wire = None;
        self.input.clear();
        self.sent.take()
    }
}

/// The body of an answer, if it is all there.
fn body<'a>(head: &Head, input: &'a [u8]) -> Result<Option<std::borrow::Cow<'a, [u8]>>, String> {
    let rest = &input[head.bytes..];
    let Some(length) = head.length else { return Ok(dechunked(rest)?.map(Into::into)) };
    Ok(rest.get(..length).map(Into::into))
}

/// A body in chunks, which a proxy between may have made of it.
fn dechunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut whole = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(rest).map_err(|_| "an answer is not in chunks".to_owned())?;
        let httparse::Status::Complete((line, size)) = size else { return Ok(None) };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some(content) = rest[line..].get(..size) else { return Ok(None) };
        if size == 0 {
            return Ok(rest[line..].starts_with(b"\r\n").then_some(whole));
        }
        whole.extend_from_slice(content);
        let Some(next) = rest.get(line + size + 2..) else { return Ok(None) };
        rest = next;
    }
}

#[derive(Deserialize)]
struct Single {
    position: u64,
}

#[derive(Deserialize)]
struct Batch {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    position: Option<u64>,
    #[serde(default)]
    problem: serde_json::Value,
}

/// What each notification was answered.
fn answers(head: &Head, body: &[u8], count: usize, template: &Template) -> Result<Vec<Answer>, String> {
    let unexpected =
        |error: serde_json::Error| format!("the answer of {} is not one: {error}", template.path);
    if !(200..300).contains(&head.status) {
        return Ok(vec![Err(Refusal::new(head.status, body)); count]);
    }
    if !template.is_batch {
        let Single { position } = serde_json::from_slice(body).map_err(unexpected)?;
        return Ok(vec![Ok(position)]);
    }
    let Batch { results } = serde_json::from_slice(body).map_err(unexpected)?;
    let answer = |item: &Item| {
        let refusal = || Refusal::new(item.status, item.problem.to_string().as_bytes());
        item.position.filter(|_| item.status < 300).ok_or_else(refusal)
    };
    let answers: Vec<Answer> = results.iter().map(answer).collect();
    let is_whole = answers.len() == count;
    is_whole
        .then_some(answers)
        .ok_or_else(|| format!("{count} were published and {} answered", results.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_chunks_is_put_together() {
        let whole = b"4\r\n{\"po\r\n3\r\nsit\r\n0\r\n\r\n";
        assert_eq!(dechunked(whole), Ok(Some(b"{\"posit".to_vec())));
        for cut in 0..whole.len() {
            assert_eq!(dechunked(&whole[..cut]), Ok(None), "{cut}");
        }
    }
}
