//! What a message publishes: a draft as JSON, or a CloudEvent, structured or with its attributes in headers. The same forms as on
//! HTTP, with the same problems.

use async_nats::{HeaderMap, Message};
use tidings_engine::problem::Problem;
use tidings_engine::{CloudEvent, Draft, IdempotencyKey, Publication, input};

use crate::header;

const JSON: &str = "application/json";
const CLOUDEVENT: &str = "application/cloudevents+json";

/// What a message publishes, and what is wrong with it.
pub(crate) fn publication(message: &Message, most_bytes: usize) -> Result<Publication, Problem> {
    let (headers, payload) = (message.headers.as_ref(), &message.payload[..]);
    if payload.len() > most_bytes {
        return Err(Problem::too_large(most_bytes));
    }
    let attribute = |name: &str| header::value(headers, name);
    match media_type(headers).as_str() {
        CLOUDEVENT => Ok(CloudEvent::parse(payload)?.into_publication()?),
        "" | JSON if attribute("ce-specversion").is_some() => {
            Ok(CloudEvent::of_headers(attribute, payload)?.into_publication()?)
        }
        JSON => draft(headers, payload),
        // Who sends no headers cannot say which of the two it is. No draft has this field, and each CloudEvent has it.
        "" if memchr::memmem::find(payload, b"\"specversion\"").is_some() => match CloudEvent::parse(payload)
        {
            Ok(event) => Ok(event.into_publication()?),
            Err(_) => draft(headers, payload),
        },
        "" => draft(headers, payload),
        other => Err(Problem::media_type(&format!("{JSON} or {CLOUDEVENT}"), other)),
    }
}

fn draft(headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Publication, Problem> {
    let mut draft: Draft = input::parse(payload)?;
    let Some(id) = header::value(headers, header::MESSAGE_ID) else { return Ok(draft.into()) };
    let key =
        IdempotencyKey::new(id).map_err(|error| Problem::field(header::MESSAGE_ID, error.to_string()))?;
    if draft.idempotency_key.as_ref().is_some_and(|own| *own != key) {
        let detail = format!("expected the same key as in {}, or only one of the two", header::MESSAGE_ID);
        return Err(Problem::field("idempotencyKey", detail));
    }
    draft.idempotency_key = Some(key);
    Ok(draft.into())
}

/// The media type without its parameters, in lower case; empty when none is given.
fn media_type(headers: Option<&HeaderMap>) -> String {
    let value = header::value(headers, header::CONTENT_TYPE).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)], payload: &str) -> Message {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.insert(*name, *value));
        let payload = payload.to_owned().into();
        Message {
            subject: "tidings.publish.x".into(),
            reply: None,
            payload,
            headers: (!map.is_empty()).then_some(map),
            status: None,
            description: None,
            length: 0,
        }
    }

    fn key(headers: &[(&str, &str)], payload: &str) -> Result<Option<String>, String> {
        let published = publication(&message(headers, payload), 1_000);
        let key = |published: Publication| published.draft.idempotency_key.map(|key| key.to_string());
        published.map(key).map_err(|problem| format!("{} {}", problem.status(), problem.detail()))
    }

    const DRAFT: &str = r#"{"type":"a","audience":{"users":["ada"]}}"#;
    const EVENT: &str =
        r#"{"specversion":"1.0","id":"e","source":"/s","type":"a","data":{"audience":{"users":["ada"]}}}"#;

    #[test]
    fn each_form_of_a_notification_is_understood() {
        let json = (header::CONTENT_TYPE, "Application/JSON; charset=utf-8");
        let event = ("content-type", CLOUDEVENT);
        let id = ("nats-msg-id", "k");
        let binary = [("ce-specversion", "1.0"), ("CE-ID", "b"), ("ce-source", "/s"), ("ce-type", "a")];
        assert_eq!(key(&[], DRAFT), Ok(None));
        assert_eq!(key(&[json], DRAFT), Ok(None));
        assert_eq!(key(&[id], DRAFT), Ok(Some("k".to_owned())));
        assert_eq!(key(&[event, id], EVENT), Ok(Some("e".to_owned())), "its own id is its key");
        assert_eq!(key(&[], EVENT), Ok(Some("e".to_owned())));
        assert_eq!(key(&binary, r#"{"audience":{"users":["ada"]}}"#), Ok(Some("b".to_owned())));
    }

    #[test]
    fn what_is_none_is_said_with_its_field() {
        let wrong = |headers: &[(&str, &str)], payload: &str| key(headers, payload).unwrap_err();
        assert!(wrong(&[], "nope").starts_with("400"));
        assert!(wrong(&[], &"x".repeat(1_001)).starts_with("413"));
        assert!(wrong(&[(header::CONTENT_TYPE, "text/xml")], DRAFT).starts_with("415"));
        assert_eq!(wrong(&[], "{}"), "422 type: missing field `type`");
        assert!(wrong(&[(header::MESSAGE_ID, " k")], DRAFT).starts_with("422 Nats-Msg-Id"));
        let two = r#"{"type":"a","idempotencyKey":"x"}"#;
        assert!(wrong(&[(header::MESSAGE_ID, "k")], two).starts_with("422 idempotencyKey"));
        assert!(wrong(&[], r#"{"type":"a","titel":"\"specversion\""}"#).contains("titel"));
    }
}
