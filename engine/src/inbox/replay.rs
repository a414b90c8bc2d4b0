//! A second view of a log, replayed step by step beside the live one: to look at what an inbox was at a position, and to
//! check that what is derived is derived from the log alone.

use std::path::Path;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteSynchronous;

use super::page::{Inbox, InboxPage, InboxQuery, PartCounts};
use super::projection::{Projection, SharedFold, ViewError};
use super::view;
use crate::log::{Log, Tail};
use crate::names::{Channel, UserKey};
use crate::position::Position;
use crate::sqlite::{Connection, on_thread, writing};

type Job = Box<dyn FnOnce(&mut State<'_>) + Send>;

/// A view that is replayed to a position of one's choice.
pub struct Replay {
    jobs: flume::Sender<Job>,
}

struct State<'c> {
    connection: &'c Connection,
    projection: Projection<'c>,
    tail: Tail,
    /// Handed out by the tail, and not replayed yet.
    ahead: crate::event::Events,
}

impl Replay {
    /// Begins before the first event, in a new file. Keeps at most `people_kept` people in memory.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub async fn begin(file: &Path, log: &Log, people_kept: usize) -> Result<Self, ViewError> {
        let connection = writing(file, SqliteSynchronous::Normal).connect().await?;
        let (jobs, queue) = flume::bounded::<Job>(1);
        let (epochs, tail) = (log.epochs().clone(), log.tail(Position(0)));
        on_thread("tidings-replay", connection, move |connection| -> Result<(), ViewError> {
            view::create(connection, &epochs.cursor(Position(0)))?;
            let projection =
                Projection::load(connection, epochs, SharedFold::default())?.keeping(people_kept);
            let mut state = State { connection, projection, tail, ahead: Vec::new() };
            for job in queue {
                job(&mut state);
            }
            Ok(())
        });
        Ok(Self { jobs })
    }

    async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut State<'_>) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let job: Job = Box::new(move |state| drop(reply.send(job(state))));
        self.jobs.send_async(job).await.map_err(|_| ViewError::Closed)?;
        answer.await.map_err(|_| ViewError::Closed)?
    }

    /// Replays up to and including a position, which the log has reached.
    ///
    /// # Errors
    /// When the log cannot be followed or the file cannot be written.
    pub async fn advance_to(&self, position: Position) -> Result<(), ViewError> {
        let runtime = tokio::runtime::Handle::current();
        self.call(move |state| {
            while state.projection.fold().position() < position {
                if state.ahead.is_empty() {
                    state.ahead = runtime.block_on(state.tail.next())?;
                }
                let later = state.ahead.partition_point(|event| event.position <= position);
                let batch = state.ahead.drain(..later).collect();
                state.projection.apply(&batch)?;
                state.projection.write()?;
            }
            Ok(())
        })
        .await
    }

    /// A page of somebody's inbox, as it was.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn inbox(&self, key: UserKey, query: InboxQuery) -> Result<InboxPage, ViewError> {
        self.read(key, move |inbox, connection| inbox.page(connection, &query)).await
    }

    /// Somebody's counts by type, as they were.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn counts_by_type(
        &self,
        key: UserKey,
    ) -> Result<std::collections::BTreeMap<String, PartCounts>, ViewError> {
        self.read(key, |inbox, connection| inbox.counts_by_type(connection)).await
    }

    /// Somebody's counts by channel, as they were.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn counts_by_channel(
        &self,
        key: UserKey,
    ) -> Result<std::collections::BTreeMap<Channel, PartCounts>, ViewError> {
        self.read(key, |inbox, _| Ok(inbox.counts_by_channel())).await
    }

    async fn read<T: Send + 'static>(
        &self,
        key: UserKey,
        read: impl FnOnce(&Inbox, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ViewError> {
        self.call(move |state| {
            let inbox = state.projection.inbox_of(&key)?;
            Ok(read(&inbox, state.connection)?)
        })
        .await
    }
}
