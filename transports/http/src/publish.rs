//! Publishing: one notification, a batch with a result for each, or CloudEvents in all three modes.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tidings_engine::command::Receipt;
use tidings_engine::{CloudEvent, Draft, IdempotencyKey, Identity, Position, Publication, input, limits};

use crate::body::{media_type, read_batch, read_command};
use crate::openapi::Section;
use crate::problem::Problem;
use crate::{Api, Caller, Context, answer};

const JSON: &str = "application/json";
const CLOUDEVENT: &str = "application/cloudevents+json";
const CLOUDEVENTS: &str = "application/cloudevents-batch+json";
const KEY: &str = "idempotency-key";

pub(crate) fn api() -> Api {
    let key = json!({ "type": "string", "pattern": KEYS });
    let cloudevent = json!({
        "specversion": "1.0", "id": "e-1", "source": "/bookings", "type": "booking.accepted",
        "data": { "title": "Booking 17 was accepted", "audience": { "users": ["ada"] } },
    });
    let draft = json!({
        "type": "booking.accepted",
        "audience": { "users": ["ada"], "channels": ["topic:orders"] },
        "title": "Booking 17 was accepted",
        "body": "See you on Friday at ten.",
        "data": { "booking": 17 },
        "action": { "url": "/bookings/17", "text": "Open" },
    });
    let receipt = json!({
        "id": "0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001", "position": 42,
        "createdAt": "2026-11-21T07:00:00.123Z", "duplicate": false,
    });
    let mut result = receipt.clone();
    result["status"] = json!(201);
    let refused =
        json!({ "status": 422, "problem": Problem::field("title", "expected at most 512 bytes, got 600") });
    let results = json!({ "position": 43, "results": [result, refused] });
    Api::new()
        .on(
            Section::Publishing
                .post("/v1/notifications", "publish", "Publish a notification")
                .says(ONE)
                .needs("publish")
                .header(
                    "Idempotency-Key",
                    key.clone(),
                    "Under this key it is published once, however often it is sent.",
                )
                .takes::<Draft>(draft.clone())
                .takes_as::<CloudEvent>(CLOUDEVENT, cloudevent.clone())
                .takes_as::<CloudEvents>(CLOUDEVENTS, json!([cloudevent]))
                .answers::<Receipt>(StatusCode::CREATED, "It is on disk.")
                .such_as(receipt)
                .answers::<Published>(
                    StatusCode::OK,
                    "It was published before under this key; or what became of each CloudEvent of a batch.",
                )
                .may_be([409])
                .writes(),
            publish,
        )
        .on(
            Section::Publishing
                .post("/v1/notifications/batch", "publishBatch", "Publish many, with a result for each")
                .says(MANY)
                .needs("publish")
                .header(
                    "Idempotency-Key",
                    key,
                    "`K` gives the items the keys `K/0`, `K/1`, …, but for those with their own.",
                )
                .takes::<Drafts>(json!([draft]))
                .takes_as::<CloudEvents>(CLOUDEVENTS, json!([cloudevent]))
                .answers::<BatchAnswer>(StatusCode::OK, "What became of each, in their order.")
                .such_as(results)
                .writes(),
            publish_batch,
        )
}

/// A key in a header: bare or quoted.
const KEYS: &str = r#"^("[!#-~]([ !#-~]{0,253}[!#-~])?"|[!#-~]([ -~]{0,253}[!-~])?)$"#;

const ONE: &str = "A CloudEvent (1.0) may be structured, batched, or binary: then its attributes are headers \
    (`ce-specversion`, `ce-id`, `ce-source`, `ce-type`), and the body is its `data` as `application/json`. Its source and \
    id are its key, so it has no `Idempotency-Key`. Without an audience the routing rules decide whom it is for.";
const MANY: &str = "Published with one commit, in their order. Each result is what the single publish would have been \
    answered with: one that is refused does not keep the others from being published.";

