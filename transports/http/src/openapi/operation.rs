//! What is said of one operation, beside the route that does it: what it takes, what it needs, and what it may answer.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::schemas::Schemas;

/// What an operation is about. The document is divided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Notifications, by those who publish them.
    Publishing,
    /// One's own inbox.
    Inbox,
    /// Channels and presence.
    Channels,
    /// Connections that stay.
    Live,
    /// What became of notifications, the log, the server.
    Operating,
    /// The page, its client, this document.
    Page,
}

impl Section {
    pub(crate) const ALL: [Self; 6] =
        [Self::Publishing, Self::Inbox, Self::Channels, Self::Live, Self::Operating, Self::Page];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Publishing => "Publishing",
            Self::Inbox => "Inbox",
            Self::Channels => "Channels",
            Self::Live => "Live",
            Self::Operating => "Operating",
            Self::Page => "Page",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Publishing => "Notifications, by those who publish them: send, change, take back.",
            Self::Inbox => "One's own inbox: pages, counts, and what one does with notifications.",
            Self::Channels => "Who is a member of a channel, and who is online.",
            Self::Live => "Connections that stay: event streams, WebSockets, and tickets for them.",
            Self::Operating => "What became of notifications, the log, metrics and health.",
            Self::Page => "The page, the browser client, and this document.",
        }
    }

    /// An operation that reads.
    #[must_use]
    pub fn get(self, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
        Operation::new(self, Method::GET, path, id, summary)
    }

    /// One that does something.
    #[must_use]
    pub fn post(self, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
        Operation::new(self, Method::POST, path, id, summary)
    }

    /// One that makes something be so.
    #[must_use]
    pub fn put(self, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
        Operation::new(self, Method::PUT, path, id, summary)
    }

    /// One that makes something not be there.
    #[must_use]
    pub fn delete(self, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
        Operation::new(self, Method::DELETE, path, id, summary)
    }
}

/// A schema: of a type that is taken or sent, or as it is.
#[derive(Clone)]
pub(super) enum Shape {
    Of(fn(&mut Schemas) -> Value),
    Is(Value),
}

