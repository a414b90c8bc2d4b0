//! CloudEvents 1.0 (CNCF): accepted wherever something is published.
//!
//! `type` is the notification's type, `source` and `id` are its idempotency key, and `data` holds the rest of the
//! notification as a publish has it. Extension attributes are passed over.

use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::draft::Draft;
use crate::input::{FieldError, InputError, parse};
use crate::names::{IdempotencyKey, NotificationType, Publisher};
use crate::notification::encode;

/// A notification to publish, and under whose name its key is kept.
#[derive(Clone, Debug)]
pub struct Publication {
    /// What to publish.
    pub draft: Draft,
    /// Whose key it is: the source of a CloudEvent. Without it, the publisher's own.
    pub source: Option<Publisher>,
}

impl From<Draft> for Publication {
    fn from(draft: Draft) -> Self {
        Self { draft, source: None }
    }
}

/// A CloudEvent (1.0) as far as it concerns a notification.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct CloudEvent {
    /// `1.0`.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    /// Unique for its source.
    #[schemars(with = "IdempotencyKey")]
    pub id: String,
    /// Where it comes from, a URI reference.
    #[schemars(length(min = 1, max = SOURCE_BYTES), regex(pattern = r"^[^\s\x00-\x1F\x7F-\x9F]+$"))]
    pub source: String,
    /// What kind of fact it is.
    #[serde(rename = "type")]
    #[schemars(with = "NotificationType")]
    pub kind: String,
    /// The media type of `data`; JSON when nothing is said.
    #[serde(default)]
    #[schemars(extend("pattern" = r"^(application/json|text/json|[a-z0-9.-]+/[a-z0-9.-]+\+json)(;.*)?$"))]
    pub datacontenttype: Option<String>,
    /// The notification without its type.
    #[serde(default)]
    #[schemars(schema_with = "data_schema")]
    pub data: Option<Map<String, Value>>,
    /// Binary data, which a notification is not.
    #[serde(default)]
    #[schemars(skip)]
    pub data_base64: Option<String>,
}

/// Bytes of a source at most: a URI reference.
const SOURCE_BYTES: usize = 512;

/// What `data` may be: a draft without what the event's own attributes say.
fn data_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Draft::json_schema(generator);
    for given_by_attribute in GIVEN_BY_ATTRIBUTES {
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove(given_by_attribute);
        }
    }
    schema.remove("required");
    schema.insert("type".to_owned(), serde_json::json!(["object", "null"]));
    schema
}

/// Fields of a draft that a CloudEvent's attributes say.
const GIVEN_BY_ATTRIBUTES: [&str; 2] = ["type", "idempotencyKey"];

impl CloudEvent {
    /// Parses one in structured mode: a JSON object.
    ///
    /// # Errors
    /// [`InputError`] with the attribute that was not as expected.
    pub fn parse(json: &[u8]) -> Result<Self, InputError> {
        parse(json)
    }

    /// One in binary mode: its attributes are headers (`ce-id`, percent-encoded), and its data is the body.
    ///
    /// # Errors
    /// The header that was not as expected, or the field of the body.
    pub fn of_headers<'h>(header: impl Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<Self, InputError> {
        let attribute = |name: &str| {
            let name = format!("ce-{name}");
            let wrong = |expected: &str| FieldError::new(name.as_str(), format!("expected {expected}"));
            let value = header(&name).ok_or_else(|| wrong("this attribute of a CloudEvent"))?;
            let decoded = percent_decode_str(value).decode_utf8();
            decoded.map(String::from).map_err(|_| wrong("percent-encoded UTF-8"))
        };
        let data = if body.is_empty() { Map::new() } else { parse(body).map_err(within_data)? };
        let of = |name| attribute(name).map_err(InputError::Field);
        Ok(Self {
            specversion: of("specversion")?,
            id: of("id")?,
            source: of("source")?,
            kind: of("type")?,
            datacontenttype: None,
            data: Some(data),
            data_base64: None,
        })
    }

    /// The notification it carries.
    ///
    /// # Errors
    /// The attribute or field that was not as expected; those within `data` by their path there.
    pub fn into_publication(self) -> Result<Publication, FieldError> {
        let attribute = |name: &str, expected: &str| FieldError::new(name, format!("expected {expected}"));
        if self.specversion != "1.0" {
            return Err(FieldError::new("specversion", format!("expected 1.0, got {}", self.specversion)));
        }
        if self.data_base64.is_some() {
            return Err(attribute("data_base64", "none: a notification's `data` is a JSON object"));
        }
        if !self.datacontenttype.as_deref().is_none_or(is_json) {
            return Err(attribute("datacontenttype", "application/json or another type that ends in +json"));
        }
        let kind: NotificationType = self.kind.parse().map_err(|error| invalid("type", &error))?;
        let key: IdempotencyKey = self.id.parse().map_err(|error| invalid("id", &error))?;
        let is_source =
            (1..=SOURCE_BYTES).contains(&self.source.len()) && !self.source.chars().any(char::is_control);
        let source = Publisher::new(&format!("source:{}", self.source)).ok().filter(|_| is_source);
        let source = source.ok_or_else(|| attribute("source", "a URI reference of 1 to 512 bytes"))?;
        let draft = draft(kind, key, self.data.unwrap_or_default())?;
        Ok(Publication { draft, source: Some(source) })
    }
}

