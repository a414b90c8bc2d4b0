//! What the claims of a verified token mean.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use tidings_config::ClaimNames;
use tidings_engine::access::Scopes;
use tidings_engine::{Identity, Role, SessionId, Tenant, UserId, limits};

/// The last second of the year 9999 (RFC 3339 goes no further): what is later is no time, but a mistake.
const LAST_SECOND: i64 = 253_402_300_799;

/// Values of a claim that are kept at most: each is tried where a rule names the claim.
const VALUES_PER_CLAIM: usize = 64;

/// The claims of a token. No name comes twice: who reads the first and who reads the last would see different tokens.
#[derive(Clone, Debug)]
pub(super) struct Claims(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim comes twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// How claims are to be understood.
pub(super) struct Reading<'a> {
    /// Which claims say what.
    pub(super) names: &'a ClaimNames,
    /// Which other claims are kept.
    pub(super) kept: &'a [String],
    /// The tenant of all tokens of this issuer, if it has one.
    pub(super) tenant: Option<&'a Tenant>,
    /// How far clocks may be apart, in seconds.
    pub(super) leeway: u64,
    /// What time it is, in seconds since 1970.
    pub(super) now: u64,
}

impl Reading<'_> {
    /// Who a token says its holder is.
    pub(super) fn identity(&self, claims: &Claims) -> Result<Identity, String> {
        let (claims, names) = (&claims.0, self.names);
        let find = |name: &str| find(claims, name);
        let user = find(&names.user).map(|value| one::<UserId>(&names.user, value)).transpose()?;
        let session =
            find(&names.session).map(|value| one::<SessionId>(&names.session, value)).transpose()?;
        let said = find(&names.tenant).map(|value| one::<Tenant>(&names.tenant, value)).transpose()?;
        let tenant = match (self.tenant, said) {
            (Some(own), Some(said)) if *own != said => {
                return Err(format!(
                    "claim {}: expected {own}, as the issuer's tenant, got {said}",
                    names.tenant
                ));
            }
            (Some(own), _) => own.clone(),
            (None, said) => said.unwrap_or_default(),
        };
        let texts = |name: &str| find(name).map_or(Ok(Vec::new()), |value| texts_of(name, value));
        let (roles, channels, scopes) =
            (texts(&names.roles)?, texts(&names.channels)?, texts(&names.scopes)?);
        let most = (limits::ROLES_PER_TOKEN, limits::PATTERNS_PER_TOKEN);
        if roles.len() > most.0 || channels.len() > most.1 {
            return Err(format!("expected at most {} roles and {} channels", most.0, most.1));
        }
        let scopes: Vec<&str> = scopes.iter().flat_map(|scopes| scopes.split_whitespace()).collect();
        let (issued_at, expires_at) = self.times(claims)?;
        Ok(Identity {
            tenant,
            user,
            // A role that can be no channel's name makes no membership, and is no reason to keep its holder out.
            roles: roles.iter().filter_map(|role| role.parse::<Role>().ok()).collect(),
            session,
            channels: channels.iter().map(|text| parse(&names.channels, text)).collect::<Result<_, _>>()?,
            publish_to: Vec::new(),
            scopes: Scopes {
                publish: scopes.contains(&"publish"),
                admin: scopes.contains(&"admin"),
                // The server is everybody's: who speaks for one application has no say in it.
                metrics: self.tenant.is_none() && scopes.contains(&"metrics"),
                operator: self.tenant.is_none() && scopes.contains(&"operator"),
            },
            key: None,
            claims: self.kept.iter().map(|name| (name.clone(), values_of(find(name)))).collect(),
            issued_at,
            expires_at,
        })
    }

    /// When the token was issued, and when it ends, with what clocks may be apart.
    fn times(&self, claims: &Map<String, Value>) -> Result<(Option<i64>, i64), String> {
        let leeway = i64::try_from(self.leeway).unwrap_or_default();
        let now = i64::try_from(self.now).unwrap_or(i64::MAX);
        let issued_at = claims.get("iat").map(|at| seconds(at).ok_or("iat is not a time")).transpose()?;
        // The newest token decides on roles: one from the future would decide for as long as it likes.
        if issued_at.is_some_and(|at| at > now.saturating_add(leeway)) {
            return Err("iat is in the future".to_owned());
        }
        let expires_at = claims.get("exp").and_then(seconds).ok_or("exp is not a time")?;
        Ok((issued_at, expires_at.saturating_add(leeway)))
    }
}

/// A claim by its name; if there is none of that very name, by the path that its dots make.
fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    let found = claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        find(claims.get(outer)?.as_object()?, inner)
    });
    found.filter(|value| !value.is_null())
}

fn parse<T: std::str::FromStr<Err: fmt::Display>>(claim: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("claim {claim}: {error}"))
}

fn one<T: std::str::FromStr<Err: fmt::Display>>(claim: &str, value: &Value) -> Result<T, String> {
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

/// The texts and whole numbers of a claim that only the operator knows. What else it holds says nothing.
fn values_of(value: Option<&Value>) -> Vec<String> {
    let of = |value: &Value| text_of("", value).ok();
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().filter_map(of).take(VALUES_PER_CLAIM).collect(),
        Some(one) => of(one).into_iter().collect(),
    }
}

/// Seconds since 1970; a token may give fractions (RFC 7519, 2: NumericDate).
fn seconds(value: &Value) -> Option<i64> {
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    seconds.filter(|seconds| (0..=LAST_SECOND).contains(seconds))
}
