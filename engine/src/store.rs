//! The event store: where the log is kept. One of the engine's three extension points.
//!
//! A store keeps what it is given and numbers it; it never decodes an event, and it never answers before what it
//! answers is durable.

pub mod sqlite;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::epochs::Epochs;
use crate::event::Entry;
use crate::metrics::Distribution;
use crate::names::{Channel, IdempotencyKey, Publisher, Tenant, UserId};
use crate::position::{Cursor, Offset, Position};

/// Where the log is kept.
///
/// The laws, which [`conformance::event_store`](crate::conformance::event_store) checks:
///
/// 1. Positions are dense: the first event of a log is at 1, each next one 1 higher, in the order of the items. An item
///    that appends nothing (a duplicate, a reused key) leaves no hole.
/// 2. Offsets are dense for each stream of each tenant, in the order of positions, and so are never shared by tenants.
/// 3. An append is all or nothing, and durable when it is answered.
/// 4. A key is claimed once for each tenant and publisher, also by two items of one batch: the first item with it is
///    appended; a later one with the same hash is [`Duplicate`](AppendOutcome::Duplicate), with another
///    [`KeyReused`](AppendOutcome::KeyReused).
/// 5. What was appended is read back as it was given, in order, together with where it was numbered.
/// 6. Positions, offsets and keys survive reopening, and so does the epoch of each position. A store that may have lost the
///    end of its log (an older copy was put back, a replica took over) begins a new epoch before it gives a position: so
///    that no position is given twice in one epoch. One that cannot tell begins one whenever it is opened for writing.
/// 7. A snapshot is listed once it is complete, and not before. Its parts are read back as they were given or not at all, also
///    after reopening. What is dropped is what was to be dropped.
pub trait EventStore: Send + Sync + 'static {
    /// Appends items, in their order, in one transaction. An outcome for each item.
    ///
    /// # Errors
    /// After [`StoreError::Full`] nothing was written, and the store can still be used. After any other error it is
    /// *not known* whether anything was written: the caller must stop and reopen the store.
    fn append(&self, items: Vec<AppendItem>) -> BoxFuture<'_, Result<Vec<AppendOutcome>, StoreError>>;

    /// The events after a position, at most `limit` of them, in order. Fewer, though at least one if there is any, when
    /// they are large.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>>;

    /// The events at these positions, in order; those beyond the head are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn read_at(&self, positions: Vec<Position>) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>>;

    /// The entries of a stream after an offset, at most `limit` of them, in order. None for a stream that is not there.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn read_stream(
        &self,
        tenant: &Tenant,
        stream: &StreamName,
        after: Offset,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Offset, StoredEvent)>, StoreError>>;

    /// What a key stands for: the position of the first event that was appended under it, and the hash it was claimed with.
    /// The claim's own hash plays no part.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn find_key(
        &self,
        tenant: &Tenant,
        claim: &KeyClaim,
    ) -> BoxFuture<'_, Result<Option<KeyHolder>, StoreError>>;

    /// The epochs of the log and its last position.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn head(&self) -> BoxFuture<'_, Result<Head, StoreError>>;

    /// How long it took to make appends durable, in seconds, if the store counts that.
    fn sync_seconds(&self) -> Option<Distribution> {
        None
    }

    /// Where snapshots are kept: as durably as the log, and with its backups.
    fn snapshots(&self) -> &dyn SnapshotStore;
}

/// Where snapshots are kept. Law 7 of [`EventStore`] is about them.
pub trait SnapshotStore: Send + Sync {
    /// Keeps a part of a snapshot that is being made; parts are numbered from 0. A part that is there already is replaced, and a
    /// complete snapshot of the same position is no longer listed.
    ///
    /// # Errors
    /// As those of [`EventStore::append`].
    fn put_part(&self, at: Position, number: u32, part: Vec<u8>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Lists a snapshot, all of whose parts were put; durably, when this is answered.
    ///
    /// # Errors
    /// As those of [`EventStore::append`].
    fn complete(&self, snapshot: SnapshotHeader) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The snapshots that are complete, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(&self) -> BoxFuture<'_, Result<Vec<SnapshotHeader>, StoreError>>;

    /// A part of a snapshot; `None` when it is not there.
    ///
    /// # Errors
    /// When the store cannot be read, or when the part is not what was put.
    fn part(&self, at: Position, number: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// Drops complete snapshots but the newest `keep`, and some of the parts that are of no complete one. Whether there are more of
    /// these: a call takes no longer than an append.
    ///
    /// # Errors
    /// As those of [`EventStore::append`].
    fn drop_all_but(&self, keep: usize) -> BoxFuture<'_, Result<bool, StoreError>>;
}

/// What a snapshot says of itself. What is in its parts is not the store's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Everything up to here is in it.
    pub at: Cursor,
    /// How its parts are to be read.
    pub format: u16,
    /// What made of events what is in it.
    pub fold: u16,
    /// When it was made.
    pub made_at: Timestamp,
    /// How many parts it has.
    pub parts: u32,
    /// The size of all of them.
    pub bytes: u64,
}

/// The end of a log, and what its positions are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which epoch each position is of.
    pub epochs: Epochs,
    /// The position of its last event; 0 when there is none.
    pub position: Position,
}