fn within_data(error: InputError) -> InputError {
    match error {
        InputError::Field(field) => InputError::Field(field.within("data")),
        other => other,
    }
}

fn invalid(attribute: &str, error: &dyn std::fmt::Display) -> FieldError {
    FieldError::new(attribute, error.to_string())
}

/// Whether a media type is one of JSON.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

fn draft(
    kind: NotificationType,
    key: IdempotencyKey,
    mut data: Map<String, Value>,
) -> Result<Draft, FieldError> {
    for given_by_attribute in GIVEN_BY_ATTRIBUTES {
        if data.contains_key(given_by_attribute) {
            let field = format!("data.{given_by_attribute}");
            return Err(FieldError::new(field, "expected none: a CloudEvent's own attributes say it"));
        }
    }
    data.insert("type".to_owned(), Value::String(kind.as_str().to_owned()));
    let mut draft: Draft = parse(&encode(&data)).map_err(|error| match error {
        InputError::Field(field) => field.within("data"),
        other => FieldError::new("data", other.to_string()),
    })?;
    draft.idempotency_key = Some(key);
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(json: &str) -> Result<Publication, FieldError> {
        CloudEvent::parse(json.as_bytes()).unwrap().into_publication()
    }

    #[test]
    fn a_cloudevent_becomes_a_notification_under_its_source_and_id() {
        let json = r#"{"specversion":"1.0","id":"e-1","source":"/bookings","type":"booking.accepted",
            "datacontenttype":"application/json; charset=utf-8","time":"2026-11-21T07:00:00Z","traceparent":"x",
            "data":{"title":"Accepted","audience":{"users":["ada"]}}}"#;
        let publication = publication(json).unwrap();
        assert_eq!(publication.draft.kind.as_str(), "booking.accepted");
        assert_eq!(publication.draft.title, "Accepted");
        assert_eq!(publication.draft.idempotency_key.unwrap().as_str(), "e-1");
        assert_eq!(publication.source.unwrap().as_str(), "source:/bookings");
    }

    #[test]
    fn attributes_may_be_headers() {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "e%201"),
            ("ce-source", "/b"),
            ("ce-type", "booking.accepted"),
        ];
        let header = |name: &str| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
        let event = CloudEvent::of_headers(header, br#"{"title":"Accepted"}"#).unwrap();
        assert_eq!(event.into_publication().unwrap().draft.idempotency_key.unwrap().as_str(), "e 1");
        let missing =
            CloudEvent::of_headers(|name| header(name).filter(|_| name != "ce-id"), b"").unwrap_err();
        assert!(matches!(missing, InputError::Field(field) if field.field == "ce-id"));
        let wrong = CloudEvent::of_headers(header, b"[]").unwrap_err();
        assert!(matches!(wrong, InputError::Field(field) if field.field == "data"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let with = |specversion: &str, rest: &str| {
            format!(r#"{{"specversion":"{specversion}","id":"1","source":"s","type":"t"{rest}}}"#)
        };
        for (json, field) in [
            (with("0.3", ""), "specversion"),
            (with("1.0", r#","data_base64":"AA==""#), "data_base64"),
            (with("1.0", r#","datacontenttype":"text/xml""#), "datacontenttype"),
            (with("1.0", r#","data":{"audience":{"users":[""]}}"#), "data.audience.users[0]"),
            (with("1.0", r#","data":{"type":"x"}"#), "data.type"),
            (with("1.0", r#","data":{"titel":"x"}"#), "data"),
        ] {
            let error = publication(&json).unwrap_err();
            assert!(error.field.starts_with(field), "{json}: {error:?}");
        }
    }
}
