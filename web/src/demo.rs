//! The demo: tokens of the tenant `demo` for whoever opens the page on the machine where the server runs.
//!
//! A server must not hand tokens to strangers, so there is a demo only when it was asked for, only on a loopback
//! address, and only for the page itself: not for another site's page in the same browser, whatever name it has made
//! lead here, and not through a proxy, behind which everybody looks local. What the tokens allow ends at the tenant.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_engine::deliveries::{Deliveries, DeliveriesQuery};
use tidings_engine::{Error, Identity, NotificationId, Tenant, input};
use tidings_http::openapi::Section;
use tidings_http::problem::Problem;
use tidings_http::token::{Grant, MintError};
use tidings_http::{Api, Caller, Context};

/// The application whose people the demo shows. Nothing of another one is ever in reach.
pub const TENANT: &str = "demo";
/// How long a token lasts: short, and the client gets another by itself.
const LIFETIME: Duration = Duration::from_secs(600);
/// Bytes of a request at most: it is one word.
const BODY_BYTES: usize = 1024;
/// What a proxy adds. Behind one, everybody comes from this machine, and the name that was asked for is lost.
const SIGNS_OF_A_PROXY: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// The demo was asked for where others could reach it.
#[derive(Debug)]
pub struct NotLocal(SocketAddr);

impl std::fmt::Display for NotLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(address) = self;
        write!(
            f,
            "the demo gives tokens to whoever opens the page, so it listens on a loopback address only, such as \
             127.0.0.1:7400, and not on {address}"
        )
    }
}

impl std::error::Error for NotLocal {}

type Mint = dyn Fn(&Grant, Duration) -> Result<String, MintError> + Send + Sync;

/// Gives tokens of the tenant `demo` to the page.
#[derive(Clone)]
pub struct Demo {
    mint: Arc<Mint>,
}

impl Demo {
    /// A demo on a server that listens at `address`, with tokens that `mint` makes.
    ///
    /// # Errors
    /// [`NotLocal`] when others than this machine could reach it.
    pub fn new(
        address: SocketAddr,
        mint: impl Fn(&Grant, Duration) -> Result<String, MintError> + Send + Sync + 'static,
    ) -> Result<Self, NotLocal> {
        if address.ip().is_loopback() { Ok(Self { mint: Arc::new(mint) }) } else { Err(NotLocal(address)) }
    }

    pub(crate) fn api(&self) -> Api {
        let give = Section::Page
            .post("/demo/token", "getDemoToken", "A token of the demo")
            .says("For the page alone, opened on this machine.")
            .takes::<Wanted>(json!({ "who": "ada" }))
            .answers_json::<Given>(StatusCode::OK, "The token.")
            .may_be([403, 500]);
        let show = Section::Page
            .get(
                "/demo/notifications/{id}/deliveries",
                "getDemoDeliveries",
                "What became of a notification of the demo",
            )
            .says("For the page alone, opened on this machine.")
            .needs("the demo's service")
            .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
            .answers_json::<Deliveries>(StatusCode::OK, "Totals, and people with their devices.")
            .may_be([404]);
        let demo = self.clone();
        Api::new()
            .made(give, |_| for_the_page(post(token).with_state(demo)))
            .made(show, |_| for_the_page(get(deliveries)))
    }
}

/// Lets requests of the page pass that are not large, and nobody else's.
fn for_the_page(route: MethodRouter<Context>) -> MethodRouter<Context> {
    route.layer(DefaultBodyLimit::max(BODY_BYTES)).layer(middleware::from_fn(for_the_page_alone))
}

/// For whom the page wants a token.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Who {
    Ada,
    Ben,
    /// What publishes.
    Service,
}

/// Whose token is wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    who: Who,
}

/// A token of the demo.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Given {
    token: String,
    tenant: &'static str,
    expires_in_seconds: u64,
}

async fn token(
    State(demo): State<Demo>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    // Another site's page cannot send this type without asking first, and is not allowed to.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Problem::media_type("application/json", kind));
    }
    let Wanted { who } = input::parse(&body.map_err(|_| Problem::too_large(BODY_BYTES))?)?;
    let (user, scopes) = match who {
        Who::Ada => (Some("ada"), Vec::new()),
        Who::Ben => (Some("ben"), Vec::new()),
        Who::Service => (None, vec!["publish".to_owned()]),
    };
    let tenant = Some(TENANT.to_owned());
    let grant = Grant { tenant, user: user.map(str::to_owned), scopes, ..Grant::default() };
    let token = (demo.mint)(&grant, LIFETIME).map_err(|error| {
        tracing::error!(%error, "no token for the demo");
        Problem::from(Error::Internal)
    })?;
    let given = Given { token, tenant: TENANT, expires_in_seconds: LIFETIME.as_secs() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(given)).into_response())
}

