//! Tokens: JSON Web Tokens (RFC 7519), verified against a configured key, and what their claims mean.
//!
//! The algorithm is fixed by the key, never by the token's header. A refusal says nothing about why; the log does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use tidings_config::{ClaimNames, SECRET_BYTES_LEAST, TokenSettings};
use tidings_engine::access::Scopes;
use tidings_engine::{Identity, Role, SessionId, Tenant, UserId, limits};

use crate::click::Links;
use crate::problem::Problem;

/// Bytes of a token at most: more than any has that fits into a header.
const TOKEN_BYTES: usize = 8 * 1024;

/// A clock may be set: however long a token lasts, it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// Why tokens cannot be verified this way.
#[derive(Debug, thiserror::Error)]
#[error("expected a secret of at least {SECRET_BYTES_LEAST} bytes, got {0}")]
pub struct ShortSecret(usize);

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be made: {0}")]
pub struct MintError(#[from] jsonwebtoken::errors::Error);

/// Verifies tokens.
pub struct Tokens {
    key: DecodingKey,
    links: Links,
    validation: Validation,
    claims: ClaimNames,
}

impl Tokens {
    /// Verifies tokens as the settings say, with a secret.
    ///
    /// # Errors
    /// When the secret is too easy to guess.
    pub fn new(settings: &TokenSettings, secret: &[u8]) -> Result<Self, ShortSecret> {
        if secret.len() < SECRET_BYTES_LEAST {
            return Err(ShortSecret(secret.len()));
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = settings.leeway_seconds;
        validation.validate_nbf = true;
        validation.validate_aud = settings.audience.is_some();
        let mut required = vec!["exp"];
        if let Some(issuer) = &settings.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &settings.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        let key = DecodingKey::from_secret(secret);
        let links = Links::new(secret);
        Ok(Self { key, links, validation, claims: settings.claims.clone() })
    }

    /// Links that record a click, signed with a key that is made of the same secret.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// Who a token says its holder is.
    ///
    /// # Errors
    /// [`Problem::unauthorized`], whatever is wrong; the log says more, though never the token.
    pub fn verify(&self, token: &str) -> Result<Identity, Problem> {
        self.explain(token).map_err(|reason| {
            tracing::info!(reason, "token refused");
            Problem::unauthorized()
        })
    }

    /// Who a token says its holder is, or why it is refused: for those who make tokens, never for those who show them.
    ///
    /// # Errors
    /// The reason in words.
    pub fn explain(&self, token: &str) -> Result<Identity, String> {
        if token.len() > TOKEN_BYTES {
            return Err(format!("the token has more than {TOKEN_BYTES} bytes"));
        }
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &self.validation);
        let decoded = decoded.map_err(|error| error.to_string())?;
        // RFC 7515, 4.1.11: who does not understand all of these must refuse. We understand none.
        if let Some(extensions) = decoded.header.crit {
            return Err(format!("the token needs what is not supported: {}", extensions.join(", ")));
        }
        self.identity(&decoded.claims)
    }

    fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, String> {
        let names = &self.claims;
        let find = |name: &str| find(claims, name);
        let user = find(&names.user).map(|value| one::<UserId>(&names.user, value)).transpose()?;
        let session =
            find(&names.session).map(|value| one::<SessionId>(&names.session, value)).transpose()?;
        let tenant = find(&names.tenant).map(|value| one::<Tenant>(&names.tenant, value)).transpose()?;
        let texts = |name: &str| find(name).map_or(Ok(Vec::new()), |value| texts_of(name, value));
        let (roles, channels, scopes) =
            (texts(&names.roles)?, texts(&names.channels)?, texts(&names.scopes)?);
        let most = (limits::ROLES_PER_TOKEN, limits::PATTERNS_PER_TOKEN);
        if roles.len() > most.0 || channels.len() > most.1 {
            return Err(format!("expected at most {} roles and {} channels", most.0, most.1));
        }
        let leeway = i64::try_from(self.validation.leeway).unwrap_or_default();
        let scopes: Vec<&str> = scopes.iter().flat_map(|scopes| scopes.split_whitespace()).collect();
        Ok(Identity {
            tenant: tenant.unwrap_or_default(),
            user,
            // A role that can be no channel's name makes no membership, and is no reason to keep its holder out.
            roles: roles.iter().filter_map(|role| role.parse::<Role>().ok()).collect(),
            session,
            channels: channels.iter().map(|text| parse(&names.channels, text)).collect::<Result<_, _>>()?,
            scopes: Scopes {
                publish: scopes.contains(&"publish"),
                admin: scopes.contains(&"admin"),
                metrics: scopes.contains(&"metrics"),
            },
            issued_at: claims.get("iat").map(|at| seconds(at).ok_or("iat is not a time")).transpose()?,
            expires_at: claims
                .get("exp")
                .and_then(seconds)
                .ok_or("exp is not a time")?
                .saturating_add(leeway),
        })
    }
}

/// Waits until a time in seconds since 1970, by the clock of the wall: that of [`Identity::expires_at`].
pub async fn expiry(expires_at: i64) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = expires_at.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { return };
        tokio::time::sleep(Duration::from_secs(left).min(LOOK_AGAIN)).await;
    }
}

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

