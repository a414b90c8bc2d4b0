//! Tickets: for those who can set no header and send no first frame, such as a browser's `EventSource`. A ticket stands in an
//! address for the token of whoever asked for it, once, and not for long; so it does no harm to write the address down.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{digest, rand};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tidings_engine::{Error, UserKey};

use crate::openapi::Section;
use crate::problem::Problem;
use crate::token::Verified;
use crate::{Api, Context, Shown};

/// How a ticket begins.
const PREFIX: &str = "tdt_";
/// How long a ticket waits to be used: a page that asks for one connects at once.
const LIFETIME: Duration = Duration::from_secs(30);
/// Tickets of a user at most that were asked for within that time; a newer one takes the place of the oldest.
const TICKETS_PER_USER: usize = 16;
/// Tickets of all users at most: some 50 MiB.
const TICKETS_MOST: usize = 65_536;

type Digest = [u8; 32];

/// Tickets that wait to be used.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By the hash of each: what is in memory is of no use to whoever sees it.
    by_digest: HashMap<Digest, (Verified, Instant)>,
    of_user: HashMap<UserKey, VecDeque<Digest>>,
    /// The next to end first.
    order: VecDeque<(Instant, Digest, UserKey)>,
}

impl Tickets {
    /// A ticket for somebody.
    fn issue(&self, verified: Verified, now: Instant) -> Result<String, Error> {
        let user = verified.identity.key()?;
        let mut random = [0; 32];
        rand::fill(&mut random).map_err(|_| Error::Internal)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (ticket, until) = (format!("{PREFIX}{text}"), now + LIFETIME);
        let digest = digest_of(&ticket);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.forget(now);
        if waiting.order.len() >= TICKETS_MOST {
            return Err(Error::Busy);
        }
        let own = waiting.of_user.entry(user.clone()).or_default();
        own.push_back(digest);
        let oldest = if own.len() > TICKETS_PER_USER { own.pop_front() } else { None };
        if let Some(oldest) = oldest {
            waiting.by_digest.remove(&oldest);
        }
        waiting.by_digest.insert(digest, (verified, until));
        waiting.order.push_back((until, digest, user));
        Ok(ticket)
    }

    /// What somebody showed who asked for a ticket, which is used up with this.
    pub(crate) fn redeem(&self, ticket: &str, now: Instant) -> Option<Verified> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (verified, until) = waiting.by_digest.remove(&digest_of(ticket))?;
        (now < until).then_some(verified)
    }
}

impl Waiting {
    /// Forgets tickets whose time is over.
    fn forget(&mut self, now: Instant) {
        while let Some((_, digest, user)) = self.order.pop_front_if(|(until, ..)| *until <= now) {
            self.by_digest.remove(&digest);
            if let Some(own) = self.of_user.get_mut(&user) {
                own.retain(|other| *other != digest);
                if own.is_empty() {
                    self.of_user.remove(&user);
                }
            }
        }
    }
}

fn digest_of(ticket: &str) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, ticket.as_bytes()).as_ref());
    digest
}

pub(crate) fn api() -> Api {
    Api::new().on(
        Section::Live
            .post("/v1/tickets", "issueTicket", "A ticket for the address of one connection")
            .says("It stands for the token of whoever asks, once, for 60 seconds. Open a stream or a WebSocket with `?ticket=…`.")
            .needs("user")
            .answers_json::<Ticket>(StatusCode::CREATED, "The ticket.")
            .such_as(json!({ "ticket": "tdt_5b1e…", "expiresAt": "2026-11-21T07:01:00Z" })),
        issue,
    )
}

/// Stands for a token in the address of one connection, once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Ticket {
    /// For `?ticket=…`.
    ticket: String,
    expires_at: Timestamp,
}

async fn issue(State(context): State<Context>, Shown(verified): Shown) -> Result<Response, Problem> {
    let expires_at = Timestamp::now() + SignedDuration::try_from(LIFETIME).unwrap_or_default();
    let ticket = context.tokens.tickets().issue(verified, Instant::now())?;
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, axum::Json(Ticket { ticket, expires_at })).into_response())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_config::TokenSettings;

    use super::*;
    use crate::token::{Grant, Tokens, mint};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn verified(user: &str) -> Verified {
        let settings = TokenSettings::default();
        let grant = Grant { user: Some(user.to_owned()), ..Grant::default() };
        let token = mint(&settings, SECRET, &grant, Duration::from_secs(60)).unwrap();
        Tokens::new(&settings, SECRET).unwrap().verify(&token).unwrap()
    }

    #[test]
    fn a_ticket_is_of_use_once_and_not_for_long() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let (ticket, late) =
            (tickets.issue(verified("ada"), now).unwrap(), tickets.issue(verified("ada"), now).unwrap());
        assert!(tickets.redeem("tdt_", now).is_none() && tickets.redeem(&ticket[4..], now).is_none());
        assert_eq!(tickets.redeem(&ticket, now).unwrap().identity.user.as_ref().unwrap().as_str(), "ada");
        assert!(tickets.redeem(&ticket, now).is_none(), "a second time");
        assert!(tickets.redeem(&late, now + LIFETIME).is_none(), "too late");
    }

    #[test]
    fn many_tickets_of_one_user_take_nobody_elses_place_and_all_are_forgotten() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let bobs = tickets.issue(verified("bob"), now).unwrap();
        let ada = verified("ada");
        let adas: Vec<String> = (0..40).map(|_| tickets.issue(ada.clone(), now).unwrap()).collect();
        let of_use = adas.iter().filter(|ticket| tickets.redeem(ticket, now).is_some()).count();
        assert_eq!(of_use, TICKETS_PER_USER);
        assert!(tickets.redeem(&bobs, now).is_some());
        tickets.issue(ada, now + LIFETIME).unwrap();
        let waiting = tickets.0.lock().unwrap();
        assert_eq!((waiting.order.len(), waiting.by_digest.len(), waiting.of_user.len()), (1, 1, 1));
    }
}
