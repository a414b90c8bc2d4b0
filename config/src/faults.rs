//! Everything in a table that a type does not take, where serde says only the first thing.
//!
//! Each key is read by itself, and what surrounds it once all within it is sound: a fault is one that lies where it is said to
//! be. The messages are serde's, in the words of those who write a configuration.

use std::marker::PhantomData;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::documentation::is_secret;
use crate::nearest::nearest;
use crate::tree::{self, Table, Value};

/// Characters of a value that a message repeats at most.
const SHOWN_CHARS: usize = 60;

/// Something that is not taken.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The path of the key.
    pub(crate) key: String,
    /// Where.
    pub(crate) span: Range<usize>,
    /// What is wrong with it.
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// There is no such key; these are there.
    Unknown { expected: Vec<String> },
    /// Its value is not as expected, and the value that was probably meant.
    Value { what: String, nearest: Option<String> },
}

/// Everything in a table that `T` does not take. `under` are the keys that lead to the table.
pub(crate) fn faults<T: DeserializeOwned>(table: &Table<'_>, under: &str) -> Vec<Fault> {
    let mut search = Search::<T> { found: Vec::new(), read: PhantomData };
    let root = Spanned::new(table.span(), DeValue::Table(table.get_ref().clone()));
    search.value(under, None, &root, &|value| match value.into_inner() {
        DeValue::Table(table) => Spanned::new(0..0, table),
        _ => tree::empty(),
    });
    search.found
}

struct Search<T> {
    found: Vec<Fault>,
    read: PhantomData<fn() -> T>,
}

/// Puts a value alone into a table that is otherwise empty, where it was in the whole.
type Alone<'f, 't> = &'f dyn Fn(Value<'t>) -> Table<'t>;

impl<T: DeserializeOwned> Search<T> {
    /// Whether a value is sound, and all within it.
    fn value<'t>(
        &mut self,
        key: &str,
        name: Option<Range<usize>>,
        value: &Value<'t>,
        alone: Alone<'_, 't>,
    ) -> bool {
        let is_sound = match value.get_ref() {
            DeValue::Table(items) => self.table(key, items, value.span(), alone),
            DeValue::Array(items) => self.list(key, items, value.span(), alone),
            _ => true,
        };
        if !is_sound {
            return false;
        }
        let Err(error) = tree::read::<T>(alone(value.clone())) else { return true };
        let place = error.span();
        let is_here = name.is_none() && key.is_empty()
            || place.as_ref().is_none_or(|place| {
                [Some(value.span()), name.clone()]
                    .iter()
                    .flatten()
                    .any(|own| own.start <= place.start && place.end <= own.end)
            });
        let of_lists = ["invalid length", "invalid type: sequence"];
        let is_of_list =
            key.ends_with(']') && of_lists.iter().any(|words| error.message().starts_with(words));
        if !is_here || is_of_list {
            return true; // it is about what surrounds it, which is looked at as a whole
        }
        let own = || value.span();
        let span = place.or_else(|| name.clone()).unwrap_or_else(own);
        let span = if key.ends_with(']') && name == Some(span.clone()) { own() } else { span };
        self.found.push(Fault { key: key.to_owned(), span, kind: kind(error.message(), key, value) });
        false
    }

    fn table<'t>(
        &mut self,
        key: &str,
        items: &DeTable<'t>,
        span: Range<usize>,
        alone: Alone<'_, 't>,
    ) -> bool {
        let mut is_sound = true;
        for (name, item) in items {
            let inner =
                if key.is_empty() { name.get_ref().to_string() } else { format!("{key}.{}", name.get_ref()) };
            let wrap = |item: Value<'t>| {
                let mut only = DeTable::new();
                only.insert(name.clone(), item);
                alone(Spanned::new(span.clone(), DeValue::Table(only)))
            };
            is_sound &= self.value(&inner, Some(name.span()), item, &wrap);
        }
        is_sound
    }

    fn list<'t>(&mut self, key: &str, items: &DeArray<'t>, span: Range<usize>, alone: Alone<'_, 't>) -> bool {
        let mut is_sound = true;
        for (number, item) in items.iter().enumerate() {
            let wrap = |item: Value<'t>| {
                let mut only = DeArray::new();
                only.push(item);
                alone(Spanned::new(span.clone(), DeValue::Array(only)))
            };
            // A type's own message of an item has the place of the list.
            is_sound &= self.value(&format!("{key}[{number}]"), Some(span.clone()), item, &wrap);
        }
        is_sound
    }
}

/// What serde says, in the words of those who write a configuration.
fn kind(message: &str, key: &str, value: &Value<'_>) -> Kind {
    let (said, expected) = message.split_once(", ").unwrap_or((message, ""));
    let wrong = |what: String| Kind::Value { what, nearest: None };
    if said.starts_with("unknown field") {
        return Kind::Unknown { expected: quoted(expected) };
    }
    let got = shown(key, value);
    if said.starts_with("unknown variant") {
        let names = quoted(expected);
        let meant = value.get_ref().as_str().and_then(|word| nearest(word, names.iter().map(String::as_str)));
        let nearest = meant.map(|word| format!("{word:?}"));
        return Kind::Value { what: format!("expected {}, got {got}", listed(&names)), nearest };
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return wrong(format!("expected a key {field} in it"));
    }
    if message.starts_with("invalid type: ")
        || message.starts_with("invalid value: ")
        || message.starts_with("invalid length ")
    {
        let expected = message.rsplit_once(", expected ").map_or(message, |(_, expected)| expected);
        return wrong(format!("expected {}, got {got}", in_words(expected)));
    }
    if is_secret(key) {
        return wrong("is not as expected".to_owned()); // a type's own message may repeat it
    }
    match in_words(message) {
        words if words != message => wrong(format!("expected {words}, got {got}")),
        _ if message.contains("expected") => wrong(message.to_owned()),
        _ => wrong(format!("{message}, got {got}")),
    }
}

/// What a type expects, for people. What is not known stays as it is.
pub(crate) fn in_words(expected: &str) -> &str {
    match expected {
        "a string" => "text",
        "path string" => "a path",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number, which may be negative",
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "a whole number from 1"
        }
        "f32" | "f64" => "a number",
        "socket address" | "invalid socket address syntax" => "an address and a port such as 127.0.0.1:7400",
        "IP address" | "invalid IP address syntax" => "an IP address",
        struct_name if struct_name.starts_with("struct ") => "a table",
        other => other,
    }
}

/// `"a" or "b"`.
pub(crate) fn listed(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match &names[..] {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The names in backticks.
pub(crate) fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A value in a message: never a secret, never long.
fn shown(key: &str, value: &Value<'_>) -> String {
    let of_type = match value.get_ref() {
        DeValue::Table(_) => "a table",
        DeValue::Array(_) => "a list",
        _ if is_secret(key) => "something else",
        _ => "",
    };
    if !of_type.is_empty() {
        return of_type.to_owned();
    }
    let text = tree::plain(value).map(|value| value.to_string()).unwrap_or_default();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
