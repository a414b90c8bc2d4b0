//! The settings of origins: which web pages, beside those of the server's own host, may use it from a browser.

use serde::Deserialize;

use crate::Findings;

/// Which web pages may use the server from a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CorsSettings {
    /// Their origins, `https://app.example.org`, or `*` alone for all there are.
    pub origins: Vec<String>,
    /// Whether a page may let the browser add cookies and certificates, which Tidings itself never looks at.
    pub credentials: bool,
}

/// Every origin there is.
pub const ANY_ORIGIN: &str = "*";

impl CorsSettings {
    pub(crate) fn check(&self, findings: &mut Findings) {
        let is_any = self.origins.iter().any(|origin| origin == ANY_ORIGIN);
        if is_any && self.origins.len() > 1 {
            findings.wrong("cors.origins", "expected nothing beside \"*\"");
        }
        if is_any && self.credentials {
            findings.wrong("cors.credentials", "expected false beside origins = [\"*\"]");
        }
        for origin in self.origins.iter().filter(|origin| *origin != ANY_ORIGIN && !is_origin(origin)) {
            findings.wrong(
                "cors.origins",
                format!(
                    "expected origins as browsers write them, such as https://app.example.org or http://localhost:8080: \
                     in lower case, without a path, and without the port that the scheme implies; got {origin}"
                ),
            );
        }
    }
}

/// Whether a text is an origin as browsers write it (RFC 6454, 6.2). `null` is none: it is everybody who hides theirs.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_is_sound = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
        });
    let implied = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "/",
    };
    let host_is_sound = !host.is_empty()
        && !host.ends_with(implied)
        && host.bytes().all(|byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        });
    scheme_is_sound && host_is_sound
}
