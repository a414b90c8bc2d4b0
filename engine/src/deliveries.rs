//! Delivery status: what became of each notification on each device.
//!
//! What is written to a device and what it acknowledges is noted in memory as it happens, and once in a while what
//! changed becomes one `Progress` event a tenant. Never delays a delivery, and is told to nobody.

mod connections;
mod explain;
mod fold;
mod found;
mod held;
mod intervals;
mod kinds;
mod lanes;
mod membership;
mod meters;
mod person;
mod query;
mod reading;
mod report;
mod retraction;
mod snoozes;
mod status;
mod times;
mod track;
mod view;

pub use explain::{Explanation, InInbox, Span};
pub(crate) use fold::State;
pub(crate) use meters::{Meter, Meters, OTHER};
pub(crate) use report::Reports;
pub use status::{
    Deliveries, DeliveriesQuery, DeviceDelivery, DropReason, PersonDelivery, Rule, Status, Totals,
};
pub(crate) use track::{Beginning, Noted, Track};
pub use view::DeliveriesError;
pub(crate) use view::{
    DeliveryView, build as build_deliveries, checkpoint as deliveries_checkpoint, path_in as deliveries_path,
};

use crate::engine::Engine;
use crate::error::Error;
use crate::event::{EntryRef, Fact};
use crate::log::{Append, LogError};
use crate::names::{Tenant, UserKey};

impl Engine {
    /// Those of a person's notifications that they have not clicked yet. When that cannot be told, all of them: clicked
    /// twice counts once.
    pub(crate) async fn not_clicked(&self, key: &UserKey, entries: Vec<EntryRef>) -> Vec<EntryRef> {
        let (key, all) = (key.clone(), entries.clone());
        let asked = self.delivery_view().ask(move |state| {
            let Some(person) = state.find_id(&key)? else { return Ok(entries) };
            let mut fresh = Vec::new();
            for entry in entries {
                if !state.has_clicked(person, &entry.id)? {
                    fresh.push(entry);
                }
            }
            Ok(fresh)
        });
        asked.await.unwrap_or(all)
    }

    /// Records how far devices have come since this was last done: what is otherwise done once in a while. Writes nothing
    /// when nothing changed.
    ///
    /// # Errors
    /// When the log does not take it; what it did not take is tried again the next time.
    pub async fn record_progress(&self) -> Result<(), LogError> {
        // On a task, so that nothing that was taken is lost when whoever asks goes away meanwhile.
        let engine = self.clone();
        self.recording().spawn(async move { engine.record_taken().await }).await.unwrap_or(Ok(()))
    }

    /// Records what is known at this moment, for an answer to hold it; without room for it, the answer holds what was known
    /// a moment ago.
    pub(crate) async fn settle_progress(&self) -> Result<(), Error> {
        match self.record_progress().await {
            Ok(()) | Err(LogError::Busy | LogError::Full) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn record_taken(&self) -> Result<(), LogError> {
        let Some(reports) = self.reports() else { return Ok(()) };
        let _turn = reports.turn.acquire().await; // never closed
        let facts = reports.take();
        if facts.is_empty() {
            return Ok(());
        }
        let append = |(tenant, fact): &(Tenant, Fact)| Append {
            tenant: tenant.clone(),
            key: None,
            facts: vec![fact.clone()],
        };
        match self.log().append(facts.iter().map(append).collect()).await {
            Err(error @ (LogError::Busy | LogError::Full)) => {
                reports.give_back(facts);
                Err(error)
            }
            done => done.map(drop),
        }
    }
}
