//! The settings of those who make tokens beside the server itself: whose tokens they are, and with which keys they are
//! verified.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use crate::Findings;
use crate::token::{ClaimNames, SECRET_BYTES_LEAST};

/// Somebody who makes tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct IssuerSettings {
    /// What the log and errors call it: 1 to 64 of a-z A-Z 0-9 _ -.
    pub name: String,
    /// What `iss` must be; without it, tokens that name no configured issuer are tried.
    pub issuer: Option<String>,
    /// What `aud` must hold; without it, it does not matter.
    pub audience: Option<String>,
    /// The tenant of all its tokens: one that names another is refused. Without it, the token's own word counts.
    pub tenant: Option<String>,
    /// Whether a secret may be shorter than it should be.
    pub allow_weak_secret: bool,
    /// Which claims say what; without it, as `[token.claims]` says.
    pub claims: Option<ClaimNames>,
    /// Its keys.
    pub keys: Vec<KeySettings>,
}

/// A key, or a file of several.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeySettings {
    /// Its id: tokens that name it in their header are verified with it.
    pub kid: Option<String>,
    /// The one algorithm it is for; for keys of a file that say it themselves, only what the others are for.
    pub algorithm: Option<KeyAlgorithm>,
    /// The key itself, of the algorithms HS256, HS384 and HS512.
    pub secret: Option<String>,
    /// A file that holds it instead.
    pub secret_file: Option<PathBuf>,
    /// A file with a public key in PEM.
    pub pem_file: Option<PathBuf>,
    /// A file with a JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
}

/// Where a key comes from.
#[derive(Clone, Copy)]
pub enum KeySource<'a> {
    /// The configuration.
    Secret(&'a str),
    /// A file that holds a secret.
    SecretFile(&'a PathBuf),
    /// A file with a public key in PEM.
    PemFile(&'a PathBuf),
    /// A file with a JSON Web Key Set.
    JwksFile(&'a PathBuf),
}

/// With what tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)] // RFC 7518, 3.1, and RFC 8037
pub enum KeyAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl KeyAlgorithm {
    fn is_of_secrets(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

/// Never shows a secret.
impl std::fmt::Debug for KeySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySettings")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .field("secret_file", &self.secret_file)
            .field("pem_file", &self.pem_file)
            .field("jwks_file", &self.jwks_file)
            .finish()
    }
}

impl KeySettings {
    /// Where the key comes from, if exactly one place is named.
    #[must_use]
    pub fn source(&self) -> Option<KeySource<'_>> {
        match (&self.secret, &self.secret_file, &self.pem_file, &self.jwks_file) {
            (Some(secret), None, None, None) => Some(KeySource::Secret(secret)),
            (None, Some(file), None, None) => Some(KeySource::SecretFile(file)),
            (None, None, Some(file), None) => Some(KeySource::PemFile(file)),
            (None, None, None, Some(file)) => Some(KeySource::JwksFile(file)),
            _ => None,
        }
    }

    fn check(&self, allow_weak_secret: bool) -> Result<(), String> {
        let Some(source) = self.source() else {
            return Err("expected exactly one of secret, secret-file, pem-file and jwks-file".to_owned());
        };
        let of_secrets = self.algorithm.map(KeyAlgorithm::is_of_secrets);
        match source {
            KeySource::Secret(_) | KeySource::SecretFile(_) if of_secrets == Some(false) => Err(format!(
                "expected the algorithm HS256, HS384 or HS512 for a secret, got {:?}",
                self.algorithm
            )),
            KeySource::PemFile(_) if of_secrets == Some(true) => {
                Err(format!("expected an algorithm of public keys for pem-file, got {:?}", self.algorithm))
            }
            KeySource::JwksFile(_) if self.kid.is_some() => {
                Err("expected no kid beside jwks-file: the keys in it have their own".to_owned())
            }
            KeySource::Secret("") => Err("expected a secret, got an empty text".to_owned()),
            KeySource::Secret(secret) if !allow_weak_secret && secret.len() < SECRET_BYTES_LEAST => {
                Err(format!(
                    "expected a secret of at least {SECRET_BYTES_LEAST} bytes, or allow-weak-secret = true, got {}",
                    secret.len()
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What is wrong with the issuers, if anything is.
pub(crate) fn check(issuers: &[IssuerSettings], findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for (number, issuer) in issuers.iter().enumerate() {
        let name = &issuer.name;
        let mut wrong = |key: &str, expected: &str| {
            findings.wrong(format!("token.issuers[{number}]{key}"), format!("{expected}, got {name:?}"));
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_plain) {
            wrong(".name", "expected a name of 1 to 64 of a-z A-Z 0-9 _ -");
        } else if !names.insert(name) {
            wrong(".name", "expected each name once");
        } else if name == "token" {
            wrong(".name", "expected a name that the server itself does not have");
        }
        if issuer.keys.is_empty() {
            findings.wrong(format!("token.issuers[{number}]"), "expected at least one of keys in it");
        }
        for (index, key) in issuer.keys.iter().enumerate() {
            if let Err(expected) = key.check(issuer.allow_weak_secret) {
                findings.wrong(format!("token.issuers[{number}].keys[{index}]"), expected);
            }
        }
    }
}
