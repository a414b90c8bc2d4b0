//! Origins: which web pages may use the server from a browser. Those of its own host may, and those that the settings
//! name, compared whole. It keeps pages out, and nobody else: who is no browser says whatever they like.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tidings_config::{ANY_ORIGIN, CorsSettings, Settings};
use tokio::sync::watch;
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::problem::Problem;
use crate::{MIN_POSITION, POSITION};

/// How long a browser may remember what a preflight was answered: as long as any does.
const PREFLIGHT_LASTS: Duration = Duration::from_secs(7_200);
/// What is sent beside the headers that every page may send.
const REQUEST_HEADERS: [HeaderName; 5] = [
    AUTHORIZATION,
    axum::http::header::CONTENT_TYPE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    MIN_POSITION,
];

/// The origins whose pages may use the server, as the settings are at this moment.
pub struct Origins {
    settings: watch::Receiver<Arc<Settings>>,
    is_secure: bool,
    /// What was made of the settings last, and of which.
    made: Mutex<Option<(Arc<Settings>, Arc<Made>)>>,
}

struct Made {
    origins: Named,
    layer: Option<CorsLayer>,
}

impl Origins {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>, is_secure: bool) -> Self {
        Self { settings, is_secure, made: Mutex::default() }
    }

    /// Passes when a WebSocket may be opened by whoever sent these headers. Browsers open one to wherever a page says, and
    /// always name the page's origin; who names none is no browser.
    ///
    /// # Errors
    /// [`Problem::origin_not_allowed`].
    pub fn check_upgrade(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.now().origins.check_upgrade(headers)
    }

    fn now(&self) -> Arc<Made> {
        let settings = self.settings.borrow().clone();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((of, made)) if Arc::ptr_eq(of, &settings) => made.clone(),
            _ => {
                let origins = Named::new(&settings.cors, self.is_secure);
                let fresh = Arc::new(Made { layer: origins.layer(), origins });
                *made = Some((settings, fresh.clone()));
                fresh
            }
        }
    }
}

/// Tells browsers which pages may see an answer, as the settings are now.
pub(crate) async fn told(origins: &Origins, request: Request, next: Next) -> Response {
    match &origins.now().layer {
        None => next.run(request).await,
        Some(layer) => layer.layer(next).oneshot(request).await.unwrap_or_else(|never| match never {}),
    }
}

/// The origins that settings name.
#[derive(Clone, Debug)]
struct Named {
    allowed: Allowed,
    credentials: bool,
    /// Whether the server itself does TLS: then its own pages cannot have come without.
    is_secure: bool,
}

#[derive(Clone, Debug)]
enum Allowed {
    Any,
    These(Vec<HeaderValue>),
}

impl Named {
    fn new(settings: &CorsSettings, is_secure: bool) -> Self {
        let allowed = if settings.origins.iter().any(|origin| origin == ANY_ORIGIN) {
            Allowed::Any
        } else {
            let origins = settings.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
            Allowed::These(origins.collect())
        };
        Self { allowed, credentials: settings.credentials, is_secure }
    }

    fn check_upgrade(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let is_allowed = match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => self.names(origin) || self.is_own(origin, headers),
            (Some(_), Some(_)) => false,
        };
        if is_allowed { Ok(()) } else { Err(Problem::origin_not_allowed()) }
    }

    fn names(&self, origin: &HeaderValue) -> bool {
        match &self.allowed {
            Allowed::Any => true,
            Allowed::These(origins) => origins.contains(origin),
        }
    }

    /// Whether an origin is that of the host that the request was sent to.
    fn is_own(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let (Ok(origin), Ok(host)) = (origin.to_str(), host.to_str()) else { return false };
        let (implied, authority) = match origin.split_once("://") {
            Some(("https", authority)) => (":443", authority),
            // Without TLS of our own, there may be a proxy that does it: the page may have come either way.
            Some(("http", authority)) if !self.is_secure => (":80", authority),
            _ => return false,
        };
        let without_implied = |name: &str| name.strip_suffix(implied).unwrap_or(name).to_ascii_lowercase();
        without_implied(authority) == without_implied(host)
    }

    /// What says so to browsers (WHATWG Fetch, 3.2); none when there are no other pages than the server's own.
    fn layer(&self) -> Option<CorsLayer> {
        let origins = match &self.allowed {
            Allowed::These(origins) if origins.is_empty() => return None,
            Allowed::These(origins) => AllowOrigin::list(origins.clone()),
            Allowed::Any => AllowOrigin::any(),
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers(AllowHeaders::list(REQUEST_HEADERS))
            .expose_headers([POSITION, RETRY_AFTER])
            .max_age(PREFLIGHT_LASTS);
        // The layer must not be told so beside any origin at all, which the settings do not have.
        let credentials = self.credentials && !matches!(self.allowed, Allowed::Any);
        Some(layer.allow_credentials(credentials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(named: &[&str], is_secure: bool) -> Named {
        let origins = named.iter().map(|origin| (*origin).to_owned()).collect();
        Named::new(&CorsSettings { origins, credentials: false }, is_secure)
    }

    fn opens(origins: &Named, origin: &[&str], host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        for origin in origin {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        origins.check_upgrade(&headers).is_ok()
    }

    #[test]
    fn a_websocket_is_opened_by_ones_own_pages_and_those_that_are_named_alone() {
        let named = origins(&["https://app.example.org", "http://localhost:8080"], false);
        for (origin, expected) in [
            (&["https://app.example.org"][..], true),
            (&["http://localhost:8080"], true),
            (&[], true), // no browser
            (&["https://tidings.example.org"], true),
            (&["http://tidings.example.org"], true), // before a proxy, nobody knows
            (&["https://tidings.example.org:443"], true),
            (&["https://evil.example"], false),
            (&["null"], false),
            (&[""], false),
            (&["*"], false),
            (&["https://app.example.org.evil.example"], false),
            (&["https://evil-app.example.org"], false),
            (&["https://eapp.example.org"], false),
            (&["https://app.example.or"], false),
            (&["https://sub.app.example.org"], false),
            (&["https://app.example.org/"], false),
            (&["https://app.example.org:8443"], false),
            (&["http://app.example.org"], false),
            (&["HTTPS://app.example.org"], false), // no browser writes it so
            (&["http://localhost:8081"], false),
            (&["http://localhost"], false),
            (&["https://localhost:8080"], false),
            (&["https://tidings.example.org:8443"], false),
            (&["https://tidings.example.org.evil.example"], false),
            (&["https://evil.example#tidings.example.org"], false),
            (&["https://user@tidings.example.org"], false),
            (&["wss://tidings.example.org"], false),
            (&["https://app.example.org https://evil.example"], false),
            (&["https://app.example.org", "https://evil.example"], false),
        ] {
            assert_eq!(opens(&named, origin, "tidings.example.org"), expected, "{origin:?}");
        }
        let secure = origins(&[], true);
        assert!(opens(&secure, &["https://tidings.example.org"], "tidings.example.org:443"));
        assert!(opens(&secure, &["https://tidings.example.org:7400"], "Tidings.example.org:7400"));
        assert!(!opens(&secure, &["http://tidings.example.org"], "tidings.example.org"));
        assert!(!opens(&secure, &["https://tidings.example.org"], "tidings.example.org:7400"));
        assert!(opens(&origins(&["*"], true), &["null"], "tidings.example.org"));
    }
}
