//! The files of page and client: what each is, and the headers it goes out with.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::json;
use sha2::{Digest, Sha256};
use tidings_http::openapi::{Operation, Section};
use tidings_http::{Api, Context};

pub(crate) const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// What the page may do: run and load what this server gives, nothing inline, nothing from elsewhere, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
/// What the page says while there is no demo.
const NO_DEMO: &str = r#"data-demo="off""#;
const HAS_DEMO: &str = r#"data-demo="on""#;

/// Who may load a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// The page itself.
    Page,
    /// Applications on other hosts, too.
    Anybody,
}

struct File {
    path: &'static str,
    kind: &'static str,
    reader: For,
    text: &'static str,
}

impl File {
    fn route(&self) -> MethodRouter<Context> {
        Served::new(self, self.text.into()).route()
    }
}

/// A file lies here under the path that it is served at.
macro_rules! files {
    ($($kind:ident $reader:ident $path:literal)*) => {
        &[$(File { path: concat!("/", $path), kind: $kind, reader: For::$reader, text: include_str!(concat!("../", $path)) }),*]
    };
}

const PAGE: File =
    File { path: "/", kind: HTML, reader: For::Page, text: include_str!("../page/index.html") };

const CLIENT: File =
    File { path: "/tidings.js", kind: SCRIPT, reader: For::Anybody, text: include_str!("../tidings.js") };

#[rustfmt::skip]
const FILES: &[File] = files![
    STYLE  Page    "page/style.css"
    STYLE  Page    "page/reference.css"
    ICON   Page    "page/icon.svg"
    SCRIPT Page    "page/theme.js"
    SCRIPT Page    "page/main.js"
    SCRIPT Page    "page/device.js"
    SCRIPT Page    "page/publish.js"
    SCRIPT Page    "page/deliveries.js"
    SCRIPT Page    "page/tokens.js"
    SCRIPT Page    "page/elements.js"
    SCRIPT Anybody "tidings/backoff.js"
    SCRIPT Anybody "tidings/commands.js"
    SCRIPT Anybody "tidings/inbox.js"
    SCRIPT Anybody "tidings/link.js"
    SCRIPT Anybody "tidings/pages.js"
    SCRIPT Anybody "tidings/problem.js"
    SCRIPT Anybody "tidings/session.js"
];

/// The routes of all files. `HEAD` is answered as `GET`, without the body.
pub(crate) fn api(has_demo: bool) -> Api {
    let page = if has_demo { PAGE.text.replace(NO_DEMO, HAS_DEMO) } else { PAGE.text.to_owned() };
    let the_page = Section::Page.get("/", "getPage", "The page to try it on").answers_text(
        StatusCode::OK,
        "text/html",
        "The page.",
    );
    let the_client = Section::Page
        .get("/tidings.js", "getClient", "The browser client, a module")
        .answers_text(StatusCode::OK, "text/javascript", "The module; what it imports lies beside it.");
    let api = Api::new().made(kept(the_page), move |_| Served::new(&PAGE, page.into()).route());
    FILES
        .iter()
        .fold(api.made(kept(the_client), |_| CLIENT.route()), |api, file| api.part(file.path, file.route()))
}

/// An operation that answers with a file, which may be asked about again.
pub(crate) fn kept(operation: Operation) -> Operation {
    let tag = json!({ "type": "string" });
    operation
        .any_header("If-None-Match", "The `ETag` of what one has.")
        .with_header("ETag", "Names what was served.", tag)
        .answers_nothing(StatusCode::NOT_MODIFIED, "It is what one has.")
}

/// A file as it goes out.
pub(crate) struct Served {
    headers: HeaderMap,
    etag: HeaderValue,
    text: Bytes,
}

impl Served {
    /// Something that is made when the server starts, for the page itself.
    pub(crate) fn page(kind: &'static str, text: Bytes) -> Self {
        Self::of(kind, For::Page, text)
    }

    fn new(file: &File, text: Bytes) -> Self {
        Self::of(file.kind, file.reader, text)
    }

    fn of(kind: &'static str, reader: For, text: Bytes) -> Self {
        let digest = Sha256::digest(&text);
        let etag: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::try_from(format!("\"{etag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        set(header::CONTENT_TYPE, kind);
        // Kept, but asked about each time: what is served changes with the server, its names do not.
        set(header::CACHE_CONTROL, "no-cache");
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(header::REFERRER_POLICY, "no-referrer");
        set(header::CONTENT_SECURITY_POLICY, POLICY);
        set(header::X_FRAME_OPTIONS, "DENY"); // for browsers that do not know frame-ancestors
        let resource_policy = HeaderName::from_static("cross-origin-resource-policy");
        match reader {
            For::Page => {
                set(resource_policy, "same-origin");
                set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
            }
            // A module from another host is fetched with CORS. There is nothing secret in it.
            For::Anybody => {
                set(resource_policy, "cross-origin");
                set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
            }
        }
        headers.insert(header::ETAG, etag.clone());
        Self { headers, etag, text }
    }

    /// What answers with it.
    pub(crate) fn route(self) -> MethodRouter<Context> {
        let served = Arc::new(self);
        get(move |headers: HeaderMap| async move { served.answer(&headers) })
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let is_known = asked.get_all(header::IF_NONE_MATCH).iter().any(|known| self.is(known));
        let (status, body) = match is_known {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(self.text.clone())),
        };
        (status, self.headers.clone(), body).into_response()
    }

    /// Whether a list of entity tags, weak ones included, names this file (RFC 9110, 13.1.2).
    fn is(&self, known: &HeaderValue) -> bool {
        let (Ok(known), Ok(etag)) = (known.to_str(), self.etag.to_str()) else { return false };
        known.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_whether_there_is_a_demo() {
        assert_eq!(PAGE.text.matches(NO_DEMO).count(), 1);
    }

    #[test]
    fn what_is_served_and_not_documented_is_a_file_of_page_or_client() {
        for file in FILES {
            let is_part = ["/page/", "/tidings/"].iter().any(|folder| file.path.starts_with(folder));
            assert!(is_part, "{}", file.path);
        }
    }

    #[test]
    fn every_file_there_is_is_served() {
        for folder in ["tidings", "page"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for entry in std::fs::read_dir(path).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let path = format!("/{folder}/{name}");
                let is_served = name.ends_with(".html") || FILES.iter().any(|file| file.path == path);
                assert!(is_served, "{folder}/{name}");
            }
        }
    }
}
