//! What a server says, read as cheaply as can be: a notification is a look at its first fields and a search for the mark that its
//! publish put into it. Only what is rare is parsed.

use memchr::memmem::Finder;
use serde::Deserialize;

/// The mark that a publish carries in its `data`, by which its deliveries are known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of the publish.
    pub(crate) publish: u64,
    /// The sequence it is in: 0 is that of broadcasts, others are the users', from 1 on.
    pub(crate) sequence: u32,
    /// Its number in that sequence.
    pub(crate) number: u32,
}

/// Writes and finds the marks of this run.
pub(crate) struct Marks {
    run: String,
    finder: Finder<'static>,
}

impl Marks {
    /// Marks that nobody else's are taken for.
    pub(crate) fn new(run: &str) -> Self {
        let finder = Finder::new(&format!("\"load\":\"{run}.")).into_owned();
        Self { run: run.to_owned(), finder }
    }

    /// The member of `data` that carries a mark.
    pub(crate) fn write(&self, mark: Mark, out: &mut Vec<u8>) {
        use std::io::Write;
        let Mark { publish, sequence, number } = mark;
        let _ = write!(out, "\"load\":\"{}.{publish}.{sequence}.{number}\"", self.run); // a Vec takes it
    }

    /// A text cannot be taken for one, as its quotes are escaped.
    fn find(&self, message: &[u8]) -> Option<Mark> {
        let start = self.finder.find(message)? + self.finder.needle().len();
        let (publish, rest) = number(&message[start..])?;
        let (sequence, rest) = number(rest.strip_prefix(b".")?)?;
        let (number, _) = number(rest.strip_prefix(b".")?)?;
        Some(Mark { publish, sequence: u32::try_from(sequence).ok()?, number: u32::try_from(number).ok()? })
    }
}

/// One message of the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Message<'a> {
    Notification {
        position: u64,
        cursor: &'a [u8],
        mark: Option<Mark>,
    },
    Hello(Hello),
    /// All that was missed has come.
    CaughtUp {
        cursor: &'a [u8],
    },
    Closing(Closing),
    /// What else has a place in the log.
    Other {
        cursor: &'a [u8],
    },
    /// What has none.
    Aside,
}

/// The first message of a connection.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Hello {
    pub(crate) position: u64,
    pub(crate) cursor: String,
    #[serde(default)]
    pub(crate) resume: Option<Resume>,
}

/// Whether a device goes on where it was.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Resume {
    pub(crate) result: String,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// The last message of a connection.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Closing {
    #[serde(default)]
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    r#type: &'a str,
    position: Option<u64>,
    cursor: Option<&'a str>,
}

/// What a message says, or why it is none.
pub(crate) fn read<'a>(text: &'a [u8], marks: &Marks) -> Result<Message<'a>, String> {
    if let Some(found) = notification(text, marks) {
        return Ok(found);
    }
    let wrong = |error: serde_json::Error| {
        let shown: String = String::from_utf8_lossy(text).chars().take(200).collect();
        format!("the server said what is no message: {error}: {shown}")
    };
    let envelope: Envelope = serde_json::from_slice(text).map_err(wrong)?;
    let cursor = envelope.cursor.unwrap_or_default().as_bytes();
    Ok(match envelope.r#type {
        "hello" => Message::Hello(serde_json::from_slice(text).map_err(wrong)?),
        "notification" => {
            let position = envelope.position.ok_or("a notification came without its position")?;
            Message::Notification { position, cursor, mark: marks.find(text) }
        }
        "caughtUp" => Message::CaughtUp { cursor },
        "closing" => Message::Closing(serde_json::from_slice(text).map_err(wrong)?),
        _ if cursor.is_empty() => Message::Aside,
        _ => Message::Other { cursor },
    })
}

/// A notification, when it looks as it does today; any other look of it is left to a parser.
fn notification<'a>(text: &'a [u8], marks: &Marks) -> Option<Message<'a>> {
    let rest = text.strip_prefix(br#"{"type":"notification","position":"#)?;
    let (position, rest) = number(rest)?;
    let rest = rest.strip_prefix(br#","cursor":""#)?;
    let cursor = &rest[..memchr::memchr(b'"', rest)?];
    Some(Message::Notification { position, cursor, mark: marks.find(&rest[cursor.len()..]) })
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((number, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { publish: 7, sequence: 3, number: 12 };

    fn sent(data: &str) -> String {
        format!(
            r#"{{"type":"notification","position":58,"cursor":"ab.58","counts":true,"notification":{{"title":"x","data":{data}}}}}"#
        )
    }

    #[test]
    fn a_mark_is_found_again_and_no_other_is_taken_for_it() {
        let marks = Marks::new("a1");
        let mut data = b"{".to_vec();
        marks.write(MARK, &mut data);
        let data = String::from_utf8(data).unwrap() + "}";
        let expected = |mark| Message::Notification { position: 58, cursor: b"ab.58", mark };
        assert_eq!(read(sent(&data).as_bytes(), &marks), Ok(expected(Some(MARK))));
        let spaced = sent(&data).replacen(",", " , ", 1); // not as it looks today: it is parsed
        assert_eq!(read(spaced.as_bytes(), &marks), Ok(expected(Some(MARK))));
        for other in [data.replace("a1", "b1"), r#"{"note":"\"load\":\"a1.7.3.12\""}"#.to_owned()] {
            assert_eq!(read(sent(&other).as_bytes(), &marks), Ok(expected(None)), "{other}");
        }
    }

    #[test]
    fn what_is_rare_is_parsed_and_what_is_new_is_passed_over() {
        let marks = Marks::new("a1");
        let read = |text: &'static str| read(text.as_bytes(), &marks);
        let closing = Closing { code: Some(1012), reason: "bye".to_owned(), retry_after_ms: Some(5) };
        let text = r#"{"type":"closing","code":1012,"reason":"bye","cursor":"a.1","retryAfterMs":5}"#;
        assert_eq!(read(text), Ok(Message::Closing(closing)));
        assert_eq!(read(r#"{"type":"news","cursor":"a.9"}"#), Ok(Message::Other { cursor: b"a.9" }));
        assert_eq!(read(r#"{"type":"counts","unread":1,"position":9}"#), Ok(Message::Aside));
        assert!(read("no").is_err());
    }
}