/// The name of a stream within its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// The stream of one user.
    User(UserId),
    /// The stream of channels addressed together: sorted, each once.
    Channels(Vec<Channel>),
}

impl StreamName {
    /// The name as one text. Different streams have different texts: no channel holds white space, and only a user's
    /// own channel starts with `user:`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::User(user) => Channel::of_user(user).as_str().to_owned(),
            Self::Channels(channels) => {
                let names: Vec<&str> = channels.iter().map(Channel::as_str).collect();
                names.join("\n")
            }
        }
    }
}

/// What one command appends: all of it or nothing.
#[derive(Clone, Debug)]
pub struct AppendItem {
    /// Whose it is.
    pub tenant: Tenant,
    /// The key it claims.
    pub key: Option<KeyClaim>,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
}

/// A claim of an idempotency key.
#[derive(Clone, Debug)]
pub struct KeyClaim {
    /// Whose key.
    pub publisher: Publisher,
    /// The key.
    pub key: IdempotencyKey,
    /// What it stands for.
    pub content_hash: [u8; 32],
}

/// What a key stands for: the position of the first event appended under it, and the hash of its content.
pub type KeyHolder = (Position, [u8; 32]);

/// An event that has no place yet.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The name of its type.
    pub type_name: String,
    /// The version of its schema.
    pub version: u16,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// A JSON object.
    pub envelope: String,
    /// JSON that may hold a person's data, kept apart so that it can be erased.
    pub payload: Option<String>,
    /// The streams in which to number it, each once.
    pub streams: Vec<StreamName>,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It was appended.
    Appended {
        /// The position of its first event; the others follow.
        first: Position,
        /// For each event, an entry for each of its streams.
        entries: Vec<Vec<Entry>>,
    },
    /// The key stands for the same content: it was appended before.
    Duplicate {
        /// Where it was appended.
        position: Position,
    },
    /// The key stands for other content.
    KeyReused,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Its place.
    pub position: Position,
    /// Whose it is.
    pub tenant: Tenant,
    /// The name of its type.
    pub type_name: String,
    /// The version of its schema.
    pub version: u16,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// A JSON object.
    pub envelope: String,
    /// What was kept apart; `None` when there was nothing or it was erased.
    pub payload: Option<String>,
    /// Where it was numbered.
    pub entries: Vec<Entry>,
}

fn size(envelope: &str, payload: Option<&str>) -> usize {
    envelope.len() + payload.map_or(0, str::len)
}

impl NewEvent {
    /// The size of what is kept of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size(&self.envelope, self.payload.as_deref())
    }
}

impl StoredEvent {
    /// The size of what is kept of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size(&self.envelope, self.payload.as_deref())
    }
}

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said so.
    #[error("the event log's database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// It could not be opened or migrated.
    #[error("the event log's database cannot be opened: {0}")]
    Open(#[from] sqlx::Error),
    /// A migration failed.
    #[error("the event log's database cannot be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// There is no room for it. Nothing was written.
    #[error("there is no room for it where the event log is kept")]
    Full,
    /// A setting that durability depends on did not take.
    #[error("the event log's database must run with {expected}, but runs with {found}")]
    NotDurable {
        /// The setting.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Its tables are of another version, and it was opened to be read only.
    #[error(
        "the event log's tables are of version {found}, expected {expected}: the server of this version brings older ones up"
    )]
    OtherVersion {
        /// What it has to be.
        expected: i64,
        /// What it is.
        found: i64,
    },
    /// Something in it is not what this store wrote.
    #[error("the event log holds something unreadable at position {position}: {reason}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What.
        reason: String,
    },
    /// The store was closed, or its thread is gone.
    #[error("the event log is closed")]
    Closed,
    /// Another kind of store failed.
    #[error("the event store failed: {0}")]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
