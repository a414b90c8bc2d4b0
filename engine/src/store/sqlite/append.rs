//! An append: positions, numbers in streams and keys, in one transaction with one fsync. Decides nothing about what an event
//! says.

use std::time::Instant;

use rusqlite::{CachedStatement, Transaction, TransactionBehavior, params};

use super::checksum::{self, EventRow};
use super::numbering::Numbering;
use super::{FORGET_AT_ONCE, find_key};
use crate::event::Entry;
use crate::metrics::Histogram;
use crate::names::Tenant;
use crate::position::Position;
use crate::sqlite::{Connection, commit};
use crate::store::{AppendItem, AppendOutcome, KeyClaim, NewEvent, StoreError};

/// Appends items in one transaction, which is on disk when this returns; how many old keys were forgotten beside it.
pub(super) fn append(
    connection: &Connection,
    items: &[AppendItem],
    numbering: &mut Numbering,
    forget_before: Option<i64>,
    sync_seconds: &Histogram,
) -> Result<(Vec<AppendOutcome>, usize), StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut appending = Appending::begin(&transaction, numbering)?;
    let outcomes = items.iter().map(|item| appending.append(item)).collect::<Result<Vec<_>, _>>()?;
    let head = appending.head;
    drop(appending);
    numbering.index_much(&transaction, head)?;
    // By its id, so that SQLite keeps no journal for the case that one of many rows cannot be updated.
    transaction.prepare_cached("UPDATE head SET position = ?1 WHERE id = 1")?.execute([head])?;
    let mut forgotten = 0;
    if let Some(before) = forget_before {
        let mut forget = transaction.prepare_cached(include_str!("forget_keys.sql"))?;
        forgotten = forget.execute(params![before, FORGET_AT_ONCE as i64])?;
    }
    let begun = Instant::now();
    commit(transaction)?; // fsync before anybody is answered: promise 1
    sync_seconds.observe(begun.elapsed().as_secs_f64(), 1);
    Ok((outcomes, forgotten))
}

/// A transaction that appends: its statements are prepared once for all of it.
struct Appending<'t> {
    connection: &'t Connection,
    numbering: &'t mut Numbering,
    /// The position that was given last.
    head: i64,
    insert_event: CachedStatement<'t>,
    insert_payload: CachedStatement<'t>,
}

impl<'t> Appending<'t> {
    fn begin(connection: &'t Connection, numbering: &'t mut Numbering) -> Result<Self, StoreError> {
        let head = connection.prepare_cached("SELECT position FROM head")?.query_row([], |row| row.get(0))?;
        numbering.begin(connection)?;
        let prepared = |sql| connection.prepare_cached(sql);
        Ok(Self {
            connection,
            numbering,
            head,
            insert_event: prepared(include_str!("insert_event.sql"))?,
            insert_payload: prepared(include_str!("insert_payload.sql"))?,
        })
    }

    /// Claims the key first, so that an item that is not appended takes no position.
    fn append(&mut self, item: &AppendItem) -> Result<AppendOutcome, StoreError> {
        let first = self.head + 1;
        if let Some(claim) = &item.key
            && let Some(outcome) = claim_key(self.connection, item, claim, first)?
        {
            return Ok(outcome);
        }
        let mut entries = Vec::with_capacity(item.events.len());
        for event in &item.events {
            self.head += 1;
            entries.push(self.append_event(&item.tenant, event)?);
        }
        Ok(AppendOutcome::Appended { first: Position::from_sql(first), entries })
    }

    fn append_event(&mut self, tenant: &Tenant, event: &NewEvent) -> Result<Vec<Entry>, StoreError> {
        let position = self.head;
        let mut entries = Vec::with_capacity(event.streams.len());
        for stream in &event.streams {
            entries.push(self.numbering.next(self.connection, tenant, stream, position)?);
        }
        let entries_json = entries_to_json(&entries);
        let row = EventRow {
            position,
            tenant: tenant.as_str(),
            type_name: &event.type_name,
            version: event.version,
            recorded_at: event.recorded_at.as_millisecond(),
            envelope: &event.envelope,
            entries: entries_json.as_deref(),
        };
        self.insert_event.execute(params![
            row.position,
            row.tenant,
            row.type_name,
            row.version,
            row.recorded_at,
            row.envelope,
            row.entries,
            row.checksum(),
        ])?;
        if let Some(payload) = &event.payload {
            let checksum = checksum::of_payload(position, payload);
            self.insert_payload.execute(params![position, payload, checksum])?;
        }
        Ok(entries)
    }
}

/// `None` when the key is now this item's.
fn claim_key(
    connection: &Connection,
    item: &AppendItem,
    claim: &KeyClaim,
    first: i64,
) -> Result<Option<AppendOutcome>, StoreError> {
    let (tenant, publisher, key) = (item.tenant.as_str(), claim.publisher.as_str(), claim.key.as_str());
    let claimed_at = item.events.first().map_or(0, |event| event.recorded_at.as_millisecond());
    let mut insert = connection.prepare_cached(include_str!("claim_key.sql"))?;
    if insert.execute(params![first, tenant, publisher, key, claim.content_hash, claimed_at])? == 1 {
        return Ok(None);
    }
    let Some((position, content_hash)) = find_key(connection, &item.tenant, claim)? else {
        return Err(StoreError::Other("a key that is taken is not there".into()));
    };
    Ok(Some(if content_hash == claim.content_hash {
        AppendOutcome::Duplicate { position }
    } else {
        AppendOutcome::KeyReused
    }))
}

fn entries_to_json(entries: &[Entry]) -> Option<String> {
    let pairs: Vec<(u64, u64)> = entries.iter().map(|entry| (entry.stream.0, entry.offset.0)).collect();
    (!pairs.is_empty()).then(|| serde_json::json!(pairs).to_string())
}
