//! The settings of tokens: whose are accepted, with which keys they are verified, and which claims say what.

use std::path::PathBuf;

use serde::Deserialize;

use crate::Findings;
use crate::issuer::{self, IssuerSettings};

/// Bytes of a secret at least: as many as the hash of HS256 has (RFC 7518, 3.2).
pub const SECRET_BYTES_LEAST: usize = 32;
/// How far clocks may be apart at most.
pub const LEEWAY_SECONDS_MOST: u64 = 30;

/// How tokens are verified.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TokenSettings {
    /// The secret of HS256. Without it and without a file, one is generated in the data directory.
    pub secret: Option<String>,
    /// A file that holds it instead.
    pub secret_file: Option<PathBuf>,
    /// Whose tokens are accepted; without it, anybody's who knows the secret.
    pub issuer: Option<String>,
    /// For whom tokens must be; without it, it does not matter.
    pub audience: Option<String>,
    /// How far clocks may be apart.
    pub leeway_seconds: u64,
    /// Which claims say what.
    pub claims: ClaimNames,
    /// Who else makes tokens, each with keys of their own.
    pub issuers: Vec<IssuerSettings>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        let (secret, secret_file, issuer, audience) = (None, None, None, None);
        let (claims, issuers) = (ClaimNames::default(), Vec::new());
        Self { secret, secret_file, issuer, audience, leeway_seconds: 5, claims, issuers }
    }
}

/// Never shows the secret.
impl std::fmt::Debug for TokenSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSettings")
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .field("secret_file", &self.secret_file)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway_seconds", &self.leeway_seconds)
            .field("claims", &self.claims)
            .field("issuers", &self.issuers)
            .finish()
    }
}

/// Which claims say what. A name with dots leads into objects: `realm_access.roles`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClaimNames {
    /// The user's id: text or a number.
    pub user: String,
    /// Their roles: a list, or one text.
    pub roles: String,
    /// Their login session.
    pub session: String,
    /// Patterns of channels they may join and watch: a list.
    pub channels: String,
    /// What else they may do, `publish` and `admin`: a list, or one text with spaces.
    pub scopes: String,
    /// The application; without it, `default`.
    pub tenant: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            user: "sub".to_owned(),
            roles: "roles".to_owned(),
            session: "sid".to_owned(),
            channels: "channels".to_owned(),
            scopes: "scope".to_owned(),
            tenant: "tenant".to_owned(),
        }
    }
}

impl TokenSettings {
    pub(crate) fn check(&self, findings: &mut Findings) {
        if self.leeway_seconds > LEEWAY_SECONDS_MOST {
            let expected = format!("expected at most {LEEWAY_SECONDS_MOST}, got {}", self.leeway_seconds);
            findings.wrong("token.leeway-seconds", expected);
        }
        if self.secret.is_some() && self.secret_file.is_some() {
            findings.wrong("token.secret-file", "expected none beside token.secret");
        }
        if let Some(secret) = self.secret.as_ref().filter(|secret| secret.len() < SECRET_BYTES_LEAST) {
            let expected = format!("expected at least {SECRET_BYTES_LEAST} bytes, got {}", secret.len());
            findings.wrong("token.secret", expected);
        }
        issuer::check(&self.issuers, findings);
    }
}