impl Shape {
    pub(super) fn json(&self, schemas: &mut Schemas) -> Value {
        match self {
            Self::Of(make) => make(schemas),
            Self::Is(value) => value.clone(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) shape: Shape,
    pub(super) text: &'static str,
    pub(super) is_required: bool,
    pub(super) example: Option<Value>,
}

pub(super) struct Body {
    pub(super) media_type: &'static str,
    pub(super) shape: Shape,
    pub(super) example: Value,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
    /// The media type, and what is sent as it.
    pub(super) content: Option<(&'static str, Shape)>,
    /// Headers beside the request's id, their text and their schema.
    pub(super) headers: Vec<(&'static str, &'static str, Value)>,
    /// It may be lines of JSON instead.
    pub(super) or_lines: bool,
    pub(super) example: Option<Value>,
}

/// Who may.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// A token or a key, and of it what is named here.
    Token(&'static str),
    /// The same; a ticket or a token in the address will do.
    Address(&'static str),
}

/// What is said of one operation.
pub struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(super) section: Section,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) details: &'static str,
    pub(super) needs: Needs,
    pub(super) parameters: Vec<Parameter>,
    pub(super) bodies: Vec<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: BTreeSet<u16>,
}

impl Operation {
    fn new(
        section: Section,
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            section,
            id,
            summary,
            details: "",
            needs: Needs::Nothing,
            parameters: Vec::new(),
            bodies: Vec::new(),
            answers: Vec::new(),
            problems: BTreeSet::new(),
        }
    }

    /// More about it.
    #[must_use]
    pub fn says(mut self, details: &'static str) -> Self {
        self.details = details;
        self
    }

    /// Needs a token or a key, and of it a scope, or a `user`. A user who is new, or has new claims, is recorded.
    #[must_use]
    pub fn needs(mut self, scope: &'static str) -> Self {
        self.needs = Needs::Token(scope);
        let this = self.may_be([401, 403, 429, 500, 503]);
        if scope.starts_with("user") { this.writes() } else { this }
    }

    /// The same, also by a ticket or a token in the address.
    #[must_use]
    pub fn needs_in_address(self, scope: &'static str) -> Self {
        Self { needs: Needs::Address(scope), ..self.needs(scope) }
    }

    /// Appends to the log, which may refuse it.
    #[must_use]
    pub fn writes(self) -> Self {
        self.may_be([507])
    }

    /// May be answered with problems of these statuses.
    #[must_use]
    pub fn may_be(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.problems.extend(statuses);
        self
    }

    fn parameter(mut self, place: Place, name: &'static str, shape: Shape, text: &'static str) -> Self {
        let is_required = place == Place::Path;
        self.parameters.push(Parameter { name, place, shape, text, is_required, example: None });
        self.may_be([422])
    }

    /// A segment of the path, of a type.
    #[must_use]
    pub fn segment<T: JsonSchema>(
        self,
        name: &'static str,
        example: &'static str,
        text: &'static str,
    ) -> Self {
        self.parameter(Place::Path, name, Shape::Of(Schemas::given::<T>), text).like(json!(example))
    }

    /// A parameter of the query, of a type.
    #[must_use]
    pub fn query<T: JsonSchema>(self, name: &'static str, text: &'static str) -> Self {
        self.parameter(Place::Query, name, Shape::Of(Schemas::given::<T>), text)
    }

    /// A parameter of the query that is a whole number within bounds.
    #[must_use]
    pub fn number(self, name: &'static str, least: u64, most: u64, text: &'static str) -> Self {
        let shape = json!({ "type": "integer", "minimum": least, "maximum": most });
        self.parameter(Place::Query, name, Shape::Is(shape), text)
    }

    /// A parameter of the query that is `true` or `false`.
    #[must_use]
    pub fn flag(self, name: &'static str, text: &'static str) -> Self {
        self.parameter(Place::Query, name, Shape::Is(json!({ "type": "boolean" })), text)
    }

    /// A parameter of the query with a schema of its own.
    #[must_use]
    pub fn query_like(self, name: &'static str, schema: Value, text: &'static str) -> Self {
        self.parameter(Place::Query, name, Shape::Is(schema), text)
    }

    /// A header that holds whatever it does.
    #[must_use]
    pub fn any_header(mut self, name: &'static str, text: &'static str) -> Self {
        let (place, shape) = (Place::Header, Shape::Is(json!({ "type": "string" })));
        self.parameters.push(Parameter { name, place, shape, text, is_required: false, example: None });
        self
    }

    /// A header.
    #[must_use]
    pub fn header(self, name: &'static str, schema: Value, text: &'static str) -> Self {
        self.parameter(Place::Header, name, Shape::Is(schema), text)
    }

    /// The position that it has to have seen at least.
    #[must_use]
    pub fn at_least(self) -> Self {
        let shape = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
        let text = "Answered once the server has come as far as this position, or after two seconds with the problem \
                    `position-not-reached`.";
        self.header("Tidings-Min-Position", shape, text)
    }

    /// The last parameter has to be there.
    #[must_use]
    pub fn required(mut self) -> Self {
        if let Some(parameter) = self.parameters.last_mut() {
            parameter.is_required = true;
        }
        self
    }

    /// What the last parameter may look like.
    #[must_use]
    pub fn like(mut self, example: Value) -> Self {
        if let Some(parameter) = self.parameters.last_mut() {
            parameter.example = Some(example);
        }
        self
    }

    /// Takes a JSON body of a type.
    #[must_use]
    pub fn takes<T: JsonSchema>(self, example: Value) -> Self {
        self.takes_as::<T>("application/json", example)
    }

    /// Takes a body of a type as another media type.
    #[must_use]
    pub fn takes_as<T: JsonSchema>(mut self, media_type: &'static str, example: Value) -> Self {
        self.bodies.push(Body { media_type, shape: Shape::Of(Schemas::given::<T>), example });
        self.may_be([400, 408, 413, 415, 422])
    }

    fn answer(
        mut self,
        status: StatusCode,
        text: &'static str,
        content: Option<(&'static str, Shape)>,
    ) -> Self {
        self.answers.push(Answer {
            status,
            text,
            content,
            headers: Vec::new(),
            or_lines: false,
            example: None,
        });
        self
    }

    /// Answers JSON of a type, true at the position that a header names.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: StatusCode, text: &'static str) -> Self {
        let shape = json!({ "type": "integer", "minimum": 0 });
        let position = "The position in the log at which it is true.";
        self.answers_json::<T>(status, text).with_header("Tidings-Position", position, shape)
    }

    /// Answers JSON of a type.
    #[must_use]
    pub fn answers_json<T: JsonSchema>(self, status: StatusCode, text: &'static str) -> Self {
        self.answer(status, text, Some(("application/json", Shape::Of(Schemas::sent::<T>))))
    }

    /// Answers text of another media type.
    #[must_use]
    pub fn answers_text(self, status: StatusCode, media_type: &'static str, text: &'static str) -> Self {
        self.answer(status, text, Some((media_type, Shape::Is(json!({ "type": "string" })))))
    }

    /// Answers a stream, of which a schema cannot say what is in it.
    #[must_use]
    pub fn answers_stream(self, status: StatusCode, media_type: &'static str, text: &'static str) -> Self {
        self.answer(status, text, Some((media_type, Shape::Is(json!({})))))
    }

    /// Answers without a body.
    #[must_use]
    pub fn answers_nothing(self, status: StatusCode, text: &'static str) -> Self {
        self.answer(status, text, None)
    }

    /// The last answer may be lines instead, a JSON object each.
    #[must_use]
    pub(crate) fn or_lines(mut self) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.or_lines = true;
        }
        self
    }

    /// The last answer has a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, text: &'static str, schema: Value) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push((name, text, schema));
        }
        self
    }

    /// What the last answer may look like.
    #[must_use]
    pub fn such_as(mut self, example: Value) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.example = Some(example);
        }
        self
    }
}