/// Makes a token that [`Tokens`] with the same settings and secret accept for `lifetime`.
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
    let key = EncodingKey::from_secret(secret);
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// A claim by its name; if there is none of that very name, by the path that its dots make.
fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    let found = claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        find(claims.get(outer)?.as_object()?, inner)
    });
    found.filter(|value| !value.is_null())
}

/// Puts a claim where [`find`] finds it.
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

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(claim: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("claim {claim}: {error}"))
}

fn one<T: std::str::FromStr<Err: std::fmt::Display>>(claim: &str, value: &Value) -> Result<T, String> {
    parse(claim, &text_of(claim, value)?)
}

/// A text, or a whole number in its digits: an id may be one. Numbers that JSON libraries round are none.
fn text_of(claim: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        other => Err(format!("claim {claim}: expected a text or a whole number, got {other}")),
    }
}

/// A list, or a single one of what could be in it.
fn texts_of(claim: &str, value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(values) => values.iter().map(|value| text_of(claim, value)).collect(),
        one => Ok(vec![text_of(claim, one)?]),
    }
}

/// Seconds since 1970; a token may give fractions (RFC 7519, 2: NumericDate).
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn tokens(settings: &TokenSettings) -> Tokens {
        Tokens::new(settings, SECRET).unwrap()
    }

    fn signed(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    fn later() -> u64 {
        jsonwebtoken::get_current_timestamp() + 3600
    }

    #[test]
    fn a_minted_token_says_what_was_granted() {
        let issuer = Some("https://issuer.example".to_owned());
        let mut settings =
            TokenSettings { issuer, audience: Some("tidings".to_owned()), ..Default::default() };
        settings.claims.roles = "realm_access.roles".to_owned();
        let grant = Grant {
            tenant: Some("shop".to_owned()),
            user: Some("ada".to_owned()),
            roles: vec!["ADMIN".to_owned()],
            session: Some("s1".to_owned()),
            channels: vec!["topic:*".to_owned()],
            scopes: vec!["publish".to_owned()],
        };
        let token = mint(&settings, SECRET, &grant, Duration::from_secs(60)).unwrap();
        let identity = tokens(&settings).verify(&token).unwrap();
        assert_eq!((identity.tenant.as_str(), identity.user.unwrap().as_str()), ("shop", "ada"));
        assert_eq!(identity.roles[0].as_str(), "ADMIN");
        assert_eq!(identity.session.unwrap().as_str(), "s1");
        assert_eq!(identity.channels[0].to_string(), "topic:*");
        assert_eq!(identity.scopes, Scopes { publish: true, ..Scopes::default() });
    }

    #[test]
    fn forged_expired_and_odd_tokens_are_refused_alike() {
        let tokens = tokens(&TokenSettings::default());
        let now = jsonwebtoken::get_current_timestamp();
        let good = signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "exp": later()}));
        assert!(tokens.verify(&good).is_ok());
        let unsigned = {
            // {"alg":"none"} and {"sub":"ada","exp":9999999999}
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJleHAiOjk5OTk5OTk5OTl9.".to_owned()
        };
        let cases = [
            ("empty", String::new()),
            ("garbage", "abc.def.ghi".to_owned()),
            ("no signature", unsigned),
            ("cut signature", good[..good.rfind('.').unwrap() + 1].to_owned()),
            (
                "another secret",
                signed(
                    Algorithm::HS256,
                    b"another secret of sufficient length!",
                    &json!({"sub": "ada", "exp": later()}),
                ),
            ),
            ("another algorithm", signed(Algorithm::HS512, SECRET, &json!({"sub": "ada", "exp": later()}))),
            ("expired", signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "exp": now - 6}))),
            ("without exp", signed(Algorithm::HS256, SECRET, &json!({"sub": "ada"}))),
            (
                "not yet",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "exp": later(), "nbf": now + 60})),
            ),
            ("odd user", signed(Algorithm::HS256, SECRET, &json!({"sub": "", "exp": later()}))),
            (
                "a user who is rounded",
                signed(Algorithm::HS256, SECRET, &json!({"sub": 1e20, "exp": later()})),
            ),
            ("a user who is none", signed(Algorithm::HS256, SECRET, &json!({"sub": true, "exp": later()}))),
            (
                "odd roles",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "roles": {}, "exp": later()})),
            ),
            (
                "odd time",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "iat": "now", "exp": later()})),
            ),
            ("what it needs is not supported", {
                let mut header = Header::new(Algorithm::HS256);
                header.crit = Some(vec!["b64".to_owned()]);
                let claims = json!({"sub": "ada", "exp": later()});
                jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap()
            }),
            (
                "odd pattern",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "channels": ["*"], "exp": later()})),
            ),
            (
                "the server's tenant",
                signed(Algorithm::HS256, SECRET, &json!({"tenant": "$server", "exp": later()})),
            ),
            (
                "too long",
                signed(
                    Algorithm::HS256,
                    SECRET,
                    &json!({"sub": "ada", "exp": later(), "x": "x".repeat(9_000)}),
                ),
            ),
        ];
        let expected = serde_json::to_value(Problem::unauthorized()).unwrap();
        for (name, token) in cases {
            let problem = tokens.verify(&token).expect_err(name);
            assert_eq!(serde_json::to_value(problem).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn issuer_and_audience_are_required_once_they_are_configured() {
        let (issuer, audience) = (Some("us".to_owned()), Some("tidings".to_owned()));
        let settings = TokenSettings { issuer, audience, ..Default::default() };
        let tokens = tokens(&settings);
        let verify = |claims: Value| tokens.verify(&signed(Algorithm::HS256, SECRET, &claims)).is_ok();
        assert!(verify(json!({"sub": "ada", "exp": later(), "iss": "us", "aud": ["x", "tidings"]})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "iss": "us"})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "aud": "tidings"})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "iss": "them", "aud": "tidings"})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "iss": "us", "aud": "others"})));
    }

    #[test]
    fn claims_come_in_the_shapes_that_issuers_give_them() {
        let mut settings = TokenSettings::default();
        settings.claims.user = "userId".to_owned();
        settings.claims.roles = "role".to_owned();
        let tokens = tokens(&settings);
        let claims = json!({"userId": 4711, "role": "ADMIN", "scope": "publish admin", "exp": later()});
        let identity = tokens.verify(&signed(Algorithm::HS256, SECRET, &claims)).unwrap();
        assert_eq!(identity.user.unwrap().as_str(), "4711");
        assert_eq!(identity.roles[0].as_str(), "ADMIN");
        let claims = json!({"userId": u64::MAX, "role": ["Key User", "ADMIN"], "exp": later()});
        let odd = tokens.verify(&signed(Algorithm::HS256, SECRET, &claims)).unwrap();
        assert_eq!(odd.user.unwrap().as_str(), "18446744073709551615");
        assert_eq!(odd.roles.len(), 1, "a role that can be no channel's name is passed over");
        assert_eq!(identity.scopes, Scopes { publish: true, admin: true, metrics: false });
    }

    #[test]
    fn a_secret_that_is_easy_to_guess_is_refused() {
        assert!(Tokens::new(&TokenSettings::default(), b"short").is_err());
    }
}
