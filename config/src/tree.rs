//! TOML with the place of each key and value, and ways through it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use crate::problem::{Problem, Source};

/// A table, with where it stands.
pub(crate) type Table<'t> = Spanned<DeTable<'t>>;
/// A value, with where it stands.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// A table without anything in it.
pub(crate) fn empty<'t>() -> Table<'t> {
    Spanned::new(0..0, DeTable::new())
}

/// Reads what a whole table says.
pub(crate) fn read<T: DeserializeOwned>(table: Table<'_>) -> Result<T, toml::de::Error> {
    T::deserialize(Deserializer::from(table))
}

/// A value without its place.
pub(crate) fn plain(value: &Value<'_>) -> Option<toml::Value> {
    toml::Value::deserialize(ValueDeserializer::from(value.clone())).ok()
}

/// A file as it is written.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self { path: path.to_owned(), text: std::fs::read_to_string(path)? })
    }

    /// What can be read of it, and what of it is no TOML.
    pub(crate) fn parse(&self) -> (Table<'_>, Vec<Problem>) {
        let (mut table, errors) = DeTable::parse_recoverable(&self.text);
        let line_of = |error: &toml::de::Error| {
            let before = self.text.get(..error.span().unwrap_or(0..0).start).unwrap_or_default();
            before.rfind('\n').map_or(0, |newline| newline + 1)
        };
        // Nobody knows the section of what follows a section's name that cannot be read.
        let is_header =
            |start: &usize| self.text.get(*start..).is_some_and(|line| line.trim_start().starts_with('['));
        if let Some(end) = errors.iter().map(line_of).find(is_header) {
            table = DeTable::parse_recoverable(self.text.get(..end).unwrap_or_default()).0;
        }
        let problem = |error: toml::de::Error| {
            let source = self.source(&error.span().unwrap_or(0..0));
            Problem { source, key: String::new(), what: error.message().to_owned(), nearest: None }
        };
        (table, errors.into_iter().map(problem).collect())
    }

    /// The place where something begins.
    pub(crate) fn source(&self, span: &Range<usize>) -> Source {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Source::File { path: self.path.clone(), line: before.matches('\n').count() + 1, column }
    }
}

/// A step of a path: a key, or the number of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'k> {
    Key(&'k str),
    Item(usize),
}

/// The steps of a key such as `token.keys[0].kid`.
fn steps(key: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in key.split('.') {
        let (name, items) = part.split_once('[').unwrap_or((part, ""));
        steps.push(Step::Key(name));
        steps.extend(items.split(['[', ']']).filter_map(|item| item.parse().ok()).map(Step::Item));
    }
    steps
}

/// The place of a key's name, and its value. `None` when it is not there.
pub(crate) fn find<'a, 't>(table: &'a Table<'t>, key: &str) -> Option<(Range<usize>, &'a Value<'t>)> {
    let mut steps = steps(key).into_iter();
    let Some(Step::Key(first)) = steps.next() else { return None };
    let (name, value) = table.get_ref().get_key_value(first)?;
    let mut found = (name.span(), value);
    for step in steps {
        found = match step {
            Step::Key(key) => {
                let (name, value) = found.1.get_ref().as_table()?.get_key_value(key)?;
                (name.span(), value)
            }
            Step::Item(number) => {
                let value = found.1.get_ref().as_array()?.get(number)?;
                (value.span(), value)
            }
        };
    }
    Some(found)
}

/// Sets a key, or takes it away. Sections on the way are made.
pub(crate) fn set<'t>(table: &mut DeTable<'t>, key: &str, value: Option<Value<'t>>) {
    let Some((section, rest)) = key.split_once('.') else {
        match value {
            Some(value) => drop(table.insert(named(key), value)),
            None => drop(table.remove(key)),
        }
        return;
    };
    if table.get(section).is_none_or(|inner| !inner.get_ref().is_table()) {
        if value.is_none() {
            return;
        }
        table.insert(named(section), Spanned::new(0..0, DeValue::Table(DeTable::new())));
    }
    if let Some(DeValue::Table(inner)) = table.get_mut(section).map(Spanned::get_mut) {
        set(inner, rest, value);
    }
}

fn named<'t>(name: &str) -> Spanned<Cow<'t, str>> {
    Spanned::new(0..0, Cow::Owned(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_through_tables_and_lists() {
        let table = DeTable::parse("[a]\nb = [{ c = 1 }, { c = 2 }]").unwrap();
        assert_eq!(plain(find(&table, "a.b[1].c").unwrap().1), Some(toml::Value::Integer(2)));
        assert!(find(&table, "a.b[2].c").is_none() && find(&table, "a.x").is_none());
    }

    #[test]
    fn keys_are_set_and_taken_away() {
        let mut table = DeTable::parse("a = 1").unwrap().into_inner();
        set(&mut table, "b.c", Some(DeValue::parse("2").unwrap()));
        set(&mut table, "a", None);
        set(&mut table, "x.y", None);
        let table: toml::Table = read(Spanned::new(0..0, table)).unwrap();
        assert_eq!(table.to_string(), "[b]\nc = 2\n");
    }
}
