//! Looks whether a log is what a store has written: positions, offsets, keys, checksums. Reads in pieces, so that a server
//! may go on appending; never mends.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Row, Rows, params};

use super::{said, stored_event};
use crate::check::Findings;
use crate::event::{Event, codec};
use crate::progress::{Progress, Report};
use crate::sqlite::Connection;
use crate::store::StoreError;

/// Events looked at in one read.
const EVENTS_AT_ONCE: i64 = 2_000;

/// What is to be known of a log beside what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Inspected {
    pub(crate) events: u64,
    /// Written before there were checksums.
    pub(crate) without_checksum: u64,
    /// Notifications whose content is not there.
    pub(crate) erased: u64,
}

/// Looks at everything up to the head there is now. What cannot be read is a finding, too.
pub(crate) fn inspect(
    connection: &Connection,
    findings: &mut Findings,
    report: Report<'_>,
) -> Result<Inspected, StoreError> {
    let sql = "SELECT position, min(indexed, position) FROM head";
    let (head, indexed) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut inspected = Inspected::default();
    report(Progress { doing: "checking the log's file", done: 0, of: 1 });
    attempt(findings, "log.db", |findings| integrity(connection, "log.db", findings));
    attempt(findings, "events", |findings| {
        events(connection, (head, indexed), &mut inspected, findings, report)
    });
    report(Progress { doing: "checking streams and keys", done: 0, of: 1 });
    attempt(findings, "streams", |findings| streams(connection, findings));
    attempt(findings, "entries", |findings| order(connection, findings));
    attempt(findings, "keys", |findings| keys(connection, findings));
    attempt(findings, "payloads", |findings| payloads(connection, findings));
    attempt(findings, "epochs", |findings| epochs(connection, findings));
    Ok(inspected)
}

/// What cannot be read is a finding, and no reason not to look further.
fn attempt(
    findings: &mut Findings,
    place: &str,
    look: impl FnOnce(&mut Findings) -> Result<(), rusqlite::Error>,
) {
    if let Err(error) = look(findings) {
        findings.add(place, format!("it cannot be read: {error}"));
    }
}

/// What SQLite itself finds wrong with a file.
pub(crate) fn integrity(
    connection: &Connection,
    file: &str,
    findings: &mut Findings,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let wrong: String = row.get(0)?;
        if wrong != "ok" {
            findings.add(file, wrong);
        }
    }
    Ok(())
}

fn events(
    connection: &Connection,
    (head, indexed): (i64, i64),
    inspected: &mut Inspected,
    findings: &mut Findings,
    report: Report<'_>,
) -> Result<(), rusqlite::Error> {
    let (mut last, mut entries, mut has_checksums) = (0, 0, false);
    let mut index = Index { indexed, beyond: HashMap::new() };
    while last < head {
        let mut statement = connection.prepare_cached(include_str!("read_events.sql"))?;
        let mut rows = statement.query([last, EVENTS_AT_ONCE.min(head - last)])?;
        let before = last;
        while let Some(row) = within(&mut rows, head)? {
            let position: i64 = row.get(0)?;
            if position != last + 1 {
                findings
                    .add(&format!("event {}", last + 1), format!("it is missing, up to {}", position - 1));
            }
            last = position;
            inspected.events += 1;
            entries += event(connection, row, position, &mut index, inspected, findings)?;
            let has_checksum = !matches!(row.get_ref(8)?, rusqlite::types::ValueRef::Null);
            has_checksums |= has_checksum;
            inspected.without_checksum += u64::from(!has_checksum);
            if has_checksums && !has_checksum {
                findings.add(&format!("event {position}"), "it has no checksum, though earlier ones have");
            }
        }
        report(Progress { doing: "checking events", done: last as u64, of: head as u64 });
        if last == before {
            findings.add("head", format!("it is {head}, but the events end at {last}"));
            break;
        }
    }
    let beyond: i64 = connection.query_row(
        "SELECT coalesce(max(position), 0) - (SELECT position FROM head) FROM events",
        [],
        |row| row.get(0),
    )?;
    if beyond > 0 {
        findings.add("head", format!("there are {beyond} events beyond it"));
    }
    let there: i64 =
        connection
            .query_row("SELECT count(*) FROM entries WHERE position <= ?1", [indexed], |row| row.get(0))?;
    if there != entries {
        findings.add("entries", format!("there are {there}, but the events name {entries}"));
    }
    Ok(())
}

fn within<'r, 's>(rows: &'r mut Rows<'s>, head: i64) -> Result<Option<&'r Row<'s>>, rusqlite::Error> {
    match rows.next()? {
        Some(row) if row.get::<_, i64>(0)? <= head => Ok(Some(row)),
        _ => Ok(None),
    }
}

/// The index of the streams, as far as it goes.
struct Index {
    /// It has everything up to here, and may get more meanwhile.
    indexed: i64,
    /// The last number of each stream that is in the events alone.
    beyond: HashMap<i64, i64>,
}

