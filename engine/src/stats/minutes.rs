//! Counters of minutes, gathered in memory and added to the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{OptionalExtension, params};

use crate::deliveries::OTHER;
use crate::event::LATENCIES_MS;
use crate::inbox::damaged;
use crate::names::Tenant;
use crate::sqlite::Connection;

/// Kinds of notifications (a type and a channel) told apart in a minute of a tenant: both may come from outside, so
/// those beyond, in the order of the log, are counted together as `other`.
const KINDS_PER_MINUTE: usize = 1_000;
/// How long minutes are kept.
const MINUTES_KEPT_DAYS: i64 = 90;
const MINUTE_MS: i64 = 60_000;

/// What happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) published: u64,
    /// By how long it took: one for each of [`LATENCIES_MS`], and one for what took longer.
    pub(crate) sent: [u64; LATENCIES_MS.len() + 1],
    pub(crate) delivered: u64,
    pub(crate) read: u64,
    pub(crate) clicked: u64,
    pub(crate) dropped: u64,
}

impl Counters {
    pub(crate) fn add_sent(&mut self, sent: &[u32]) {
        self.sent.iter_mut().zip(sent).for_each(|(sum, count)| *sum += u64::from(*count));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.sent.iter_mut().zip(other.sent).for_each(|(sum, count)| *sum += count);
        self.delivered += other.delivered;
        self.read += other.read;
        self.clicked += other.clicked;
        self.dropped += other.dropped;
    }
}

/// A type, and what stands for an audience.
type Kind = (String, String);

/// Counters that are not written yet.
#[derive(Default)]
pub(crate) struct Minutes {
    counted: BTreeMap<(Tenant, i64), BTreeMap<(Kind, String), Counters>>,
    /// The kinds there are in a minute.
    kinds: HashMap<(Tenant, i64), BTreeSet<Kind>>,
}

impl Minutes {
    /// The counters of a kind at a time, in milliseconds since 1970.
    pub(crate) fn counters(
        &mut self,
        connection: &Connection,
        tenant: &Tenant,
        at: i64,
        kind: Kind,
        transport: &str,
    ) -> rusqlite::Result<&mut Counters> {
        let minute = (tenant.clone(), at.div_euclid(MINUTE_MS));
        if !self.kinds.contains_key(&minute) {
            let known = known_kinds(connection, tenant, minute.1)?;
            self.kinds.insert(minute.clone(), known);
        }
        let kinds = self.kinds.entry(minute.clone()).or_default();
        let kind = if kinds.len() < KINDS_PER_MINUTE || kinds.contains(&kind) {
            kinds.insert(kind.clone());
            kind
        } else {
            (OTHER.to_owned(), OTHER.to_owned())
        };
        Ok(self.counted.entry(minute).or_default().entry((kind, transport.to_owned())).or_default())
    }

    /// Adds what was counted to the database.
    pub(crate) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for ((tenant, minute), counted) in std::mem::take(&mut self.counted) {
            for (((kind, channel), transport), mut counters) in counted {
                let key = params![tenant.as_str(), minute, kind, channel, transport];
                let mut find = connection.prepare_cached(include_str!("sql/find_minute.sql"))?;
                if let Some(before) = find.query_row(key, |row| counters_at(row, 0)).optional()? {
                    counters.add(&before);
                }
                connection.prepare_cached(include_str!("sql/upsert_minute.sql"))?.execute(params![
                    tenant.as_str(),
                    minute,
                    kind,
                    channel,
                    transport,
                    counters.published as i64,
                    serde_json::json!(counters.sent).to_string(),
                    counters.delivered as i64,
                    counters.read as i64,
                    counters.clicked as i64,
                    counters.dropped as i64,
                ])?;
            }
        }
        self.kinds.clear(); // the database knows them
        Ok(())
    }

    /// Forgets what is older than it is kept.
    pub(crate) fn forget(&self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let before = (now / MINUTE_MS) - MINUTES_KEPT_DAYS * 24 * 60;
        connection.execute("DELETE FROM minutes WHERE minute < ?1", [before])?;
        Ok(())
    }
}

fn known_kinds(connection: &Connection, tenant: &Tenant, minute: i64) -> rusqlite::Result<BTreeSet<Kind>> {
    let sql = "SELECT DISTINCT type, channel FROM minutes WHERE tenant = ?1 AND minute = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![tenant.as_str(), minute], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let kinds: rusqlite::Result<BTreeSet<Kind>> = rows.collect();
    let other = (OTHER.to_owned(), OTHER.to_owned());
    kinds.map(|mut kinds| {
        // What is counted together took no place of those that are told apart.
        if kinds.len() > KINDS_PER_MINUTE {
            kinds.remove(&other);
        }
        kinds
    })
}

/// The counters in a row, from a column on.
pub(super) fn counters_at(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Counters> {
    let count = |column: usize| row.get::<_, i64>(first + column).map(|count| count as u64);
    let sent: String = row.get(first + 1)?;
    Ok(Counters {
        published: count(0)?,
        sent: serde_json::from_str(&sent).map_err(|error| damaged(first + 1, error))?,
        delivered: count(2)?,
        read: count(3)?,
        clicked: count(4)?,
        dropped: count(5)?,
    })
}
