//! The OpenAPI 3.1 document, made of what is said beside each route and of the types themselves. It is made once, and is the
//! same bytes for the same code.

mod operation;
pub(crate) mod schemas;
pub(crate) mod shared;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub use operation::{Operation, Section};

use crate::api::Api;
use crate::openapi::operation::{Answer, Needs, Parameter, Place};
use crate::openapi::schemas::Schemas;
use crate::{Context, Routes};

/// The document.
#[derive(Debug)]
pub struct Document {
    json: Value,
    text: Bytes,
    ids: Vec<&'static str>,
}

impl Document {
    /// That of a server which has these transports mounted, beside this crate's own routes.
    #[must_use]
    pub fn of(mounted: &[Box<dyn Routes>]) -> Self {
        Self::of_api(&crate::all(mounted))
    }

    pub(crate) fn of_api(api: &Api) -> Self {
        let mut schemas = Schemas::new();
        let mut paths: Map<String, Value> = Map::new();
        for operation in api.operations() {
            let method = operation.method.as_str().to_ascii_lowercase();
            let described = describe(operation, &mut schemas);
            let item = paths.entry(operation.path).or_insert_with(|| json!({}));
            item[method] = described;
        }
        let tags = Section::ALL
            .map(|section| json!({ "name": section.name(), "description": section.description() }));
        let mut json = json!({
            "openapi": "3.1.0",
            "info": shared::info(),
            "servers": [{ "url": "/", "description": "This server" }],
            "tags": tags,
            "paths": paths,
            "components": {
                "securitySchemes": shared::security_schemes(),
                "headers": shared::headers(),
                "responses": shared::problems(&mut schemas),
            },
        });
        schemas.settle(&mut json);
        let text = format!("{json:#}\n").into();
        let ids = api.operations().iter().map(|operation| operation.id).collect();
        Self { json, text, ids }
    }

    /// It as JSON.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The operations by their ids, in the order in which they are to be read: JSON has none.
    #[must_use]
    pub fn ids(&self) -> &[&'static str] {
        &self.ids
    }

    /// It as text.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

fn describe(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.section.name()],
        "summary": operation.summary,
        "security": shared::security(operation.needs),
        "responses": responses(operation, schemas),
    });
    let details = details(operation);
    if !details.is_empty() {
        described["description"] = details.into();
    }
    if !operation.parameters.is_empty() {
        let parameters = operation.parameters.iter().map(|parameter| parameter_of(parameter, schemas));
        described["parameters"] = parameters.collect();
    }
    if !operation.bodies.is_empty() {
        let contents = operation.bodies.iter().map(|body| {
            let content = json!({ "schema": body.shape.json(schemas), "example": body.example });
            (body.media_type.to_owned(), content)
        });
        let content: Map<String, Value> = contents.collect();
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

/// What it says, and what it needs.
fn details(operation: &Operation) -> String {
    let needs = match operation.needs {
        Needs::Nothing => String::new(),
        Needs::Token(scope) | Needs::Address(scope) => format!("Needs: {scope}."),
    };
    [operation.details, &needs].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn parameter_of(parameter: &Parameter, schemas: &mut Schemas) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let schema = parameter.shape.json(schemas);
    let is_list = schema["type"] == "array";
    let mut described = json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.is_required,
        "description": parameter.text,
        "schema": schema,
    });
    if let Some(example) = &parameter.example {
        described["example"] = example.clone();
    }
    if is_list {
        // A list of words in one parameter; one of names, which may hold commas, by repeating it.
        described["explode"] = (described["schema"]["items"].get("enum").is_none()).into();
    }
    described
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let answers = operation
        .answers
        .iter()
        .map(|answer| (answer.status.as_u16().to_string(), answer_of(answer, schemas)));
    let mut responses: Map<String, Value> = answers.collect();
    for status in &operation.problems {
        responses.entry(status.to_string()).or_insert_with(|| shared::problem(*status));
    }
    responses.extend(shared::of_every_request());
    responses.into()
}

fn answer_of(answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut headers = shared::request_id();
    for (name, text, schema) in &answer.headers {
        // Lines are of no one position.
        let is_required = !answer.or_lines;
        headers[*name] = json!({ "description": text, "required": is_required, "schema": schema });
    }
    let mut described = json!({ "description": answer.text, "headers": headers });
    if let Some((media_type, shape)) = &answer.content {
        let mut content = json!({ "schema": shape.json(schemas) });
        if let Some(example) = &answer.example {
            content["example"] = example.clone();
        }
        described["content"] = json!({ *media_type: content });
        if answer.or_lines {
            described["content"]["application/x-ndjson"] = json!({ "schema": { "type": "string" } });
        }
    }
    described
}

pub(crate) fn api() -> Api {
    Api::new().on(
        Section::Page
            .get("/openapi.json", "getOpenApi", "This document")
            .says("Made of the code that serves. `tidings openapi` prints it without a server.")
            .answers_json::<Map<String, Value>>(StatusCode::OK, "The OpenAPI document."),
        document,
    )
}

async fn document(State(context): State<Context>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, context.document.text().clone()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_the_same_bytes_each_time_and_every_name_leads_somewhere() {
        let (one, other) = (Document::of(&[]), Document::of(&[]));
        assert_eq!(one.text(), other.text());
        let text = String::from_utf8(one.text().to_vec()).unwrap();
        let references: BTreeSet<&str> =
            text.split('"').filter_map(|part| part.strip_prefix("#/components/")).collect();
        assert!(references.len() > 20, "{references:?}");
        for reference in references {
            let pointer = format!("/components/{reference}");
            assert!(one.json().pointer(&pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_what_may_come() {
        let api = crate::all(&[]);
        let names: BTreeSet<&str> = api.operations().iter().map(|operation| operation.id).collect();
        assert_eq!(names.len(), api.operations().len());
        for operation in api.operations() {
            assert!(!operation.answers.is_empty(), "{}", operation.id);
            for segment in operation.path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let segment = segment.trim_end_matches('}');
                let is_said = operation
                    .parameters
                    .iter()
                    .any(|parameter| parameter.name == segment && parameter.place == Place::Path);
                assert!(is_said, "{} {segment}", operation.path);
            }
        }
    }
}
