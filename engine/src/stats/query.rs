//! Asking for stats: a time, how it is divided, and by what.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::params;
use schemars::JsonSchema;
use serde::Serialize;

use super::minutes::{Counters, counters_at};
use crate::access::{Identity, Scope};
use crate::deliveries::State;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::LATENCIES_MS;
use crate::names::Tenant;

/// Days in one answer at most.
const DAYS_MOST: i64 = 31;
/// Stored rows looked at for one answer: some tenths of a second.
const LOOKED_AT_MOST: usize = 200_000;
/// Rows of one answer.
const ROWS_MOST: usize = 10_000;

/// How a time is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Every {
    /// By minute.
    Minute,
    /// By hour.
    Hour,
    /// By day, in UTC.
    Day,
    /// Not at all.
    #[default]
    All,
}

/// What is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// Types of notifications.
    Type,
    /// What stands for an audience: its channel if that is one, `users`, or `several`.
    Channel,
    /// Transports. Only what is sent and delivered has one.
    Transport,
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "minute" => Ok(Self::Minute),
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "all" => Ok(Self::All),
            _ => Err("expected minute, hour, day or all".to_owned()),
        }
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "type" => Ok(Self::Type),
            "channel" => Ok(Self::Channel),
            "transport" => Ok(Self::Transport),
            _ => Err("expected type, channel or transport".to_owned()),
        }
    }
}

impl Every {
    fn minutes(self) -> Option<i64> {
        match self {
            Self::Minute => Some(1),
            Self::Hour => Some(60),
            Self::Day => Some(24 * 60),
            Self::All => None,
        }
    }
}

/// Which stats are asked for.
#[derive(Clone, Debug)]
pub struct StatsQuery {
    /// From the minute of this time on.
    pub from: Timestamp,
    /// To the minute of this time, which is in.
    pub to: Timestamp,
    /// How the time is divided.
    pub every: Every,
    /// What is told apart.
    pub by: BTreeSet<By>,
}

/// What happened in a part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsRow {
    /// When the part begins; where the time is divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The type; where types are told apart.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The channel; where channels are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The transport; where transports are told apart and there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Notifications that were accepted.
    pub published: u64,
    /// Notifications written to connections, once for each.
    pub sent: u64,
    /// Of those, how many were acknowledged.
    pub delivered: u64,
    /// Notifications that were read, once for each person.
    pub read: u64,
    /// Notifications that were clicked, once for each person.
    pub clicked: u64,
    /// Notifications that were taken from people, once for each person.
    pub dropped: u64,
    /// Of those sent, how many within each of [`Stats::latencies_ms`] since they were published, and how many later.
    #[schemars(
        description = "Of those sent, how many within each of `latenciesMs` since they were published, and how many later."
    )]
    pub latencies: Vec<u64>,
}

/// Stats.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The first minute.
    pub from: Timestamp,
    /// The end of the last one.
    pub to: Timestamp,
    /// Upper bounds of the latencies, in milliseconds.
    pub latencies_ms: Vec<u32>,
    /// The parts in which anything happened, in the order of time.
    pub rows: Vec<StatsRow>,
}

/// What tells rows apart.
type Key = (i64, Option<String>, Option<String>, Option<String>);

impl Engine {
    /// What happened in a time.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without the scope admin; [`Error::Invalid`] when the time is too long or too much happened in
    /// it; see [`Error`].
    pub async fn stats(&self, identity: &Identity, query: StatsQuery) -> Result<Stats, Error> {
        identity.require(Scope::Admin)?;
        let (from, to) = (minute(query.from), minute(query.to) + 1);
        if from >= to {
            return Err(Error::field("to", "expected a time that is not before `from`"));
        }
        if to - from > DAYS_MOST * 24 * 60 {
            return Err(Error::field("from", format!("expected a time of at most {DAYS_MOST} days")));
        }
        self.settle_progress().await?;
        let tenant = identity.tenant.clone();
        let (every, by) = (query.every, query.by);
        let rows = self.delivery_view().ask(move |state| state.rows(&tenant, from, to, every, &by)).await?;
        let rows = rows.ok_or_else(|| {
            let detail = format!(
                "expected a time in which less happened, or a coarser `every`: more than {ROWS_MOST} rows"
            );
            Error::field("from", detail)
        })?;
        let rows = rows.into_iter().map(|(key, counters)| row(key, &counters, every)).collect();
        Ok(Stats { from: time(from), to: time(to), latencies_ms: LATENCIES_MS.to_vec(), rows })
    }
}

impl State<'_> {
    /// The counters of a time; `None` when they are too many.
    fn rows(
        &self,
        tenant: &Tenant,
        from: i64,
        to: i64,
        every: Every,
        by: &BTreeSet<By>,
    ) -> rusqlite::Result<Option<BTreeMap<Key, Counters>>> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/between.sql"))?;
        let mut rows = statement.query(params![tenant.as_str(), from, to, LOOKED_AT_MOST as i64 + 1])?;
        let (mut found, mut looked_at) = (BTreeMap::<Key, Counters>::new(), 0);
        while let Some(row) = rows.next()? {
            looked_at += 1;
            if looked_at > LOOKED_AT_MOST || found.len() > ROWS_MOST {
                return Ok(None);
            }
            let minute: i64 = row.get(0)?;
            let part = every.minutes().map_or(0, |minutes| minute - minute.rem_euclid(minutes));
            let text = |which, column| -> rusqlite::Result<Option<String>> {
                let text: String = row.get(column)?;
                Ok(Some(text).filter(|text| by.contains(&which) && !text.is_empty()))
            };
            let key = (part, text(By::Type, 1)?, text(By::Channel, 2)?, text(By::Transport, 3)?);
            found.entry(key).or_default().add(&counters_at(row, 4)?);
        }
        Ok(Some(found))
    }
}

fn row((part, kind, channel, transport): Key, counters: &Counters, every: Every) -> StatsRow {
    StatsRow {
        at: every.minutes().map(|_| time(part)),
        kind,
        channel,
        transport,
        published: counters.published,
        sent: counters.sent.iter().sum(),
        delivered: counters.delivered,
        read: counters.read,
        clicked: counters.clicked,
        dropped: counters.dropped,
        latencies: counters.sent.to_vec(),
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}

fn time(minute: i64) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::MAX)
}
