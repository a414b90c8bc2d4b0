//! Tokens that the server makes itself, with its own secret: for development, and for its command line.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};
use tidings_config::TokenSettings;

use super::keyring::OWN_KID;

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be made: {0}")]
pub struct MintError(#[from] jsonwebtoken::errors::Error);

/// What a token that is made for development says.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The application; without it, none is named.
    pub tenant: Option<String>,
    /// The user; a service has none.
    pub user: Option<String>,
    /// Their roles.
    pub roles: Vec<String>,
    /// Their login session.
    pub session: Option<String>,
    /// Patterns of channels they may join and watch.
    pub channels: Vec<String>,
    /// What else they may do.
    pub scopes: Vec<String>,
}

/// Makes a token that [`Tokens`](super::Tokens) with the same settings and secret accept for `lifetime`.
///
/// # Errors
/// [`MintError`].
pub fn mint(
    settings: &TokenSettings,
    secret: &[u8],
    grant: &Grant,
    lifetime: Duration,
) -> Result<String, MintError> {
    let now = jsonwebtoken::get_current_timestamp();
    let mut claims = Map::new();
    let mut claim = |name: &str, value: Value| {
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !is_empty {
            place(&mut claims, name, value);
        }
    };
    let names = &settings.claims;
    claim(&names.tenant, grant.tenant.clone().into());
    claim(&names.user, grant.user.clone().into());
    claim(&names.roles, grant.roles.clone().into());
    claim(&names.session, grant.session.clone().into());
    claim(&names.channels, grant.channels.clone().into());
    claim(&names.scopes, if grant.scopes.is_empty() { Value::Null } else { grant.scopes.join(" ").into() });
    claim("iss", settings.issuer.clone().into());
    claim("aud", settings.audience.clone().into());
    claim("iat", now.into());
    claim("exp", now.saturating_add(lifetime.as_secs()).into());
    let header = Header { kid: Some(OWN_KID.to_owned()), ..Header::new(Algorithm::HS256) };
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret))?)
}

/// Puts a claim where it is found again: the dots of its name lead into objects.
fn place(claims: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        Some((outer, inner)) => {
            let outer = claims.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Some(outer) = outer.as_object_mut() {
                place(outer, inner, value);
            }
        }
        None => drop(claims.insert(name.to_owned(), value)),
    }
}
