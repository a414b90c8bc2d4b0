//! Parameters of a query: each known by name, none passed over.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use serde::de::DeserializeOwned;

use crate::Context;
use crate::problem::Problem;

/// The parameters of a request that nobody has taken yet, and the names that were asked for.
pub(crate) struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl FromRequestParts<Context> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self { given: decoded.collect::<Result<Vec<_>, Problem>>()?, known: Vec::new() })
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| Problem::field(text, "expected percent-encoded UTF-8"))
}

impl Params {
    /// A parameter, parsed.
    pub(crate) fn take<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        self.known.push(name);
        let Some(index) = self.given.iter().position(|(other, _)| other == name) else { return Ok(None) };
        let (_, value) = self.given.swap_remove(index);
        value.parse().map(Some).map_err(|error: T::Err| Problem::field(name, error.to_string()))
    }

    /// A parameter that is a whole number within bounds.
    pub(crate) fn take_number(
        &mut self,
        name: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, Problem> {
        let expected = || Problem::field(name, format!("expected a whole number from {least} to {most}"));
        let Some(text) = self.take::<String>(name)? else { return Ok(None) };
        let number = text.parse().map_err(|_| expected())?;
        if (least..=most).contains(&number) { Ok(Some(number)) } else { Err(expected()) }
    }

    /// A parameter that is `true` or `false`.
    pub(crate) fn take_flag(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        let Some(text) = self.take::<String>(name)? else { return Ok(None) };
        match text.as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(Problem::field(name, "expected true or false")),
        }
    }

    /// Passes when every parameter was taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        let known = self.known.join(", ");
        Err(Problem::field(name, format!("expected one of the parameters {known}, each once")))
    }
}

/// The variable segments of a path, percent-decoded.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Context> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, context).await;
        path.map(|Path(segments)| Self(segments))
            .map_err(|_| Problem::field("path", "expected percent-encoded UTF-8"))
    }
}
