//! JSON from outside into types, with an error that names the field and what was expected.
//!
//! Never panics and never recurses deeper than [`limits::JSON_DEPTH`].

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits;

/// What was wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct FieldError {
    /// The path of the field: `audience.users[3]`; empty for the whole input.
    pub field: String,
    /// What was expected, and what came where that helps.
    pub detail: String,
}

impl FieldError {
    /// An error of a field.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }

    /// The same error of a field that lies within `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner if outer.is_empty() => inner.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

/// Why a JSON text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not JSON at all.
    #[error("expected JSON: {0}")]
    Malformed(String),
    /// JSON that nests deeper than is ever needed.
    #[error("expected JSON that nests at most {} deep", limits::JSON_DEPTH)]
    TooDeep,
    /// JSON, but not of the right shape.
    #[error("{}: {}", .0.field, .0.detail)]
    Field(FieldError),
}

/// Parses a JSON object.
///
/// # Errors
/// [`InputError`], with the path of the field that did not fit.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, InputError> {
    if depth(text) > limits::JSON_DEPTH {
        return Err(InputError::TooDeep);
    }
    let parsed = serde_json::from_slice::<Object<T>>(text).map(|Object(value)| value);
    parsed.map_err(|error| explain::<T>(text, &error))
}

/// Takes JSON that was parsed already into a type.
///
/// # Errors
/// The field that did not fit.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, FieldError> {
    let parsed = serde_path_to_error::deserialize::<_, Object<T>>(value);
    parsed.map(|Object(value)| value).map_err(|error| located(&error))
}

/// For a field that holds an object: `#[serde(deserialize_with = "object")]`. Serde would take a list of the values of
/// its fields as well, which nobody means.
///
/// # Errors
/// When it is something else, or not as `T` expects.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// The same for a field that may be missing or `null`.
///
/// # Errors
/// As [`object`].
pub fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|object| object.map(|Object(value)| value))
}

/// A value that was given as a JSON object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Parses again, slowly, to learn which field was wrong.
fn explain<T: DeserializeOwned>(text: &[u8], error: &serde_json::Error) -> InputError {
    if !error.is_data() {
        return InputError::Malformed(error.to_string());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, Object<T>>(&mut deserializer) {
        Ok(_) => InputError::Malformed(error.to_string()),
        Err(error) => InputError::Field(located(&error)),
    }
}

fn located(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let path = error.path().to_string();
    let field = if path == "." { String::new() } else { path };
    let message = without_place(&error.inner().to_string());
    match in_ticks(&message, "missing field ").or_else(|| in_ticks(&message, "duplicate field ")) {
        Some(missing) => FieldError::new(missing, plain(&message)).within(&field),
        None => FieldError::new(field, plain(&message)),
    }
}

/// The name in ticks that follows a beginning.
fn in_ticks<'m>(message: &'m str, beginning: &str) -> Option<&'m str> {
    message.strip_prefix(beginning)?.strip_prefix('`')?.strip_suffix('`')
}

/// serde's words for numbers, in plain ones.
fn plain(message: &str) -> String {
    match message.rsplit_once("expected ") {
        Some((before, "usize" | "u64" | "u32" | "i64")) => format!("{before}expected a whole number"),
        _ => message.to_owned(),
    }
}

/// serde_json's message without ` at line 1 column 20`: the path says it better.
fn without_place(message: &str) -> String {
    message.rfind(" at line ").map_or(message, |at| &message[..at]).to_owned()
}

/// How deep the text nests. Brackets inside strings do not count.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        users: Vec<crate::UserId>,
    }

    fn field_of(text: &str) -> FieldError {
        match parse::<Sample>(text.as_bytes()) {
            Err(InputError::Field(error)) => error,
            other => panic!("expected a field error, got {other:?}"),
        }
    }

    #[test]
    fn the_error_names_the_field_and_what_was_expected() {
        assert_eq!(field_of(r#"{"users":["ada",7]}"#).field, "users[1]");
        assert!(field_of(r#"{"users":["ada",""]}"#).detail.contains("1 to 128 bytes"));
        assert!(field_of(r#"{"users":[],"extra":1}"#).detail.contains("unknown field `extra`"));
        assert_eq!(field_of("{}"), FieldError::new("users", "missing field `users`"));
        assert_eq!(field_of(r#"{"users":[],"users":[]}"#).field, "users");
        assert!(field_of("[[\"ada\"]]").detail.contains("expected an object"));
    }

    #[test]
    fn depth_is_measured_outside_of_strings() {
        assert_eq!(depth(br#"{"a":["[[[[",{"b":"\"[["}]}"#), 3);
        let deep = "[".repeat(200_000);
        assert_eq!(parse::<serde_json::Value>(deep.as_bytes()), Err(InputError::TooDeep));
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in ["", "{", "nope", "{\"users\":[]} trailing"] {
            assert!(matches!(parse::<Sample>(text.as_bytes()), Err(InputError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn paths_nest() {
        assert_eq!(FieldError::new("title", "x").within("notifications[2]").field, "notifications[2].title");
        assert_eq!(FieldError::new("", "x").within("data").field, "data");
        assert_eq!(FieldError::new("[3]", "x").within("users").field, "users[3]");
    }
}
