//! The reference at `/reference`: the OpenAPI document as a page to read, made when the server starts. It needs no script.

mod example;
mod markup;
mod schema;

use std::fmt::Write;

use axum::http::StatusCode;
use serde_json::{Map, Value};
use tidings_http::Api;
use tidings_http::openapi::{Document, Section};

use crate::files::{HTML, Served, kept};
use example::curl;
use markup::{paragraphs, text};
use schema::{fields, kind_of, name_of};

const BEGINNING: &str = include_str!("../page/reference.html");
/// What the page has in place of these.
const CONTENTS: &str = "<!-- contents -->";
const OPERATIONS: &str = "<!-- operations -->";
const SCHEMAS: &str = "<!-- schemas -->";
const INTRODUCTION: &str = "<!-- introduction -->";
const VERSION: &str = "<!-- version -->";

pub(crate) fn api() -> Api {
    let operation = Section::Page.get("/reference", "getReference", "This document as a page").answers_text(
        StatusCode::OK,
        "text/html",
        "The page.",
    );
    Api::new().made(kept(operation), |context| Served::page(HTML, page(&context.document).into()).route())
}

/// An operation of the document.
struct Operation<'d> {
    method: String,
    path: &'d str,
    said: &'d Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        self.said["operationId"].as_str().unwrap_or_default()
    }

    fn summary(&self) -> String {
        text(self.said["summary"].as_str().unwrap_or_default())
    }

    /// Its method and path.
    fn heading(&self) -> String {
        let (method, path) = (&self.method, text(self.path));
        format!("<span class=\"method\" data-method=\"{method}\">{method}</span> <code>{path}</code>")
    }
}

/// The page of a document.
fn page(document: &Document) -> String {
    let json = document.json();
    let mut operations: Vec<Operation<'_>> = Vec::new();
    for (path, item) in json["paths"].as_object().into_iter().flatten() {
        for (method, said) in item.as_object().into_iter().flatten() {
            operations.push(Operation { method: method.to_ascii_uppercase(), path, said });
        }
    }
    operations.sort_by_key(|operation| document.ids().iter().position(|id| *id == operation.id()));
    let (mut contents, mut articles) = (String::new(), String::new());
    for tag in json["tags"].as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        let anchor = name.to_ascii_lowercase();
        let own = operations.iter().filter(|operation| operation.said["tags"][0] == name);
        let _ = write!(contents, "<li><a href=\"#{anchor}\">{name}</a><ul>");
        let about = text(tag["description"].as_str().unwrap_or_default());
        let _ = write!(
            articles,
            "<section id=\"{anchor}\" aria-labelledby=\"{anchor}-title\"><h2 id=\"{anchor}-title\">{name}</h2>\
             <p class=\"about\">{about}</p>"
        );
        for operation in own {
            let (id, summary) = (operation.id(), operation.summary());
            let _ = write!(contents, "<li><a href=\"#{id}\">{summary}</a></li>");
            articles.push_str(&article(operation, json));
        }
        contents.push_str("</ul></li>");
        articles.push_str("</section>");
    }
    let introduction = paragraphs(json["info"]["description"].as_str().unwrap_or_default());
    BEGINNING
        .replace(VERSION, &text(json["info"]["version"].as_str().unwrap_or_default()))
        .replace(INTRODUCTION, &introduction)
        .replace(CONTENTS, &contents)
        .replace(OPERATIONS, &articles)
        .replace(SCHEMAS, &schemas(json))
}

