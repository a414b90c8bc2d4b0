//! Where snapshots are kept: in the log's database, so that they are as durable as it is and part of its backups.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use crate::position::{Cursor, Epoch, Position};
use crate::sqlite::{Connection, commit};
use crate::store::{SnapshotHeader, SnapshotStore, StoreError};

use super::SqliteStore;

/// Parts dropped at a time: to free the pages of one takes as long as an append.
const DROPPED_AT_ONCE: i64 = 4;

impl SnapshotStore for SqliteStore {
    fn put_part(&self, at: Position, number: u32, part: Vec<u8>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |connection| put_part(connection, at, number, &part))
    }

    fn complete(&self, snapshot: SnapshotHeader) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |connection| complete(connection, &snapshot))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SnapshotHeader>, StoreError>> {
        async move { self.readers.call(list).await? }.boxed()
    }

    fn part(&self, at: Position, number: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        let job = move |connection: &Connection| part(connection, at, number);
        async move { self.readers.call(job).await? }.boxed()
    }

    fn drop_all_but(&self, keep: usize) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |connection| drop_all_but(connection, keep))
    }
}

fn put_part(connection: &Connection, at: Position, number: u32, part: &[u8]) -> Result<(), StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // One that is made again is not listed meanwhile.
    transaction.prepare_cached("DELETE FROM snapshots WHERE position = ?1")?.execute([at.sql()])?;
    let checksum = crc32fast::hash(part);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO snapshot_parts VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![at.sql(), number, checksum, part])?;
    Ok(commit(transaction)?)
}

fn complete(connection: &Connection, snapshot: &SnapshotHeader) -> Result<(), StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.prepare_cached(include_str!("complete_snapshot.sql"))?.execute(params![
        snapshot.at.position.sql(),
        snapshot.at.epoch.as_str(),
        snapshot.format,
        snapshot.fold,
        snapshot.made_at.as_millisecond(),
        snapshot.parts,
        snapshot.bytes as i64,
    ])?;
    Ok(commit(transaction)?)
}

fn list(connection: &Connection) -> Result<Vec<SnapshotHeader>, StoreError> {
    let mut statement = connection.prepare_cached(include_str!("list_snapshots.sql"))?;
    let snapshots = statement.query_and_then([], |row| {
        let (epoch, made_at): (String, i64) = (row.get(1)?, row.get(4)?);
        let position = Position::from_sql(row.get(0)?);
        let made_at = Timestamp::from_millisecond(made_at)
            .map_err(|error| StoreError::Corrupt { position, reason: error.to_string() })?;
        Ok(SnapshotHeader {
            at: Cursor { epoch: Epoch::from_stored(&epoch), position },
            format: row.get(2)?,
            fold: row.get(3)?,
            made_at,
            parts: row.get(5)?,
            bytes: row.get::<_, i64>(6)? as u64,
        })
    })?;
    snapshots.collect()
}

fn part(connection: &Connection, at: Position, number: u32) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT part, checksum FROM snapshot_parts WHERE position = ?1 AND number = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement
        .query_row(params![at.sql(), number], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?)));
    let Some((part, checksum)) = found.optional()? else { return Ok(None) };
    if crc32fast::hash(&part) != checksum {
        let reason = format!("the checksum of part {number} of its snapshot does not fit");
        return Err(StoreError::Corrupt { position: at, reason });
    }
    Ok(Some(part))
}

fn drop_all_but(connection: &Connection, keep: usize) -> Result<bool, StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.prepare_cached(include_str!("drop_snapshots.sql"))?.execute([keep as i64])?;
    let dropped =
        transaction.prepare_cached(include_str!("drop_snapshot_parts.sql"))?.execute([DROPPED_AT_ONCE])?;
    commit(transaction)?;
    Ok(dropped as i64 == DROPPED_AT_ONCE)
}