/// The items of a batch.
#[derive(JsonSchema)]
#[allow(dead_code)] // for the document: an item that is not one of these spoils no other
struct Drafts(#[schemars(length(max = limits::NOTIFICATIONS_PER_BATCH))] Vec<Draft>);

/// The events of a batch.
#[derive(JsonSchema)]
#[allow(dead_code)] // as above
struct CloudEvents(#[schemars(length(max = limits::NOTIFICATIONS_PER_BATCH))] Vec<CloudEvent>);

/// What a publish that made nothing new is answered with.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // for the document
enum Published {
    Before(Receipt),
    Batch(BatchAnswer),
}

async fn publish(
    State(context): State<Context>,
    Caller(identity): Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (media_type, headers) = (media_type(&parts.headers), parts.headers);
    if media_type == CLOUDEVENTS {
        context.engine.check_batch(&identity, 0)?; // before anything of it is read
        let body = read_batch(body, &context).await?;
        return batch(&context, &identity, &body, |item| cloudevent(item.get().as_bytes())).await;
    }
    context.engine.check_batch(&identity, 1)?; // whoever may not is told so, and not counted
    context.limits.publish(&identity, 1).await?;
    let publication = match media_type.as_str() {
        CLOUDEVENT => {
            no_key_beside_a_cloudevent(&headers)?;
            cloudevent(&read_command(body, &context).await?)?
        }
        JSON if headers.contains_key("ce-specversion") => {
            no_key_beside_a_cloudevent(&headers)?;
            binary_cloudevent(&headers, &read_command(body, &context).await?)?
        }
        JSON => {
            let draft: Draft = input::parse(&read_command(body, &context).await?)?;
            with_key(draft, key(&headers)?)?.into()
        }
        other => return Err(Problem::media_type(&format!("{JSON}, {CLOUDEVENT} or {CLOUDEVENTS}"), other)),
    };
    let receipt = context.engine.publish(&identity, publication).await?;
    Ok(answer(status(&receipt), receipt.position, &receipt))
}

async fn publish_batch(
    State(context): State<Context>,
    Caller(identity): Caller,
    request: Request,
) -> Result<Response, Problem> {
    context.engine.check_batch(&identity, 0)?; // before anything of it is read
    let (parts, body) = request.into_parts();
    let key = key(&parts.headers)?;
    match media_type(&parts.headers).as_str() {
        JSON => {
            let body = read_batch(body, &context).await?;
            let mut number = 0;
            // One key for the batch is a key for each of its items, by their place.
            let parse = |item: &RawValue| {
                let own = key.as_ref().map(|key| IdempotencyKey::new(&format!("{key}/{number}")));
                number += 1;
                let draft: Draft = input::parse(item.get().as_bytes())?;
                let own = own.filter(|_| draft.idempotency_key.is_none()).transpose();
                let own = own.map_err(|error| Problem::field(KEY, error.to_string()))?;
                Ok(with_key(draft, own)?.into())
            };
            batch(&context, &identity, &body, parse).await
        }
        CLOUDEVENTS => {
            let body = read_batch(body, &context).await?;
            batch(&context, &identity, &body, |item| cloudevent(item.get().as_bytes())).await
        }
        other => Err(Problem::media_type(&format!("{JSON} or {CLOUDEVENTS}"), other)),
    }
}

/// What became of one item of a batch.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum ItemResult {
    Published {
        status: u16,
        #[serde(flatten)]
        receipt: Receipt,
    },
    Refused {
        status: u16,
        problem: Problem,
    },
}

impl ItemResult {
    fn of(result: Result<Receipt, Problem>) -> Self {
        match result {
            Ok(receipt) => Self::Published { status: status(&receipt).as_u16(), receipt },
            Err(problem) => Self::Refused { status: problem.status().as_u16(), problem },
        }
    }
}

/// What became of a batch.
#[derive(Serialize, JsonSchema)]
struct BatchAnswer {
    position: Position,
    results: Vec<ItemResult>,
}

/// Publishes what can be published of a batch, with one commit.
async fn batch(
    context: &Context,
    identity: &Identity,
    body: &[u8],
    mut parse: impl FnMut(&RawValue) -> Result<Publication, Problem>,
) -> Result<Response, Problem> {
    let items: Vec<&RawValue> = items(body)?;
    context.engine.check_batch(identity, items.len())?;
    context.limits.publish(identity, items.len()).await?;
    let parsed: Vec<Result<Publication, Problem>> = items.into_iter().map(&mut parse).collect();
    let mut problems = Vec::with_capacity(parsed.len());
    let mut publications = Vec::with_capacity(parsed.len());
    for item in parsed {
        match item {
            Ok(publication) => {
                publications.push(publication);
                problems.push(None);
            }
            Err(problem) => problems.push(Some(problem)),
        }
    }
    let mut published = context.engine.publish_all(identity, publications).await?.into_iter();
    let mut results = Vec::with_capacity(problems.len());
    for problem in problems {
        let result = match problem {
            Some(problem) => Err(problem),
            None => published.next().unwrap_or(Err(tidings_engine::Error::Internal)).map_err(Problem::from),
        };
        results.push(ItemResult::of(result));
    }
    let position = context.engine.log().head();
    Ok(answer(StatusCode::OK, position, &BatchAnswer { position, results }))
}

/// The items of a JSON array, not parsed any further: one that is not as expected must not spoil the others.
fn items(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Problem::field("", "expected a JSON array of notifications")
        } else {
            Problem::malformed(format!("expected a JSON array of notifications: {error}"))
        }
    })
}

fn status(receipt: &Receipt) -> StatusCode {
    if receipt.duplicate { StatusCode::OK } else { StatusCode::CREATED }
}

/// The `Idempotency-Key` header.
fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::field(KEY, "expected visible ASCII"))?;
    // The draft standard writes it as a quoted string; most clients send it bare.
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    IdempotencyKey::new(bare).map(Some).map_err(|error| Problem::field(KEY, error.to_string()))
}

fn with_key(mut draft: Draft, key: Option<IdempotencyKey>) -> Result<Draft, Problem> {
    match (&draft.idempotency_key, key) {
        (Some(field), Some(header)) if *field != header => {
            let detail = "expected the same key as in the header, or only one of the two";
            return Err(Problem::field("idempotencyKey", detail));
        }
        (None, header @ Some(_)) => draft.idempotency_key = header,
        _ => {}
    }
    Ok(draft)
}

fn no_key_beside_a_cloudevent(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(KEY) {
        return Err(Problem::field(KEY, "expected none: a CloudEvent's source and id are its key"));
    }
    Ok(())
}

/// A CloudEvent in structured mode.
fn cloudevent(json: &[u8]) -> Result<Publication, Problem> {
    Ok(CloudEvent::parse(json)?.into_publication()?)
}

/// A CloudEvent in binary mode: its attributes are headers, its data is the body.
fn binary_cloudevent(headers: &HeaderMap, body: &[u8]) -> Result<Publication, Problem> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Ok(CloudEvent::of_headers(header, body)?.into_publication()?)
}