/// One operation: what it takes, what it answers, and how it is asked with curl.
fn article(operation: &Operation<'_>, json: &Value) -> String {
    let (id, heading, summary) = (operation.id(), operation.heading(), operation.summary());
    let said = paragraphs(operation.said["description"].as_str().unwrap_or_default());
    let mut html = format!(
        "<article class=\"card operation\" id=\"{id}\" aria-labelledby=\"{id}-title\">\
         <h3 id=\"{id}-title\"><a href=\"#{id}\">{summary}</a></h3><p class=\"address\">{heading}</p>{said}"
    );
    if let Some(parameters) = operation.said["parameters"].as_array() {
        html.push_str("<h4>Parameters</h4><dl class=\"fields\">");
        parameters.iter().for_each(|parameter| html.push_str(&self::parameter(parameter)));
        html.push_str("</dl>");
    }
    if let Some(contents) = operation.said["requestBody"]["content"].as_object() {
        html.push_str("<h4>Body</h4>");
        html.push_str(&bodies(contents, json));
    }
    html.push_str("<h4>Answers</h4><dl class=\"answers\">");
    for (status, response) in operation.said["responses"].as_object().into_iter().flatten() {
        html.push_str(&answer(status, response, json));
    }
    let example = text(&curl(&operation.method, operation.path, operation.said));
    let _ = write!(
        html,
        "</dl><h4>With curl</h4><pre tabindex=\"0\" aria-label=\"With curl: {summary}\"><code>{example}</code></pre>\
         </article>"
    );
    html
}

fn parameter(parameter: &Value) -> String {
    let name = text(parameter["name"].as_str().unwrap_or_default());
    let place = text(parameter["in"].as_str().unwrap_or_default());
    let kind = kind_of(&parameter["schema"]);
    let required = if parameter["required"] == true { " <em>required</em>" } else { "" };
    let about = text(parameter["description"].as_str().unwrap_or_default());
    format!(
        "<dt><code>{name}</code> <span class=\"kind\">{place}, {kind}</span>{required}</dt><dd>{about}</dd>"
    )
}

/// Bodies by their media types, each schema to be unfolded.
fn bodies(contents: &Map<String, Value>, json: &Value) -> String {
    let mut html = String::new();
    let (first, others): (Vec<_>, Vec<_>) =
        contents.iter().partition(|(media_type, _)| *media_type == "application/json");
    for (media_type, content) in first.into_iter().chain(others) {
        let (media_type, schema) = (text(media_type), &content["schema"]);
        let within = fields(schema, json);
        if within.is_empty() {
            let _ = write!(html, "<p class=\"body\"><code>{media_type}</code> {}</p>", kind_of(schema));
            continue;
        }
        let example = content.get("example").map(|example| {
            let example = text(&format!("{example:#}"));
            format!("<pre tabindex=\"0\" aria-label=\"Example\"><code>{example}</code></pre>")
        });
        let shown = name_of(schema).unwrap_or("its fields");
        let _ = write!(
            html,
            "<details><summary><code>{media_type}</code> {}</summary>{within}{}</details>",
            text(shown),
            example.unwrap_or_default()
        );
    }
    html
}

fn answer(status: &str, response: &Value, json: &Value) -> String {
    let shared = response["$ref"].as_str().and_then(|pointer| json.pointer(pointer.trim_start_matches('#')));
    let (answer, is_shared) = (shared.unwrap_or(response), shared.is_some());
    let about = text(answer["description"].as_str().unwrap_or_default());
    let mut html =
        format!("<dt data-kind=\"{}\">{status}</dt><dd>{about}", status.chars().next().unwrap_or('2'));
    if !is_shared {
        let names = answer["headers"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let names: Vec<String> =
            names.filter(|name| *name != "X-Request-Id").map(|name| format!("<code>{name}</code>")).collect();
        if !names.is_empty() {
            let _ = write!(html, " <span class=\"kind\">with {}</span>", names.join(", "));
        }
        if let Some(contents) = answer["content"].as_object() {
            html.push_str(&bodies(contents, json));
        }
    }
    html.push_str("</dd>");
    html
}

/// All schemas by their names.
fn schemas(json: &Value) -> String {
    let mut html = String::new();
    for (name, schema) in json["components"]["schemas"].as_object().into_iter().flatten() {
        let about = paragraphs(schema["description"].as_str().unwrap_or_default());
        let within = fields(schema, json);
        let kind =
            if within.is_empty() { format!("<p class=\"kind\">{}</p>", kind_of(schema)) } else { within };
        let name = text(name);
        // A browser unfolds what a link leads into.
        let _ = write!(
            html,
            "<details class=\"card\"><summary><code>{name}</code></summary><div id=\"schema-{name}\">{about}{kind}</div>\
             </details>"
        );
    }
    html
}
