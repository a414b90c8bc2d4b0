//! How far one connection has come. Whoever writes to it and reads from it notes it here, for next to nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::{SmallVec, smallvec};

use super::meters::{Meter, Meters};
use super::report::Reports;
use crate::delivery::{Delivery, Message, Parcel};
use crate::names::{DeviceName, UserKey};
use crate::position::Position;

/// Parcels remembered until they are acknowledged, by a device that does acknowledge: seconds of a busy channel. Those beyond
/// are missing in the stats; what a device has is not affected.
const UNACKNOWLEDGED_MOST: usize = 512;
/// The same, by a device that never has: most never will, and there are many of them.
const UNACKNOWLEDGED_AT_FIRST: usize = 32;

/// Whose connection it is, and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) key: UserKey,
    pub(crate) device: DeviceName,
    pub(crate) transport: &'static str,
    /// It gets what came after this.
    pub(crate) from: Position,
    /// How far the log was when it connected.
    pub(crate) began: Position,
    /// What the device had when it came back.
    pub(crate) had: Option<Position>,
    /// Whether the client gave the device its name, so that it may come back under it.
    pub(crate) is_named: bool,
}

/// How far a connection has come.
#[derive(Debug)]
pub(crate) struct Track {
    pub(super) beginning: Beginning,
    /// What it is called in the log; 0 as long as it is not there.
    pub(super) number: AtomicU32,
    /// The place of its transport in a meter.
    slot: usize,
    place: Mutex<Place>,
    is_changed: AtomicBool,
    reports: Arc<Reports>,
}

/// Everything of the device's own after where it began was sent up to, and acknowledged up to.
#[derive(Debug)]
struct Place {
    sent: Position,
    acknowledged: Position,
    unacknowledged: VecDeque<Arc<Noted>>,
    has_acknowledged: bool,
}

/// What is counted of a parcel: made once for all who get it.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Of its last notification.
    last: Position,
    runs: Vec<Run>,
}

/// Notifications of one kind, recorded in one moment, in one parcel.
#[derive(Debug)]
struct Run {
    meter: Arc<Meter>,
    recorded_at: i64,
    positions: SmallVec<[Position; 4]>,
}

impl Noted {
    /// Of the messages of a parcel; `None` when no notification is among them.
    pub(crate) fn of(deliveries: &[Arc<Delivery>], meters: &Meters) -> Option<Arc<Self>> {
        let mut runs: Vec<Run> = Vec::new();
        let mut last = Position(0);
        for delivery in deliveries {
            let Message::Notification { event, .. } = delivery.message() else { continue };
            let Some(meter) = delivery.meter(meters) else { continue };
            last = last.max(event.position);
            let recorded_at = event.recorded_at.as_millisecond();
            match runs.last_mut() {
                Some(run) if Arc::ptr_eq(&run.meter, meter) && run.recorded_at == recorded_at => {
                    run.positions.push(event.position);
                }
                _ => {
                    let positions = smallvec![event.position];
                    runs.push(Run { meter: meter.clone(), recorded_at, positions });
                }
            }
        }
        (!runs.is_empty()).then(|| Arc::new(Self { last, runs }))
    }
}

impl Run {
    /// How many of it are after a position, up to another.
    fn between(&self, after: Position, up_to: Position) -> usize {
        let until = |position: Position| self.positions.partition_point(|other| *other <= position);
        until(up_to).saturating_sub(until(after))
    }
}

impl Track {
    pub(crate) fn begin(reports: Arc<Reports>, beginning: Beginning) -> Arc<Self> {
        let place = Place {
            sent: beginning.from,
            acknowledged: beginning.from,
            unacknowledged: VecDeque::new(),
            has_acknowledged: beginning.had.is_some(),
        };
        let track = Arc::new(Self {
            number: AtomicU32::new(0),
            slot: reports.meters.transport(beginning.transport),
            place: Mutex::new(place),
            is_changed: AtomicBool::new(false),
            beginning,
            reports,
        });
        // That it came back is an acknowledgement; that it began anew limits what a later one says.
        if track.beginning.is_named {
            track.report();
        }
        track
    }

    /// Notes that a parcel was written, at a time in milliseconds since 1970.
    pub(crate) fn sent(self: &Arc<Self>, parcel: &Parcel, now_ms: i64) {
        let Some(noted) = parcel.noted(&self.reports.meters) else { return };
        for run in &noted.runs {
            run.meter.sent(self.slot, now_ms - run.recorded_at, run.positions.len() as u32);
        }
        let mut place = self.place();
        let most = if place.has_acknowledged { UNACKNOWLEDGED_MOST } else { UNACKNOWLEDGED_AT_FIRST };
        if place.unacknowledged.len() >= most {
            place.unacknowledged.pop_front();
        }
        place.unacknowledged.push_back(noted.clone());
        let has_moved = noted.last > place.sent;
        place.sent = place.sent.max(noted.last);
        drop(place);
        if has_moved {
            self.report();
        }
    }

    /// Notes that the device has everything up to a position. Only what was sent counts.
    pub(crate) fn acknowledge(self: &Arc<Self>, up_to: Position) {
        let mut place = self.place();
        place.has_acknowledged = true;
        let (after, up_to) = (place.acknowledged, up_to.min(place.sent));
        let has_moved = up_to > after;
        if has_moved {
            while let Some(noted) = place.unacknowledged.front() {
                for run in &noted.runs {
                    run.meter.delivered(self.slot, run.between(after, up_to) as u32);
                }
                if noted.last > up_to {
                    break;
                }
                place.unacknowledged.pop_front();
            }
            place.acknowledged = up_to;
        }
        drop(place);
        if has_moved {
            self.report();
        }
    }

    /// How far it has come, to be recorded now: what was sent, and what acknowledged. 0 where that is nothing, so that
    /// all who have acknowledged nothing are at the same place.
    pub(super) fn take(&self) -> (Position, Position) {
        self.is_changed.store(false, Ordering::Release); // first: what comes from now on is for the next time
        let place = self.place();
        let acknowledged = Some(place.acknowledged).filter(|position| *position > self.beginning.from);
        (place.sent, acknowledged.unwrap_or_default())
    }

    fn report(self: &Arc<Self>) {
        if !self.is_changed.swap(true, Ordering::AcqRel) {
            self.reports.add(self.clone());
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
