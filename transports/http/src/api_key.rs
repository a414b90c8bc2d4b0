//! Keys for services, beside tokens: `tdk_ID_SECRET`. Kept in a file of the data directory as a hash of the secret, which is
//! random, so that a fast hash is enough; made and revoked there while a server runs, which looks once a second.

mod file;
mod used;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, rand};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_engine::access::{ChannelPattern, Scopes};
use tidings_engine::{Identity, Tenant};

use file::Stamp;
pub use file::{KeyFile, KeyFileError};

/// How a key begins, so that it is known for one wherever it is found.
pub(crate) const PREFIX: &str = "tdk_";
/// Random bytes of an id: it only has to be another one each time.
const ID_BYTES: usize = 8;
/// Random bytes of a secret: nobody guesses it, so its hash needs no salt and need not be slow.
const SECRET_BYTES: usize = 32;

/// What a key may do.
#[derive(Clone, Debug, Default)]
pub struct KeyGrant {
    /// What it is for.
    pub name: String,
    /// Its application.
    pub tenant: Tenant,
    /// Whether it may publish.
    pub publish: bool,
    /// Whether it may manage.
    pub admin: bool,
    /// Whether it may read the server's metrics.
    pub metrics: bool,
    /// Whether it may run the server.
    pub operator: bool,
    /// The channels it may publish to; without any, to all. `user:ID` is a user.
    pub channels: Vec<ChannelPattern>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A key as it is kept: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRecord {
    /// Its id, which the key holds.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// The SHA-256 of its secret, in hexadecimal digits.
    hash: String,
    /// Its application.
    pub tenant: Tenant,
    /// Whether it may publish.
    pub publish: bool,
    /// Whether it may manage.
    pub admin: bool,
    /// Whether it may read the server's metrics.
    #[serde(default)]
    pub metrics: bool,
    /// Whether it may run the server.
    #[serde(default)]
    pub operator: bool,
    /// The channels it may publish to; without any, to all.
    pub channels: Vec<ChannelPattern>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl KeyRecord {
    /// A new key, and what its holder shows: this is the only time that it is known.
    fn make(grant: KeyGrant) -> Result<(Self, String), aws_lc_rs::error::Unspecified> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        rand::fill(&mut id)?;
        rand::fill(&mut secret)?;
        let (id, secret) = (hex(&id), hex(&secret));
        let key = format!("{PREFIX}{id}_{secret}");
        let KeyGrant { name, tenant, publish, admin, metrics, operator, channels, expires_at } = grant;
        let (hash, created_at) = (hash(&secret), now());
        let record = Self {
            id,
            name,
            hash,
            tenant,
            publish,
            admin,
            metrics,
            operator,
            channels,
            created_at,
            expires_at,
            revoked_at: None,
        };
        Ok((record, key))
    }

    /// Whether it lets anybody in at a time.
    #[must_use]
    pub fn is_valid(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| at < end)
    }

    /// Who shows it. Narrowed to channels, it has no scope to publish, so that whatever asks for that is refused.
    fn identity(&self) -> Identity {
        let is_narrow = !self.channels.is_empty();
        let mut identity = Identity::service(self.tenant.clone());
        identity.key = Some(self.id.as_str().into());
        identity.scopes = Scopes {
            publish: self.publish && !is_narrow,
            admin: self.admin,
            metrics: self.metrics,
            operator: self.operator,
        };
        identity.publish_to = if self.publish { self.channels.clone() } else { Vec::new() };
        identity.expires_at = self.expires_at.map_or(i64::MAX, Timestamp::as_second);
        identity
    }
}

/// The keys of a server, as they were when it last looked.
#[derive(Default)]
pub(crate) struct ApiKeys {
    /// Where they are kept, if they are.
    data: Option<PathBuf>,
    read: RwLock<Arc<Read>>,
}

#[derive(Default)]
struct Read {
    stamp: Option<Stamp>,
    by_id: HashMap<String, Entry>,
}

struct Entry {
    record: KeyRecord,
    /// When it was last shown, in seconds since 1970.
    used_at: Arc<AtomicI64>,
}

impl ApiKeys {
    /// The keys in a data directory.
    pub(crate) fn open(data: &Path) -> Result<Self, KeyFileError> {
        let (stamp, records) = KeyFile::of(data).read()?;
        let used = used::read(data);
        let keys = Self { data: Some(data.to_owned()), read: RwLock::default() };
        keys.take(stamp, records, |id| used.get(id).map_or(0, |at| at.as_second()));
        Ok(keys)
    }

    /// Who shows a key, and its id.
    pub(crate) fn verify(&self, key: &str) -> Result<(Identity, Arc<str>), String> {
        let (id, secret) =
            key.strip_prefix(PREFIX).and_then(|key| key.split_once('_')).ok_or("it is no key")?;
        let read = self.read();
        let entry = read.by_id.get(id);
        // Compared also when there is no such key, so that ids cannot be told from the time it takes.
        let kept = entry.map_or("", |entry| entry.record.hash.as_str());
        let is_equal = verify_slices_are_equal(kept.as_bytes(), hash(secret).as_bytes()).is_ok();
        let entry = entry.filter(|_| is_equal).ok_or("there is no such key")?;
        let at = Timestamp::now();
        if !entry.record.is_valid(at) {
            return Err(format!("the key {id} is revoked, or has ended"));
        }
        entry.used_at.store(at.as_second(), Ordering::Relaxed);
        Ok((entry.record.identity(), id.into()))
    }

    /// Whether a key still lets its holder in.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.read().by_id.get(id).is_some_and(|entry| entry.record.is_valid(Timestamp::now()))
    }

    /// Looks whether the file has changed, and reads it then. Whether it has. While it cannot be read, there is no key.
    pub(crate) fn refresh(&self) -> bool {
        let Some(data) = &self.data else { return false };
        let file = KeyFile::of(data);
        if file.stamp() == self.read().stamp {
            return false;
        }
        let (stamp, records) = file.read().unwrap_or_else(|error| {
            tracing::error!(%error, "no key of a service lets anybody in until this is mended");
            (file.stamp(), Vec::new())
        });
        let before = self.read();
        self.take(stamp, records, |id| {
            before.by_id.get(id).map_or(0, |entry| entry.used_at.load(Ordering::Relaxed))
        });
        true
    }

    /// Notes in the data directory when keys were last used.
    pub(crate) fn note_uses(&self) {
        let Some(data) = &self.data else { return };
        let read = self.read();
        let used = read.by_id.iter().map(|(id, entry)| (id.as_str(), entry.used_at.load(Ordering::Relaxed)));
        used::write(data, used.filter(|(_, at)| *at > 0));
    }

    fn take(&self, stamp: Option<Stamp>, records: Vec<KeyRecord>, used_at: impl Fn(&str) -> i64) {
        let entry = |record: KeyRecord| {
            let used_at = Arc::new(AtomicI64::new(used_at(&record.id)));
            (record.id.clone(), Entry { record, used_at })
        };
        let by_id = records.into_iter().map(entry).collect();
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Read { stamp, by_id });
    }

    fn read(&self) -> Arc<Read> {
        self.read.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When keys of a data directory were last used, as a server has noted it, to the minute.
#[must_use]
pub fn last_used(data: &Path) -> HashMap<String, Timestamp> {
    used::read(data)
}

fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn hash(secret: &str) -> String {
    hex(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