/// Looks at one event; how many of its entries have to be in the index.
fn event(
    connection: &Connection,
    row: &Row<'_>,
    position: i64,
    index: &mut Index,
    inspected: &mut Inspected,
    findings: &mut Findings,
) -> Result<i64, rusqlite::Error> {
    let place = format!("event {position}");
    let stored = match stored_event(row) {
        Ok(stored) => stored,
        Err(StoreError::Corrupt { reason, .. }) => {
            findings.add(&place, reason);
            return Ok(0);
        }
        Err(error) => {
            findings.add(&place, said(error));
            return Ok(0);
        }
    };
    let has_payload = stored.payload.is_some();
    match codec::decode(stored) {
        Ok(event) => {
            inspected.erased += u64::from(!has_payload && event.published().is_some());
            entries(connection, &event, &place, index, findings)?;
            Ok(if position <= index.indexed { event.entries.len() as i64 } else { 0 })
        }
        Err(error) => {
            findings.add(&place, said(error));
            Ok(0)
        }
    }
}

/// Whether an event is numbered where it says, in the streams of those it is for.
fn entries(
    connection: &Connection,
    event: &Event,
    place: &str,
    index: &mut Index,
    findings: &mut Findings,
) -> Result<(), rusqlite::Error> {
    let streams = event.fact.streams();
    if streams.len() != event.entries.len() {
        findings.add(place, format!("it has {} entries for {} streams", event.entries.len(), streams.len()));
    }
    for (entry, stream) in event.entries.iter().zip(&streams) {
        let name = (event.tenant.as_str(), stream.key());
        if !index.has(connection, (entry.stream.sql(), entry.offset.sql()), event.position.sql(), name)? {
            let wrong = format!("offset {} of stream {} is not its own", entry.offset, entry.stream);
            findings.add(place, wrong);
        }
    }
    Ok(())
}

impl Index {
    /// Whether a number of a stream is that of a position, in the index or, beyond it, as the next one.
    fn has(
        &mut self,
        connection: &Connection,
        (stream, offset): (i64, i64),
        position: i64,
        (tenant, name): (&str, String),
    ) -> Result<bool, rusqlite::Error> {
        let mut find = connection.prepare_cached(include_str!("inspect_entry.sql"))?;
        let found = find.query_row([stream, offset], |row| {
            let named = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
            Ok((named, row.get::<_, i64>(2)?, row.get::<_, Option<i64>>(3)?))
        });
        let Some(((its_tenant, its_name), head, at)) = found.optional()? else { return Ok(false) };
        let is_numbered = match at {
            Some(at) => at == position,
            None => {
                let last = self.beyond.insert(stream, offset).unwrap_or(0).max(head);
                position > self.indexed && offset == last + 1
            }
        };
        Ok(is_numbered && its_tenant == tenant && its_name == name)
    }
}

fn streams(connection: &Connection, findings: &mut Findings) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(include_str!("inspect_streams.sql"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, head, entries): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (least, most): (i64, i64) = (row.get(3)?, row.get(4)?);
        let wrong = format!("its head is {head}, but it has {entries} entries from {least} to {most}");
        findings.add(&format!("stream {id}"), wrong);
    }
    Ok(())
}

fn order(connection: &Connection, findings: &mut Findings) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(include_str!("inspect_order.sql"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (stream, offset): (i64, i64) = (row.get(0)?, row.get(1)?);
        findings
            .add(&format!("stream {stream}"), format!("offset {offset} is not later than the one before it"));
    }
    Ok(())
}

fn keys(connection: &Connection, findings: &mut Findings) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(include_str!("inspect_keys.sql"))?;
    let mut rows = statement.query(params![])?;
    while let Some(row) = rows.next()? {
        let (position, key): (i64, String) = (row.get(0)?, row.get(1)?);
        findings.add(
            &format!("key {key:?}"),
            format!("it points to {position}, which is no event of its tenant"),
        );
    }
    Ok(())
}

fn payloads(connection: &Connection, findings: &mut Findings) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(include_str!("inspect_payloads.sql"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let position: i64 = row.get(0)?;
        findings.add(&format!("payload {position}"), "it belongs to no event");
    }
    Ok(())
}

/// Looks whether all parts of the snapshots are there; what they hold is seen when a view is made of them. Apart from the rest, as
/// without them nothing is lost.
pub(crate) fn inspect_snapshots(
    connection: &Connection,
    findings: &mut Findings,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(include_str!("inspect_snapshots.sql"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (position, parts, there): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        findings.add(&format!("snapshot at {position}"), format!("{there} of its {parts} parts are there"));
    }
    Ok(())
}

fn epochs(connection: &Connection, findings: &mut Findings) -> Result<(), rusqlite::Error> {
    let (count, beyond): (i64, i64) =
        connection.query_row(include_str!("inspect_epochs.sql"), [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if count == 0 {
        findings.add("epochs", "there is none");
    }
    if beyond > 0 {
        findings.add("epochs", format!("{beyond} begin beyond the head"));
    }
    Ok(())
}
