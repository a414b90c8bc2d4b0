//! Schemas as people read them: what kind of value it is, and the fields of an object, one below the other.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::markup::text;

const SCHEMAS: &str = "#/components/schemas/";

/// The name of the schema that one refers to.
pub(super) fn name_of(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(SCHEMAS)
}

/// What a value is, in a few words; a schema with a name is a link.
pub(super) fn kind_of(schema: &Value) -> String {
    if let Some(name) = name_of(schema) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", text(name));
    }
    if let Some(value) = schema.get("const") {
        return text(&format!("`{value}`"));
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| text(&format!("`{word}`"))).collect();
        return words.join(", ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(ways) = schema[key].as_array().filter(|_| schema["type"] != "object") {
            return ways.iter().map(kind_of).collect::<Vec<_>>().join(" or ");
        }
    }
    let kind = match &schema["type"] {
        Value::String(kind) => one(kind, schema),
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str).map(|kind| one(kind, schema));
            kinds.collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".to_owned(),
    };
    format!("{kind}{}", bounds(schema))
}

fn one(kind: &str, schema: &Value) -> String {
    match (kind, schema["format"].as_str()) {
        ("array", _) => format!("list of {}", kind_of(&schema["items"])),
        ("string", Some("date-time")) => "time".to_owned(),
        ("string", Some("uuid")) => "UUID".to_owned(),
        ("string", _) => "text".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        (other, _) => text(other),
    }
}

/// How long or large it may be.
fn bounds(schema: &Value) -> String {
    let span = |least: &str, most: &str, things: &str| match (schema[least].as_u64(), schema[most].as_u64()) {
        (_, Some(u64::MAX)) => String::new(),
        (Some(least), Some(most)) => format!(", {least} to {most}{things}"),
        (None, Some(most)) => format!(", at most {most}{things}"),
        _ => String::new(),
    };
    let all = [
        span("minLength", "maxLength", " characters"),
        span("minimum", "maximum", ""),
        span("minItems", "maxItems", " of them"),
    ];
    all.concat()
}

/// The fields of an object, those of what it is made of included; empty when it has none.
pub(super) fn fields(schema: &Value, document: &Value) -> String {
    let schema = resolved(schema, document);
    if let Some(properties) = schema["properties"].as_object() {
        return listed(properties, schema);
    }
    if schema["type"] == "array" {
        return fields(&schema["items"], document);
    }
    let ways = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array());
    let ways = ways.into_iter().flatten().map(|way| fields(way, document));
    ways.filter(|way| !way.is_empty()).collect::<Vec<_>>().join("<p class=\"or\">or</p>")
}

fn listed(properties: &Map<String, Value>, schema: &Value) -> String {
    let mut html = "<dl class=\"fields\">".to_owned();
    let required = schema["required"].as_array();
    for (name, field) in properties {
        let is_required = required.is_some_and(|names| names.iter().any(|other| other == name));
        let required = if is_required { " <em>required</em>" } else { "" };
        let about = text(field["description"].as_str().unwrap_or_default());
        let kind = kind_of(field);
        let _ = write!(
            html,
            "<dt><code>{}</code> <span class=\"kind\">{kind}</span>{required}</dt><dd>{about}",
            text(name)
        );
        // What has no name is shown where it stands.
        if let Some(own) = field["properties"].as_object() {
            html.push_str(&listed(own, field));
        }
        html.push_str("</dd>");
    }
    html.push_str("</dl>");
    html
}

fn resolved<'d>(schema: &'d Value, document: &'d Value) -> &'d Value {
    let named = schema["$ref"].as_str().and_then(|pointer| document.pointer(pointer.trim_start_matches('#')));
    named.unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_is_said_in_words() {
        for (schema, kind) in [
            (json!({ "$ref": "#/components/schemas/UserId" }), "<a href=\"#schema-UserId\">UserId</a>"),
            (json!({ "type": "string", "maxLength": 5 }), "text, at most 5 characters"),
            (json!({ "type": ["string", "null"], "format": "date-time" }), "time or null"),
            (
                json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 3 }),
                "list of whole number, at most 3 of them",
            ),
            (json!({ "anyOf": [{ "type": "boolean" }, { "type": "null" }] }), "boolean or null"),
            (json!({ "enum": ["a", "b"] }), "<code>&quot;a&quot;</code>, <code>&quot;b&quot;</code>"),
            (json!({}), "anything"),
        ] {
            assert_eq!(kind_of(&schema), kind);
        }
    }
}
