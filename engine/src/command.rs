//! Commands: what people and services ask the engine to do. Each is checked, becomes events, and is answered when these
//! are durable.

mod change;
mod click;
mod mark;
mod membership;
mod publish;

pub use change::{Pending, PendingPage, PendingPlace, Revision};
pub use mark::UpTo;
pub use membership::MembersChange;
pub use publish::Receipt;
#[cfg(test)]
pub(crate) use publish::published;

use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::Engine;
use crate::error::Error;
use crate::event::Fact;
use crate::log::{Append, Appended};
use crate::names::Tenant;
use crate::position::Position;

/// What a command that changed a state is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// The change is visible to every query that asks for at least this position.
    pub position: Position,
}

impl Engine {
    /// Appends the facts of one command.
    async fn record(&self, tenant: &Tenant, facts: Vec<Fact>) -> Result<Done, Error> {
        let append = Append { tenant: tenant.clone(), key: None, facts };
        let appended = self.log().append(vec![append]).await?;
        match appended.first() {
            Some(Appended::Events(events)) => {
                let last = events.last().map_or(self.log().head(), |event| event.position);
                Ok(Done { position: last })
            }
            // Without a key there is nothing to be a duplicate of.
            _ => Err(Error::Internal),
        }
    }
}
