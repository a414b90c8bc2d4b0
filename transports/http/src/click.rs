//! Links that record a click and lead on to a notification's action: signed, for one person and one notification.
//!
//! A link needs no token, so it does nothing else, and leads nowhere but to the action. Its key is made from the server's
//! secret for this purpose alone: a link is never a token, and a token never a link.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_engine::access::Scope;
use tidings_engine::{Identity, NotificationId, Position, Tenant, UserId, UserKey};

use crate::inbox::parse_id;
use crate::openapi::Section;
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{Api, AtLeast, Caller, Context, answer};

/// What the key of links is made for.
const PURPOSE: &[u8] = b"tidings: links that record a click, version 1";
/// Bytes of a link's signed part at most: a tenant, a user and an id, generously.
const LINK_BYTES: usize = 1_024;

/// Makes links and tells whose they are.
pub(crate) struct Links {
    signing: EncodingKey,
    verifying: DecodingKey,
}

/// What a link says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    #[serde(rename = "t")]
    tenant: Tenant,
    #[serde(rename = "u")]
    user: UserId,
    #[serde(rename = "n")]
    notification: NotificationId,
}

impl Links {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let derived =
            jsonwebtoken::crypto::sign(PURPOSE, &EncodingKey::from_secret(secret), Algorithm::HS256);
        let key = derived.unwrap_or_else(|error| unreachable!("an HMAC takes every key: {error}"));
        let key = key.as_bytes();
        Self { signing: EncodingKey::from_secret(key), verifying: DecodingKey::from_secret(key) }
    }

    fn make(&self, key: UserKey, notification: NotificationId) -> Result<String, Problem> {
        let UserKey { tenant, user } = key;
        let claims = Claims { tenant, user, notification };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(|_| Problem::from(tidings_engine::Error::Internal))
    }

    fn read(&self, link: &str) -> Option<(UserKey, NotificationId)> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false; // a mail may be opened late
        let claims = (link.len() <= LINK_BYTES)
            .then(|| jsonwebtoken::decode::<Claims>(link, &self.verifying, &validation).ok())??;
        let Claims { tenant, user, notification } = claims.claims;
        Some((UserKey { tenant, user }, notification))
    }
}

pub(crate) fn api() -> Api {
    Api::new()
        .on(
            Section::Inbox
                .get("/v1/click/{link}", "followLink", "Record a click and lead on to the action")
                .says("For whoever has the link: it needs no token, and does nothing else.")
                .segment::<String>("link", "eyJ0eXAiOiJKV1Qi", "The end of the link.")
                .answers_nothing(StatusCode::SEE_OTHER, "Leads to the action.")
                .with_header("Location", "The action's URL.", json!({ "type": "string" }))
                .may_be([404, 500, 503])
                .writes(),
            follow,
        )
        .on(
            Section::Inbox
                .get("/v1/inbox/{id}/link", "getOwnLink", "A link that records the click")
                .needs("user")
                .at_least()
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .answers::<Link>(StatusCode::OK, "The link.")
                .may_be([404]),
            own_link,
        )
        .on(
            Section::Publishing
                .get("/v1/notifications/{id}/link", "getLink", "A link that records somebody's click")
                .says("For the service that sends it on, such as by mail.")
                .needs("publish")
                .at_least()
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .query::<UserId>("user", "Whose link it is.")
                .required()
                .like(json!("ada"))
                .answers::<Link>(StatusCode::OK, "The link.")
                .may_be([404])
                .writes(),
            link_for,
        )
}

async fn follow(
    State(context): State<Context>,
    Segments(link): Segments<String>,
) -> Result<Response, Problem> {
    let (key, id) = context.tokens.with_links(|links| links.read(&link)).ok_or_else(Problem::no_such_link)?;
    let url = context.engine.follow(&key, id).await?;
    let location = location(&url, context.action_base().as_ref());
    let location =
        HeaderValue::from_str(&location).map_err(|_| Problem::from(tidings_engine::Error::Internal))?;
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")), // each click comes here
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")), // the link is its holder's
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// An action's URL, as a header may hold it. A path is one of the application.
fn location(url: &str, action_base: Option<&Arc<str>>) -> String {
    let base = action_base.filter(|_| url.starts_with('/')).map_or("", |base| base);
    format!("{base}{}", utf8_percent_encode(url, CONTROLS))
}

/// A link that records a click.
#[derive(Serialize, JsonSchema)]
struct Link {
    /// Its path on this server.
    link: String,
}

async fn own_link(
    State(context): State<Context>,
    Caller(identity): Caller,
    AtLeast(at_least): AtLeast,
    Segments(id): Segments<String>,
) -> Result<Response, Problem> {
    link(&context, &identity, parse_id(&id)?, at_least).await
}

async fn link_for(
    State(context): State<Context>,
    Caller(identity): Caller,
    AtLeast(at_least): AtLeast,
    Segments(id): Segments<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    identity.require(Scope::Publish)?;
    let user = params.take::<UserId>("user")?;
    params.finish()?;
    let user = user.ok_or_else(|| Problem::field("user", "expected the user whose link it is"))?;
    let person = Identity::person(identity.tenant.clone(), user);
    link(&context, &person, parse_id(&id)?, at_least).await
}

/// The link of somebody whose notification it is.
async fn link(
    context: &Context,
    person: &Identity,
    id: NotificationId,
    at_least: Position,
) -> Result<Response, Problem> {
    context.engine.notification(person, id, at_least).await?;
    let key = person.key()?;
    let link = format!("/v1/click/{}", context.tokens.with_links(|links| links.make(key, id))?);
    Ok(answer(StatusCode::OK, context.engine.log().head(), &Link { link }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Grant, Tokens, mint};
    use std::time::Duration;
    use tidings_config::TokenSettings;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn a_link_is_of_one_person_and_one_notification_and_nothing_else_is_one() {
        let key = UserKey { tenant: Tenant::default(), user: UserId::new("ada").unwrap() };
        let (links, id) = (Links::new(SECRET), NotificationId::now());
        let link = links.make(key.clone(), id).unwrap();
        assert_eq!(links.read(&link), Some((key, id)));
        let other =
            Links::new(b"another secret of sufficient length!").make(links.read(&link).unwrap().0, id);
        let token =
            mint(&TokenSettings::default(), SECRET, &Grant::default(), Duration::from_secs(60)).unwrap();
        // With the secret itself instead of the key that is made of it.
        let claims = serde_json::json!({ "t": "default", "u": "ada", "n": id });
        let by_secret =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET));
        let cut = link[..link.len() - 1].to_owned();
        for bad in [other.unwrap(), token, by_secret.unwrap(), cut, String::new(), "x".repeat(5_000)] {
            assert_eq!(links.read(&bad), None, "{bad}");
        }
        let tokens = Tokens::new(&TokenSettings::default(), SECRET).unwrap();
        assert!(tokens.verify(&link).is_err(), "a link is no token");
    }

    #[test]
    fn a_path_is_of_the_application_and_everything_else_stays() {
        let base = Some(Arc::from("https://app.example"));
        for (url, base, expected) in [
            ("/bookings/17", None, "/bookings/17"),
            ("/bookings/17?a=b#c", base.as_ref(), "https://app.example/bookings/17?a=b#c"),
            ("https://x.example/%20", base.as_ref(), "https://x.example/%20"),
            ("/b\u{fc}cher", None, "/b%C3%BCcher"),
        ] {
            assert_eq!(location(url, base), expected);
        }
    }
}
