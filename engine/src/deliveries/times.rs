//! When devices came past a notification: looked up in the records of their progress, which are in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::params;

use super::fold::State;
use super::found::{Found, Line};
use super::query::Question;
use super::status::{DeviceDelivery, PersonDelivery, Status};
use crate::event::{Event, Fact};
use crate::names::{DeviceName, UserId};
use crate::position::Position;

/// Records of progress looked at to find out when a connection came past a notification; where that is not enough, the
/// time is left out.
const PROGRESS_LOOKED_AT: usize = 32;

impl State<'_> {
    /// The records of progress that may tell when connections came past a position.
    pub(super) fn records(&self, question: &Question, found: &[Found]) -> rusqlite::Result<Vec<Position>> {
        let position = question.position;
        let after = |line: &Line| position.max(Position(line.first.0.saturating_sub(1)));
        let starts: BTreeSet<Position> =
            found.iter().flat_map(|found| found.lines.iter().map(after)).collect();
        let mut records: BTreeSet<Position> = BTreeSet::new();
        for start in starts {
            let sql = "SELECT position FROM progress WHERE tenant = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
            let mut statement = self.connection.prepare_cached(sql)?;
            let arguments = params![question.tenant.as_str(), start.sql(), PROGRESS_LOOKED_AT as i64];
            for record in statement.query_map(arguments, |row| row.get(0).map(Position::from_sql))? {
                records.insert(record?);
            }
        }
        Ok(records.into_iter().collect())
    }
}

/// What became of a notification for a person, with the times that the records tell.
pub(super) fn timed(found: Found, position: Position, records: &[Arc<Event>]) -> PersonDelivery {
    let Found { mut delivery, lines, retraction } = found;
    let mut devices: BTreeMap<DeviceName, DeviceDelivery> = BTreeMap::new();
    let covers = |line: &&Line| line.covers.0 < position.0 && position.0 <= line.covers.1;
    for line in lines.iter().filter(covers) {
        let delivered = line.acknowledged >= position;
        let sent_at = first_record(records, |event| is_past(event, line, position, false));
        let delivered_at = if delivered {
            first_record(records, |event| {
                is_past(event, line, position, true) || has_come_back(event, &delivery.user, line, position)
            })
        } else {
            None
        };
        let device = devices.entry(line.device.clone()).or_insert_with(|| DeviceDelivery {
            device: line.device.clone(),
            transport: line.transport.clone(),
            sent_at,
            delivered: false,
            delivered_at: None,
        });
        device.delivered |= delivered;
        device.delivered_at = device.delivered_at.or(delivered_at);
    }
    delivery.devices = devices.into_values().collect();
    let furthest =
        delivery.devices.iter().map(|device| if device.delivered { Status::Delivered } else { Status::Sent });
    if let Some(furthest) = furthest.max()
        && delivery.rule.is_some()
    {
        delivery.status = delivery.status.max(furthest);
    }
    delivery.retracted_at = retraction.and_then(|retraction| retraction.at);
    let was_taken = delivery.rule.is_some() && delivery.devices.is_empty();
    if let Some(retraction) = retraction.filter(|_| was_taken) {
        delivery.reason = Some(retraction.reason);
        if delivery.status == Status::Routed {
            delivery.status = Status::Dropped; // without a device it may have been read over HTTP all the same
        }
    }
    delivery
}

fn first_record(records: &[Arc<Event>], tells: impl Fn(&Event) -> bool) -> Option<Timestamp> {
    records.iter().find(|event| tells(event)).map(|event| event.recorded_at)
}

/// Whether a record says that a connection came past a position.
fn is_past(event: &Event, line: &Line, position: Position, acknowledged: bool) -> bool {
    let Fact::Progress(progress) = &event.fact else { return false };
    progress.run == line.run
        && progress.reached.iter().any(|reached| {
            let place = if acknowledged { reached.acknowledged } else { reached.sent };
            place >= position && reached.connections.0.contains(line.number)
        })
}

/// Whether a record says that the device came back and had it.
fn has_come_back(event: &Event, user: &UserId, line: &Line, position: Position) -> bool {
    let Fact::Progress(progress) = &event.fact else { return false };
    event.position >= line.first
        && progress.connections.iter().any(|connected| {
            connected.user == *user
                && connected.device == line.device
                && connected.had.is_some_and(|had| had >= position)
        })
}
