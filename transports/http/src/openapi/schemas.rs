//! The schemas of types, for the document: what is taken and what is sent, each once, under its name.
//!
//! A type may look different from either side: a field that may be left out by a client is always there in an answer. Then
//! the side of the client is named `…Input`.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

const SENT: &str = "#/components/schemas/";
/// Where schemas of what is taken are until all are known.
const GIVEN: &str = "#/components/given/";

/// Schemas as they are asked for.
pub struct Schemas {
    given: SchemaGenerator,
    sent: SchemaGenerator,
}

impl Schemas {
    /// As OpenAPI 3.1 has them.
    pub(super) fn new() -> Self {
        Self::with(&SchemaSettings::draft2020_12())
    }

    /// As AsyncAPI 3.0 has them.
    pub(crate) fn draft_07() -> Self {
        Self::with(&SchemaSettings::draft07())
    }

    fn with(settings: &SchemaSettings) -> Self {
        let settings = |path: &str| {
            settings.clone().with(|settings| {
                settings.definitions_path =
                    path.trim_start_matches('#').trim_end_matches('/').to_owned().into();
                settings.meta_schema = None;
                settings.transforms.push(Box::new(RecursiveTransform(without_null)));
            })
        };
        Self {
            given: settings(GIVEN).for_deserialize().into_generator(),
            sent: settings(SENT).for_serialize().into_generator(),
        }
    }

    /// A type as it is taken.
    pub fn given<T: JsonSchema>(&mut self) -> Value {
        self.given.subschema_for::<T>().to_value()
    }

    /// A type as it is sent.
    pub fn sent<T: JsonSchema>(&mut self) -> Value {
        self.sent.subschema_for::<T>().to_value()
    }

    /// The same, the type itself in place of what refers to it.
    pub fn given_here<T: JsonSchema>(&mut self) -> Value {
        here(&mut self.given, T::json_schema)
    }

    /// A schema that is made by whoever knows the type.
    pub fn sent_here(&mut self, make: impl FnOnce(&mut SchemaGenerator) -> Schema) -> Value {
        here(&mut self.sent, make)
    }

    /// Everything that was asked for goes into the document's components, and what refers to it finds it there.
    pub(crate) fn settle(mut self, document: &mut Value) {
        let (given, mut all) = (self.given.take_definitions(true), self.sent.take_definitions(true));
        let differing = differing(&given, &all);
        for (name, mut schema) in given {
            refer(&mut schema, &differing);
            let name = if differing.contains(&name) { format!("{name}Input") } else { name };
            all.entry(name).or_insert(schema);
        }
        refer(document, &differing);
        document["components"]["schemas"] = Value::Object(all);
    }
}

fn here(generator: &mut SchemaGenerator, make: impl FnOnce(&mut SchemaGenerator) -> Schema) -> Value {
    let mut schema = make(generator);
    generator.transforms_mut().for_each(|transform| transform.transform(&mut schema));
    schema.to_value()
}

/// A field that may be left out, and has no other default than that, says so by not being required.
fn without_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

/// The names of types that look different from the two sides, themselves or in what they refer to.
fn differing(given: &Map<String, Value>, sent: &Map<String, Value>) -> BTreeSet<String> {
    let mut differing = BTreeSet::new();
    loop {
        let more: Vec<&String> = given
            .iter()
            .filter(|(name, schema)| {
                let mut schema = (*schema).clone();
                refer(&mut schema, &differing);
                !differing.contains(*name) && sent.get(*name).is_some_and(|other| *other != schema)
            })
            .map(|(name, _)| name)
            .collect();
        if more.is_empty() {
            return differing;
        }
        differing.extend(more.into_iter().cloned());
    }
}

/// Turns references to what is taken into references to where it is in the end.
fn refer(value: &mut Value, differing: &BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(GIVEN) {
                let suffix = if differing.contains(name) { "Input" } else { "" };
                *text = format!("{SENT}{name}{suffix}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, differing)),
        Value::Object(fields) => fields.values_mut().for_each(|field| refer(field, differing)),
        _ => {}
    }
}
