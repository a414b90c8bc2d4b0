//! Counters of what is sent and acknowledged, by type, channel and transport. Bounded; read and set to zero once in a
//! while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{LATENCIES_MS, Metered, Published};
use crate::names::{NotificationType, Tenant};

/// Kinds of notifications told apart between two readings, of all tenants: those beyond are counted together.
const METERS_MOST: usize = 1_000;
/// Transports told apart; those beyond are counted with the last.
const TRANSPORTS_MOST: usize = 8;
/// One bucket for each bound, and one for what took longer.
const BUCKETS: usize = LATENCIES_MS.len() + 1;
/// The name of what is counted together.
pub(crate) const OTHER: &str = "other";

/// Counters of one kind of notifications.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: [[AtomicU32; BUCKETS]; TRANSPORTS_MOST],
    delivered: [AtomicU32; TRANSPORTS_MOST],
}

impl Meter {
    pub(super) fn sent(&self, transport: usize, latency_ms: i64, count: u32) {
        let bucket = LATENCIES_MS.partition_point(|bound| i64::from(*bound) < latency_ms);
        self.sent[transport][bucket].fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self, transport: usize, count: u32) {
        self.delivered[transport].fetch_add(count, Ordering::Relaxed);
    }
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    tenant: Tenant,
    kind: NotificationType,
    channel: Arc<str>,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    by_kind: Mutex<HashMap<Kind, Arc<Meter>>>,
    transports: Mutex<Vec<&'static str>>,
}

impl Meters {
    /// The place of a transport in every meter.
    pub(super) fn transport(&self, name: &'static str) -> usize {
        let mut transports = locked(&self.transports);
        let found = transports.iter().position(|known| *known == name);
        found.unwrap_or_else(|| {
            if transports.len() < TRANSPORTS_MOST {
                transports.push(name);
            }
            transports.len() - 1
        })
    }

    /// The counters for a notification.
    pub(crate) fn meter(&self, tenant: &Tenant, published: &Published) -> Arc<Meter> {
        let mut by_kind = locked(&self.by_kind);
        let (kind, channel) = (published.notification.kind.clone(), published.audience.label());
        let mut kind = Kind { tenant: tenant.clone(), kind, channel };
        if by_kind.len() >= METERS_MOST && !by_kind.contains_key(&kind) {
            kind.kind = NotificationType::stored(OTHER);
            kind.channel = OTHER.into();
        }
        by_kind.entry(kind).or_default().clone()
    }

    /// What was counted since the last time, by tenant. Meters that nobody uses any more are let go.
    pub(super) fn take(&self) -> HashMap<Tenant, Vec<Metered>> {
        let mut taken: HashMap<Tenant, Vec<Metered>> = HashMap::new();
        let transports = locked(&self.transports).clone();
        locked(&self.by_kind).retain(|kind, meter| {
            // Once nobody else holds it, nobody can count on it any more: it is read for the last time.
            let is_used = Arc::strong_count(meter) > 1;
            for (slot, transport) in transports.iter().enumerate() {
                if let Some(metered) = zeroed(kind, meter, slot, transport) {
                    taken.entry(kind.tenant.clone()).or_default().push(metered);
                }
            }
            is_used
        });
        for counts in taken.values_mut() {
            counts.sort_by(|a, b| {
                (&a.kind, &a.channel, &a.transport).cmp(&(&b.kind, &b.channel, &b.transport))
            });
        }
        taken
    }
}

/// What a meter has counted over a transport, if anything. It begins anew.
fn zeroed(kind: &Kind, meter: &Meter, slot: usize, transport: &'static str) -> Option<Metered> {
    let zero = |counter: &AtomicU32| counter.swap(0, Ordering::Relaxed);
    let mut sent: Vec<u32> = meter.sent[slot].iter().map(zero).collect();
    let delivered = zero(&meter.delivered[slot]);
    if sent.iter().all(|count| *count == 0) {
        sent.clear();
    }
    let Kind { kind, channel, .. } = kind.clone();
    let is_something = !sent.is_empty() || delivered > 0;
    is_something.then(|| Metered { kind, channel, transport: transport.into(), sent, delivered })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