/// What became of a notification of the demo. The scope admin would tell that as well, and allow more than the page
/// needs.
async fn deliveries(
    State(context): State<Context>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    if identity.tenant.as_str() != TENANT || !identity.scopes.publish {
        return Err(forbidden("the token of the demo's service"));
    }
    let id: NotificationId = id.parse().map_err(|error| Problem::field("id", format!("{error}")))?;
    let tenant: Tenant = TENANT.parse().map_err(|_| Problem::from(Error::Internal))?;
    let operator = Identity::service(tenant);
    let deliveries = context.engine.deliveries(&operator, id, DeliveriesQuery::default()).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(deliveries)).into_response())
}

fn forbidden(needs: &str) -> Problem {
    Problem::from(Error::Forbidden { needs: needs.to_owned() })
}

/// Lets requests of the page pass, and nobody else's.
async fn for_the_page_alone(request: Request, next: Next) -> Response {
    match stranger(request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(needs) => forbidden(needs).into_response(),
    }
}

/// What a request lacks that does not come from the page, opened by a name of this machine.
fn stranger(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    if SIGNS_OF_A_PROXY.iter().any(|name| headers.contains_key(*name)) {
        return Some("a browser on this machine, with no proxy in between");
    }
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| text(&header::HOST));
    // A name of somebody else's that leads to this machine (DNS rebinding) is still in `Host`.
    let Some(host) = host.filter(|host| is_of_this_machine(host)) else {
        return Some("a request to localhost, 127.0.0.1 or [::1]");
    };
    let is_of_another_site = text(&header::ORIGIN).is_some_and(|origin| {
        let (_, from) = origin.split_once("://").unwrap_or_default();
        !from.eq_ignore_ascii_case(host)
    });
    let site = text(&HeaderName::from_static("sec-fetch-site"));
    let is_of_the_page = site.is_none_or(|site| site == "same-origin" || site == "none");
    if is_of_another_site || !is_of_the_page { Some("a request of the page itself") } else { None }
}

fn is_of_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_page_opened_on_this_machine_is_no_stranger() {
        let uri = Uri::from_static("/demo/token");
        for pairs in [
            &[("host", "127.0.0.1:7400")][..],
            &[("host", "localhost")],
            &[("host", "LOCALHOST:7400")],
            &[("host", "[::1]:7400"), ("origin", "http://[::1]:7400")],
            &[
                ("host", "localhost:7400"),
                ("origin", "http://localhost:7400"),
                ("sec-fetch-site", "same-origin"),
            ],
        ] {
            assert_eq!(stranger(&uri, &headers(pairs)), None, "{pairs:?}");
        }
        for pairs in [
            &[][..],
            &[("host", "rebound.example:7400")],
            &[("host", "127.0.0.1.example")],
            &[("host", "localhost.example:7400")],
            &[("host", "0.0.0.0:7400")],
            &[("host", "192.168.0.7:7400")],
            &[("host", "127.0.0.1:7400"), ("origin", "https://elsewhere.example")],
            &[("host", "127.0.0.1:7400"), ("origin", "http://127.0.0.1:3000")],
            &[("host", "127.0.0.1:7400"), ("origin", "null")],
            &[("host", "127.0.0.1:7400"), ("sec-fetch-site", "cross-site")],
            &[("host", "127.0.0.1:7400"), ("sec-fetch-site", "same-site")],
            &[("host", "127.0.0.1:7400"), ("x-forwarded-for", "203.0.113.7")],
            &[("host", "127.0.0.1:7400"), ("forwarded", "for=203.0.113.7")],
            &[("host", "127.0.0.1:7400"), ("via", "1.1 proxy")],
        ] {
            assert!(stranger(&uri, &headers(pairs)).is_some(), "{pairs:?}");
        }
    }

    #[test]
    fn there_is_no_demo_where_others_could_reach_it() {
        let mint = |_: &Grant, _: Duration| Ok(String::new());
        for (address, is_local) in
            [("127.0.0.1:7400", true), ("[::1]:0", true), ("0.0.0.0:7400", false), ("192.168.0.7:80", false)]
        {
            assert_eq!(Demo::new(address.parse().unwrap(), mint).is_ok(), is_local, "{address}");
        }
    }
}
