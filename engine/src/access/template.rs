//! Patterns of channels in the operator's rules: text, `*`, and what stands for something that is known of whoever asks.

use std::fmt;
use std::str::FromStr;

use super::Identity;
use crate::names::{Channel, NameError};

/// A pattern such as `topic:*`, `user:{user}` or `team:{claim.team}-*`. `*` is any text, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Any,
    User,
    Tenant,
    /// One of the values of a claim.
    Claim(String),
}

const EXPECTED: &str = "a channel, in which * is any text, {user}, {tenant} and {claim.NAME} are what the token says, and \
                        the kind is named, such as topic:*, user:{user} or team:{claim.team}-*; or * alone";

impl Template {
    /// Whether a channel is meant for somebody. What the token does not say matches nothing.
    pub(super) fn matches(&self, identity: &Identity, channel: &Channel) -> bool {
        let name = channel.as_str().as_bytes();
        // How many bytes of the name may have been matched so far: each way at once.
        let mut reached = vec![0];
        for part in &self.parts {
            let mut next: Vec<usize> = match part {
                Part::Any => {
                    reached.iter().min().map(|least| (*least..=name.len()).collect()).unwrap_or_default()
                }
                Part::Text(text) => after(name, &reached, text).collect(),
                Part::Tenant => after(name, &reached, identity.tenant.as_str()).collect(),
                Part::User => {
                    let user = identity.user.iter();
                    user.flat_map(|user| after(name, &reached, user.as_str())).collect()
                }
                Part::Claim(claim) => {
                    let values = identity.claims.get(claim).into_iter().flatten();
                    values.flat_map(|value| after(name, &reached, value)).collect()
                }
            };
            next.sort_unstable();
            next.dedup();
            reached = next;
        }
        reached.contains(&name.len())
    }

    /// The claims that it names.
    pub(super) fn claims(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Claim(claim) => Some(claim.as_str()),
            _ => None,
        })
    }
}

/// Where a text ends that begins at one of these places. No text is none.
fn after<'n>(name: &'n [u8], places: &'n [usize], text: &'n str) -> impl Iterator<Item = usize> + 'n {
    let begins = move |place: &&usize| !text.is_empty() && name[**place..].starts_with(text.as_bytes());
    places.iter().filter(begins).map(move |place| place + text.len())
}

impl FromStr for Template {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError { expected: EXPECTED };
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(next) = rest.find(['*', '{', '}']) {
            let (before, from) = rest.split_at(next);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            if let Some(after) = from.strip_prefix('*') {
                parts.push(Part::Any);
                rest = after;
                continue;
            }
            let (name, after) =
                from.strip_prefix('{').and_then(|from| from.split_once('}')).ok_or_else(wrong)?;
            parts.push(match (name, name.strip_prefix("claim.")) {
                ("user", _) => Part::User,
                ("tenant", _) => Part::Tenant,
                (_, Some(claim)) if !claim.is_empty() && !claim.contains('{') => {
                    Part::Claim(claim.to_owned())
                }
                _ => return Err(wrong()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let example: String =
            parts.iter().map(|part| if let Part::Text(text) = part { text } else { "x" }).collect();
        if text == "*" || Channel::new(&example).is_ok() {
            Ok(Self { text: text.to_owned(), parts })
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
