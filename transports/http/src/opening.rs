//! How a connection that gets live messages wishes to begin, from the parameters of its address. WebSocket and SSE have
//! the same, and the same ways to show who one is.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::json;
use tidings_engine::{Channel, Cursor, DeviceName, Opening, Resume, limits};

use crate::api_key;
use crate::openapi::Operation;
use crate::params::Params;
use crate::problem::Problem;
use crate::token::Verified;
use crate::{Context, bearer};

/// The wishes of a connection: `?ticket=…&device=…&cursor=…&limit=…&watch=…&watch=…`.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Its token, for those who cannot set headers.
    token: Option<String>,
    /// Or, rather, a ticket.
    ticket: Option<String>,
    /// What the client calls the device it runs on.
    pub device: Option<DeviceName>,
    /// The last cursor that the device got.
    pub cursor: Option<Cursor>,
    /// How much it may have missed: beyond that it would rather load its inbox.
    pub limit: Option<usize>,
    /// Channels to watch from the start.
    pub watches: Vec<Channel>,
}

impl Wishes {
    /// Who wishes it: by the `Authorization` header, else by a ticket, else by a token in the address. `None` when there is
    /// none of these. The request counts.
    ///
    /// # Errors
    /// [`Problem::unauthorized`], [`Problem::too_many`].
    pub async fn shown(
        &mut self,
        context: &Context,
        headers: &HeaderMap,
    ) -> Result<Option<Verified>, Problem> {
        let (token, ticket) = (self.token.take(), self.ticket.take());
        let shown = match (bearer(headers), ticket, token) {
            (Some(token), _, _) => context.tokens.verify(token)?,
            (None, Some(ticket), _) => context.tokens.redeem(&ticket)?,
            (None, None, Some(token)) => context.tokens.verify(&token)?,
            (None, None, None) => return Ok(None),
        };
        context.limits.request(&shown.identity).await?;
        Ok(Some(shown))
    }

    /// The opening of a subscription over a transport.
    #[must_use]
    pub fn opening(self, transport: &'static str) -> Opening {
        let most = self.limit.unwrap_or(limits::MISSED_DEFAULT);
        let resume = self.cursor.map(|cursor| Resume { cursor, most });
        Opening { transport, device: self.device, watches: self.watches, resume, ready: None }
    }
}

impl Operation {
    /// Takes the parameters of a connection that gets live messages.
    #[must_use]
    pub fn opens_a_connection(self) -> Self {
        let most = limits::WATCHES_PER_SUBSCRIBER;
        let channel = json!({ "$ref": "#/components/schemas/Channel" });
        let watches = json!({ "type": "array", "items": channel, "maxItems": most });
        let limit =
            "How much it may have missed: beyond that it would rather load its inbox. 1,000 without it.";
        self.query::<DeviceName>("device", "What the client calls the device it runs on.")
            .query::<Cursor>("cursor", "The last cursor that the device got.")
            .number("limit", 0, limits::MISSED_MOST as u64, limit)
            .query_like("watch", watches, "A channel to watch from the start; may be repeated.")
    }
}

impl FromRequestParts<Context> for Wishes {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let mut params = Params::from_request_parts(parts, context).await?;
        let token: Option<String> = params.take("token")?;
        // A key lasts, and addresses are written down wherever they pass.
        if token.as_ref().is_some_and(|token| token.starts_with(api_key::PREFIX)) {
            return Err(Problem::unauthorized());
        }
        let ticket = params.take("ticket")?;
        let device = params.take("device")?;
        let cursor = params.take("cursor")?;
        let limit = params.take_number("limit", 0, limits::MISSED_MOST as u64)?.map(|limit| limit as usize);
        let mut watches = Vec::new();
        while let Some(channel) = params.take("watch")? {
            watches.push(channel);
        }
        let most = limits::WATCHES_PER_SUBSCRIBER;
        if watches.len() > most {
            return Err(Problem::field("watch", format!("expected at most {most} channels")));
        }
        params.finish()?;
        Ok(Self { token, ticket, device, cursor, limit, watches })
    }
}
