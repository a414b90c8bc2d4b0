//! What changed on which connections, gathered into facts. Nothing is gathered of a connection on which nothing changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::meters::Meters;
use super::track::Track;
use crate::event::{Connected, Fact, Numbers, Progress, Reached};
use crate::names::Tenant;
use crate::position::Position;

/// Connections in one event at most: an event is read and decoded in one piece.
const CONNECTIONS_PER_EVENT: usize = 10_000;

/// Connections on which something changed.
#[derive(Debug)]
pub(crate) struct Reports {
    /// Where this server was started.
    pub(crate) run: Position,
    changed: Mutex<Vec<Arc<Track>>>,
    /// Numbers given so far.
    numbered: AtomicU32,
    pub(super) meters: Meters,
    /// One record at a time: a connection is introduced before it is referred to.
    pub(super) turn: tokio::sync::Semaphore,
    /// What the log was too busy to take.
    returned: Mutex<Vec<(Tenant, Fact)>>,
}

impl Reports {
    pub(crate) fn of(run: Position) -> Self {
        let (changed, returned) = (Mutex::default(), Mutex::default());
        let (numbered, turn) = (AtomicU32::new(0), tokio::sync::Semaphore::new(1));
        Self { run, changed, numbered, meters: Meters::default(), turn, returned }
    }

    pub(super) fn add(&self, track: Arc<Track>) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).push(track);
    }

    /// What changed since the last time, of each tenant.
    pub(super) fn take(&self) -> Vec<(Tenant, Fact)> {
        let mut facts = std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner));
        let changed = std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
        let mut by_tenant: HashMap<Tenant, Vec<Arc<Track>>> = HashMap::new();
        for track in changed {
            by_tenant.entry(track.beginning.key.tenant.clone()).or_default().push(track);
        }
        let mut counts = self.meters.take();
        for (tenant, tracks) in by_tenant {
            let mut counts = counts.remove(&tenant);
            for some in tracks.chunks(CONNECTIONS_PER_EVENT) {
                let mut progress = self.progress(some);
                progress.counts = counts.take().unwrap_or_default();
                facts.push((tenant.clone(), Fact::Progress(Box::new(progress))));
            }
        }
        // Counted on connections of which nothing else is new.
        for (tenant, counts) in counts {
            let progress = Progress { counts, ..self.progress(&[]) };
            facts.push((tenant, Fact::Progress(Box::new(progress))));
        }
        facts
    }

    /// Takes back what was not recorded.
    pub(super) fn give_back(&self, facts: Vec<(Tenant, Fact)>) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).extend(facts);
    }

    fn progress(&self, tracks: &[Arc<Track>]) -> Progress {
        let mut connections = Vec::new();
        let mut reached: BTreeMap<(Position, Position), Numbers> = BTreeMap::new();
        for track in tracks {
            let mut number = track.number.load(Ordering::Relaxed);
            if number == 0 {
                number = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
                track.number.store(number, Ordering::Relaxed);
                connections.push(connected(number, track));
            }
            reached.entry(track.take()).or_default().0.insert(number);
        }
        let reached = reached.into_iter().map(|((sent, acknowledged), connections)| Reached {
            sent,
            acknowledged,
            connections,
        });
        Progress { run: self.run, connections, reached: reached.collect(), counts: Vec::new() }
    }
}

fn connected(number: u32, track: &Track) -> Connected {
    let beginning = &track.beginning;
    Connected {
        number,
        user: beginning.key.user.clone(),
        device: beginning.device.clone(),
        transport: beginning.transport.into(),
        from: beginning.from,
        began: beginning.began,
        had: beginning.had,
    }
}
