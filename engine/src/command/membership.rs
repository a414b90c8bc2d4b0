//! Membership of channels: by the service, by the user where the token allows it, and by the token's claims.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Done;
use crate::access::{Identity, Scope};
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Fact, Maker, Membership};
use crate::limits;
use crate::names::{Channel, UserId, UserKey};

/// Two tokens of one user that race settle within two rounds; more means that they keep coming.
const ADMISSION_ROUNDS: usize = 4;
/// Up to so many users, those for whom nothing would change are left out of the event.
const USERS_LOOKED_UP: usize = 100;

/// Who is to become a member of a channel, and who is to cease to be one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    { "required": ["add"], "properties": { "add": { "minItems": 1 } } },
    { "required": ["remove"], "properties": { "remove": { "minItems": 1 } } },
]))]
pub struct MembersChange {
    /// Become members.
    #[serde(default)]
    #[schemars(length(max = limits::USERS_PER_MEMBERSHIP))]
    pub add: Vec<UserId>,
    /// Cease to be members.
    #[serde(default)]
    #[schemars(length(max = limits::USERS_PER_MEMBERSHIP))]
    pub remove: Vec<UserId>,
}

impl Engine {
    /// Changes who is a member of a channel, on the service's word.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn change_members(
        &self,
        identity: &Identity,
        channel: &Channel,
        change: MembersChange,
    ) -> Result<Done, Error> {
        identity.require(Scope::Admin)?;
        if channel.is_everyone() || channel.user().is_some() {
            let detail = "expected a channel whose members can be chosen: those of `everyone` and `user:…` follow \
                          from who is known";
            return Err(Error::field("channel", detail));
        }
        let MembersChange { add, remove } = change;
        let (named, most) = (add.len() + remove.len(), limits::USERS_PER_MEMBERSHIP);
        if named == 0 || named > most {
            let detail = format!("expected 1 to {most} users in `add` and `remove` together, got {named}");
            return Err(Error::field("add", detail));
        }
        if let Some(both) = remove.iter().find(|user| add.contains(user)) {
            return Err(Error::field("remove", format!("expected nobody who is also in `add`, got {both}")));
        }
        let by = Maker::Service;
        let join = self.membership(identity, add, channel, by, true).await?;
        let leave = self.membership(identity, remove, channel, by, false).await?;
        let facts = join.map(Fact::Joined).into_iter().chain(leave.map(Fact::Left)).collect();
        self.record_some(identity, facts).await
    }

    /// Makes the user a member of channels, where the token permits.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn join(&self, identity: &Identity, channel: &Channel) -> Result<Done, Error> {
        identity.require_join(&self.rules(), channel)?;
        let user = identity.key()?.user;
        let join = self.membership(identity, vec![user], channel, Maker::User, true).await?;
        self.record_some(identity, join.map(Fact::Joined).into_iter().collect()).await
    }

    /// Takes back what [`join`](Self::join) did. On another's word the user may remain a member.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn leave(&self, identity: &Identity, channel: &Channel) -> Result<Done, Error> {
        identity.require_join(&self.rules(), channel)?;
        let user = identity.key()?.user;
        let leave = self.membership(identity, vec![user], channel, Maker::User, false).await?;
        self.record_some(identity, leave.map(Fact::Left).into_iter().collect()).await
    }

    /// A change of membership for those for whom it would change something; `None` when that is nobody.
    async fn membership(
        &self,
        identity: &Identity,
        users: Vec<UserId>,
        channel: &Channel,
        by: Maker,
        member: bool,
    ) -> Result<Option<Membership>, Error> {
        let mut concerned = users;
        if concerned.len() <= USERS_LOOKED_UP {
            let mut changing = Vec::with_capacity(concerned.len());
            for user in concerned {
                let key = UserKey { tenant: identity.tenant.clone(), user };
                let inbox = self.inbox_of(&key, self.log().head()).await?;
                if inbox.person.is_member_by(channel, by) != member {
                    changing.push(key.user);
                }
            }
            concerned = changing;
        }
        let (users, channels) = (concerned, vec![channel.clone()]);
        Ok((!users.is_empty()).then_some(Membership { users, channels, by, issued_at: None }))
    }

    async fn record_some(&self, identity: &Identity, facts: Vec<Fact>) -> Result<Done, Error> {
        if facts.is_empty() {
            return Ok(Done { position: self.log().head() });
        }
        self.record(&identity.tenant, facts).await
    }

    /// Makes the server hear of a token's user, and settles the memberships that its roles make. Called whenever a user
    /// comes in; writes only when something changed.
    ///
    /// # Errors
    /// See [`Error`]; memberships may be half-settled, the next call goes on.
    pub async fn admit(&self, identity: &Identity) -> Result<UserKey, Error> {
        let key = identity.key()?;
        for _ in 0..ADMISSION_ROUNDS {
            let inbox = self.inbox_of(&key, self.log().head()).await?;
            let facts = admission(identity, &key.user, &inbox.person);
            if facts.is_empty() {
                break;
            }
            self.record(&key.tenant, facts).await?;
        }
        Ok(key)
    }
}

/// What has to be recorded so that a person's memberships are those their token claims.
fn admission(identity: &Identity, user: &UserId, person: &crate::inbox::Person) -> Vec<Fact> {
    let (newest, claimed) = person.claimed();
    let had: BTreeSet<Channel> = claimed.cloned().collect();
    // A token that does not say when it was issued cannot take anything back, nor speak after one that does.
    let counts =
        identity.issued_at.map_or(newest.is_none(), |issued| newest.is_none_or(|newest| issued >= newest));
    let wanted: BTreeSet<Channel> = if counts { identity.claimed_channels().collect() } else { had.clone() };
    let mut joining: Vec<Channel> = wanted.difference(&had).cloned().collect();
    if !person.is_known() && joining.is_empty() {
        joining.push(Channel::everyone());
    }
    // Only a newer token takes anything back, so that two of the same second do not fight.
    let is_newer = identity.issued_at.is_some_and(|issued| newest.is_none_or(|newest| issued > newest));
    let leaving: Vec<Channel> =
        if is_newer { had.difference(&wanted).cloned().collect() } else { Vec::new() };
    let membership = |channels: Vec<Channel>| {
        let (users, issued_at) = (vec![user.clone()], identity.issued_at);
        (!channels.is_empty()).then_some(Membership { users, channels, by: Maker::Claims, issued_at })
    };
    let joined = membership(joining).map(Fact::Joined);
    joined.into_iter().chain(membership(leaving).map(Fact::Left)).collect()
}
