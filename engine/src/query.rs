//! Queries: what people and services ask the engine. Each sees at least what its asker was answered before, on this
//! node, and may ask to see at least a position.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::access::{Identity, Scope};
use crate::engine::Engine;
use crate::error::Error;
use crate::event::EntryRef;
use crate::hub::{ChannelPresence, Presence};
use crate::inbox::{Counts, Inbox, InboxItem, InboxPage, InboxQuery, PartCounts, is_damage};
use crate::limits;
use crate::names::{Channel, UserId, UserKey};
use crate::notification::NotificationId;
use crate::position::Position;
use crate::projector::Request;
use crate::sqlite::Connection;

/// How long a query waits for the position it asks for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts by type or by channel.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CountsBy<K: Ord> {
    /// All together. By channel, the parts may overlap.
    #[serde(flatten)]
    pub counts: Counts,
    /// The parts that are not zero.
    pub parts: BTreeMap<K, PartCounts>,
}

/// Some of a channel's members, by name.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MembersPage {
    /// Who.
    pub members: Vec<UserId>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<UserId>,
}

impl Engine {
    /// A page of one's inbox.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn inbox(
        &self,
        identity: &Identity,
        query: InboxQuery,
        at_least: Position,
    ) -> Result<InboxPage, Error> {
        let inbox = self.own_inbox(identity, at_least).await?;
        self.look(inbox, move |inbox, connection| inbox.page(connection, &query)).await
    }

    /// One notification of one's own.
    ///
    /// # Errors
    /// [`Error::NotFound`] also when it is somebody else's.
    pub async fn notification(
        &self,
        identity: &Identity,
        id: NotificationId,
        at_least: Position,
    ) -> Result<InboxItem, Error> {
        let inbox = self.own_inbox(identity, at_least).await?;
        let found = self.look(inbox, move |inbox, connection| inbox.find(connection, &id)).await?;
        found.map(|found| found.item).ok_or(Error::NotFound { field: "id".to_owned() })
    }

    /// One's counts.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn counts(&self, identity: &Identity, at_least: Position) -> Result<Counts, Error> {
        let key = self.admit(identity).await?;
        self.reach(at_least.max(self.log().head())).await?;
        let known = self.projector().fold.read().counts(&key);
        match known {
            Some(counts) => Ok(counts),
            None => Ok(self.inbox_of(&key, at_least).await?.counts),
        }
    }

    /// One's counts by type.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn counts_by_type(
        &self,
        identity: &Identity,
        at_least: Position,
    ) -> Result<CountsBy<String>, Error> {
        let inbox = self.own_inbox(identity, at_least).await?;
        let counts = inbox.counts;
        let parts = self.look(inbox, |inbox, connection| inbox.counts_by_type(connection)).await?;
        Ok(CountsBy { counts, parts })
    }

    /// One's counts by channel. A notification to several of one's channels counts in each.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn counts_by_channel(
        &self,
        identity: &Identity,
        at_least: Position,
    ) -> Result<CountsBy<Channel>, Error> {
        let inbox = self.own_inbox(identity, at_least).await?;
        Ok(CountsBy { counts: inbox.counts, parts: inbox.counts_by_channel() })
    }

    /// The members of a channel, by name, after a name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn members(
        &self,
        identity: &Identity,
        channel: &Channel,
        after: Option<UserId>,
        limit: usize,
        at_least: Position,
    ) -> Result<MembersPage, Error> {
        identity.require_read(&self.rules(), channel)?;
        self.reach_view(at_least.max(self.log().head())).await?;
        let limit = if limit == 0 { limits::PAGE_MOST } else { limit.min(limits::MEMBERS_PAGE_MOST) };
        let (tenant, channel) = (identity.tenant.clone(), channel.clone());
        let after = after.map_or_else(String::new, |user| user.as_str().to_owned());
        let job = move |connection: &Connection| {
            crate::inbox::members(connection, &tenant, &channel, &after, limit + 1)
        };
        let mut members = self.on_view(job).await?;
        let next = (members.len() > limit).then(|| {
            members.truncate(limit);
            members.last().cloned()
        });
        Ok(MembersPage { members, next: next.flatten() })
    }

    /// Who of the tenant is online.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn presence(&self, identity: &Identity) -> Result<Presence, Error> {
        identity.require(Scope::Admin)?;
        let tenant = identity.tenant.clone();
        self.projector().ask(|reply| Request::Presence(tenant, reply)).await.ok_or(Error::Stopping)
    }

    /// Who of a channel is online, for those who may watch it and for its members.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn channel_presence(
        &self,
        identity: &Identity,
        channel: &Channel,
    ) -> Result<ChannelPresence, Error> {
        let rules = self.rules();
        if identity.require_read(&rules, channel).is_err()
            && let Err(forbidden) = identity.require_watch(&rules, channel)
        {
            let inbox = self.own_inbox(identity, Position(0)).await?;
            // Being known is enough to be a member of `everyone`, and not enough to see who everyone is.
            if channel.is_everyone() || !inbox.person.is_member(channel) {
                return Err(forbidden);
            }
        }
        let (tenant, channel) = (identity.tenant.clone(), channel.clone());
        self.projector()
            .ask(|reply| Request::ChannelPresence(tenant, channel, reply))
            .await
            .ok_or(Error::Stopping)
    }

    /// Waits until everything that is durable now has been put into the mailboxes of those it concerns, and says up to
    /// which position that is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn settle(&self) -> Result<Position, Error> {
        let head = self.log().head();
        self.reach(head).await?;
        Ok(head)
    }

    /// Waits until everything up to a position has been put into the mailboxes of those it concerns.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn settle_at(&self, position: Position) -> Result<(), Error> {
        self.reach(position).await
    }

    async fn own_inbox(&self, identity: &Identity, at_least: Position) -> Result<Inbox, Error> {
        let key = self.admit(identity).await?;
        self.inbox_of(&key, at_least.max(self.log().head())).await
    }

    /// A person as they are at a position or later.
    pub(crate) async fn inbox_of(&self, key: &UserKey, at_least: Position) -> Result<Inbox, Error> {
        self.reach(at_least).await?;
        let in_memory = Inbox::of(&self.projector().fold.read(), key);
        if let Some(inbox) = in_memory {
            return Ok(inbox);
        }
        let key = key.clone();
        self.projector().ask(|reply| Request::Load(key, reply)).await.ok_or(Error::Stopping)
    }

    /// Where a person meets notifications.
    #[allow(clippy::type_complexity)]
    pub(crate) async fn look_up(
        &self,
        inbox: Inbox,
        ids: Vec<NotificationId>,
    ) -> Result<(Inbox, Vec<(NotificationId, Option<EntryRef>)>), Error> {
        self.look(inbox, move |inbox, connection| {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.push((id, inbox.find(connection, &id)?.map(|found| found.entry)));
            }
            Ok((inbox.clone(), found))
        })
        .await
    }

    /// Reads the view on behalf of a inbox, once it has come as far.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        inbox: Inbox,
        job: impl FnOnce(&Inbox, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.reach_view(inbox.position()).await?;
        self.on_view(move |connection| job(&inbox, connection)).await
    }

    /// Reads the view as it is at one moment.
    pub(crate) async fn on_view<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        // In one transaction the file is locked once, which takes as many system calls as it would for each statement.
        let at_once = move |connection: &Connection| job(&*connection.unchecked_transaction()?);
        let read = self.view().call(at_once).await.map_err(|_| Error::Stopping)?;
        read.map_err(|error| {
            if is_damage(&error) {
                self.fail_view(&error);
            } else {
                tracing::error!(%error, "the inbox view cannot be read");
            }
            Error::Internal
        })
    }

    /// Waits until everything up to a position is folded.
    async fn reach(&self, position: Position) -> Result<(), Error> {
        wait_for(self.projector().folded.clone(), position).await
    }

    /// Waits until everything up to a position is in the view.
    pub(crate) async fn reach_view(&self, position: Position) -> Result<(), Error> {
        let written = self.projector().written.clone();
        if *written.borrow() >= position {
            return Ok(());
        }
        // What is not in the log cannot be written: a position beyond it would be wanted for ever.
        self.projector().want_written(position.min(self.log().head()));
        wait_for(written, position).await
    }
}

async fn wait_for(
    mut reached: tokio::sync::watch::Receiver<Position>,
    wanted: Position,
) -> Result<(), Error> {
    if *reached.borrow() >= wanted {
        return Ok(());
    }
    let waiting = reached.wait_for(|position| *position >= wanted);
    let outcome = tokio::time::timeout(PATIENCE, waiting).await.map(|reached| reached.is_ok());
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Stopping),
        Err(_) => Err(Error::NotReached { wanted, reached: *reached.borrow() }),
    }
}
