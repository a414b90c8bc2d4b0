//! Presence: who is online, by role, with how many connections, in which sessions.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Connected, Hub};
use crate::names::{Channel, Role, SessionId, Tenant, UserId};

/// Users named in an answer at most; the totals are of all.
const USERS_NAMED: usize = 1_000;

/// Who of a tenant is online.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Users with at least one connection.
    pub users: usize,
    /// Open connections.
    pub connections: usize,
    /// Login sessions with at least one connection.
    pub sessions: usize,
    /// Online users with each role.
    pub by_role: BTreeMap<Role, usize>,
    /// Open connections by transport.
    pub by_transport: BTreeMap<&'static str, usize>,
    /// Open connections of each user, of at most 1,000 users.
    pub connections_per_user: BTreeMap<UserId, usize>,
}

/// Who of a channel is online.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelPresence {
    /// The channel.
    pub channel: Option<Channel>,
    /// Members with at least one connection.
    pub members: usize,
    /// Others with a connection that watches it.
    pub watchers: usize,
    /// Who they are, at most 1,000.
    pub users: BTreeSet<UserId>,
}

impl Hub {
    /// Who of a tenant is online.
    pub(crate) fn presence(&self, tenant: &Tenant) -> Presence {
        let mut presence = Presence::default();
        let mut sessions: BTreeSet<&SessionId> = BTreeSet::new();
        for (key, user) in self.users.iter().filter(|(key, _)| key.tenant == *tenant) {
            presence.users += 1;
            presence.connections += user.slots.len();
            if presence.connections_per_user.len() < USERS_NAMED {
                presence.connections_per_user.insert(key.user.clone(), user.slots.len());
            }
            let mut roles: BTreeSet<&Role> = BTreeSet::new();
            for connected in user.slots.iter().filter_map(|slot| self.at(*slot)) {
                let subscription = &connected.subscription;
                roles.extend(&subscription.identity.roles);
                sessions.extend(&subscription.identity.session);
                *presence.by_transport.entry(subscription.transport).or_default() += 1;
            }
            for role in roles {
                *presence.by_role.entry(role.clone()).or_default() += 1;
            }
        }
        presence.sessions = sessions.len();
        presence
    }

    /// Who of a channel is online.
    pub(crate) fn channel_presence(&self, tenant: &Tenant, channel: &Channel) -> ChannelPresence {
        let none = RoaringBitmap::new();
        let channels = self.tenants.get(tenant);
        let members = channels.and_then(|channels| channels.members.get(channel)).unwrap_or(&none);
        let watching = channels.and_then(|channels| channels.watchers.get(channel)).unwrap_or(&none);
        let members = self.users_at(members);
        let watchers: BTreeSet<UserId> = self.users_at(watching).difference(&members).cloned().collect();
        ChannelPresence {
            channel: Some(channel.clone()),
            members: members.len(),
            watchers: watchers.len(),
            users: members.into_iter().chain(watchers).take(USERS_NAMED).collect(),
        }
    }

    fn users_at(&self, slots: &RoaringBitmap) -> BTreeSet<UserId> {
        let connected = slots.iter().filter_map(|slot| self.at(slot));
        connected.map(|connected: &Connected| connected.subscription.key.user.clone()).collect()
    }
}
