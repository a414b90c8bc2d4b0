//! What the benchmarks have in common: an engine in a directory of its own, and something to publish.

pub mod comparison;
pub mod fences;

use std::sync::Arc;

use tempfile::TempDir;
use tidings_engine::event::Event;
use tidings_engine::{Audience, Channel, Draft, Engine, Identity, Options, Publication, Tenant, UserId};
use tokio::runtime::Runtime;

/// An engine, and the runtime it lives on.
pub struct Bench {
    /// The runtime.
    pub runtime: Runtime,
    /// The engine.
    pub engine: Engine,
    /// Where its files are; gone when this is dropped.
    pub directory: TempDir,
}

impl Bench {
    /// Starts an engine.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let engine = runtime.block_on(Engine::start(Options::new(directory.path()))).expect("an engine");
        Self { runtime, engine, directory }
    }

    /// Publishes drafts in batches of a hundred.
    ///
    /// # Panics
    /// When they are refused.
    pub fn publish(&self, drafts: impl IntoIterator<Item = Draft>) {
        let publications: Vec<Publication> = drafts.into_iter().map(Publication::from).collect();
        let service = service();
        for batch in publications.chunks(100) {
            let published = self.engine.publish_all(&service, batch.to_vec());
            let results = self.runtime.block_on(published).expect("a batch is accepted");
            assert!(results.iter().all(Result::is_ok));
        }
    }

    /// The last event of the log.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn last_event(&self) -> Arc<Event> {
        let log = self.engine.log();
        let mut tail = log.tail(tidings_engine::Position(log.head().0 - 1));
        let events = self.runtime.block_on(tail.next()).expect("the log is read");
        events.last().expect("an event").clone()
    }
}

/// A service that may publish.
#[must_use]
pub fn service() -> Identity {
    Identity::service(Tenant::default())
}

/// A user.
///
/// # Panics
/// Never: the name is sound.
#[must_use]
pub fn user(number: usize) -> UserId {
    UserId::new(&format!("user-{number}")).expect("a user")
}

/// A notification of about 180 bytes.
#[must_use]
pub fn draft(audience: Audience) -> Draft {
    let mut draft = Draft::new("booking.created".parse().expect("a type"), audience);
    draft.title = "New booking".to_owned();
    draft.body = "x".repeat(100);
    draft
}

/// To one user.
#[must_use]
pub fn unicast(number: usize) -> Draft {
    draft(Audience::of_users([user(number)]))
}

/// To everyone.
#[must_use]
pub fn broadcast() -> Draft {
    draft(Audience::of_channels([Channel::everyone()]))
}
