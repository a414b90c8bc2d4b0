//! What operators ask of a server that runs: snapshots, and a rebuild of the views, as it goes on, a JSON object a line.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tidings_engine::access::Scope;
use tidings_engine::{Error, Position, Progress, Source};
use tokio::sync::watch;
use tokio::time::{Interval, interval};

use crate::openapi::Section;
use crate::params::Params;
use crate::problem::Problem;
use crate::{Api, Caller, Context};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn api() -> Api {
    let from = json!({ "type": "string", "enum": ["first-event", "snapshot"] });
    Api::new()
        .on(
            Section::Operating
                .post("/v1/admin/rebuild", "rebuild", "Rebuild the views while they are served")
                .says("Goes on as long as the caller listens: a line `{ \"doing\", \"position\", \"head\" }` now and then, at the \
                       end `{ \"rebuilt\": position }` or `{ \"problem\" }`.")
                .needs("operator")
                .query_like("from", from, "What from: all of the log, or the newest snapshot.")
                .answers_json::<Rebuilt>(StatusCode::OK, "It was done at once; or lines, until it is.")
                .or_lines()
                .may_be([409])
                .writes(),
            rebuild,
        )
        .on(
            Section::Operating
                .post("/v1/admin/snapshot", "takeSnapshot", "Take a snapshot")
                .says("Given up when the caller hangs up.")
                .needs("operator")
                .answers_json::<Snapshot>(StatusCode::OK, "It is complete.")
                .writes(),
            take_snapshot,
        )
}

/// A snapshot that was taken.
#[derive(Serialize, JsonSchema)]
struct Snapshot {
    /// Up to where it goes.
    position: Position,
    /// How large it is.
    bytes: u64,
}

/// The end of a rebuild.
#[derive(Serialize, JsonSchema)]
struct Rebuilt {
    /// Up to where the views are rebuilt.
    rebuilt: Position,
}

async fn take_snapshot(
    State(context): State<Context>,
    Caller(identity): Caller,
) -> Result<Json<Snapshot>, Problem> {
    identity.require(Scope::Operator)?;
    let snapshot = context.engine.take_snapshot().await?;
    Ok(Json(Snapshot { position: snapshot.at.position, bytes: snapshot.bytes }))
}

/// The work, until it is done.
struct Rebuilding {
    work: BoxFuture<'static, Result<Position, Error>>,
    progress: watch::Receiver<Progress>,
    /// The first at once.
    tick: Interval,
}

/// Goes on as long as the caller listens.
async fn rebuild(
    State(context): State<Context>,
    Caller(identity): Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    identity.require(Scope::Operator)?;
    let source = source(params.take::<String>("from")?.as_deref())?;
    params.finish()?;
    let begun = Progress { doing: "rebuilding", done: 0, of: context.engine.log().head().0 };
    let (told, progress) = watch::channel(begun);
    let engine = context.engine.clone();
    let tell = move |progress| {
        told.send_replace(progress);
    };
    let mut work = async move { engine.rebuild_views(source, tell).await }.boxed();
    // Whoever comes while it is being done already is told so by the status.
    if let Some(outcome) = (&mut work).now_or_never() {
        return outcome.map(|rebuilt| Json(Rebuilt { rebuilt }).into_response()).map_err(Problem::from);
    }
    let shutdown = context.shutdown.clone();
    let lines =
        stream::unfold(Some(Rebuilding { work, progress, tick: interval(TELL_EVERY) }), move |rebuilding| {
            let shutdown = shutdown.clone();
            async move {
                let mut rebuilding = rebuilding?;
                let line = tokio::select! {
                    outcome = &mut rebuilding.work => return Some((line(&outcome_of(outcome)), None)),
                    () = shutdown.cancelled() => return None,
                    _ = rebuilding.tick.tick() => {
                        let Progress { doing, done, of } = *rebuilding.progress.borrow();
                        line(&json!({ "doing": doing, "position": done, "head": of }))
                    }
                };
                Some((line, Some(rebuilding)))
            }
        });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// What a view is built from. By hand it is all of the log, unless somebody is sure that nothing was wrong.
fn source(name: Option<&str>) -> Result<Source, Problem> {
    match name {
        None | Some("first-event") => Ok(Source::FirstEvent),
        Some("snapshot") => Ok(Source::Snapshot),
        Some(_) => Err(Problem::field("from", "expected first-event or snapshot")),
    }
}

fn outcome_of(outcome: Result<Position, Error>) -> Value {
    match outcome {
        Ok(rebuilt) => json!(Rebuilt { rebuilt }),
        Err(error) => json!({ "problem": Problem::from(error) }),
    }
}

fn line(json: &Value) -> Result<Bytes, Infallible> {
    Ok(format!("{json}\n").into())
}
