//! The file of keys: `keys.json` in the data directory. Each change is a whole new file that is renamed into place, so that
//! a server that reads it meanwhile sees the one or the other.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{KeyGrant, KeyRecord, now};

/// Keys at most, those that are revoked included: each is looked at when the file is read.
const KEYS_MOST: usize = 10_000;
/// Bytes of a name at most: a line of a list.
const NAME_BYTES: usize = 128;

/// The keys of a data directory, for those who make and revoke them.
pub struct KeyFile {
    data: PathBuf,
}

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file, or the directory.
    #[error("{path} cannot be used: {error}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What is in the file.
    #[error("{path} is not as expected: {error}")]
    NoKeys {
        /// Which.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// There is no such key.
    #[error("there is no key {0}")]
    NoSuchKey(String),
    /// What the key is to be called.
    #[error("expected a name of 1 to {NAME_BYTES} bytes without control characters")]
    Name,
    /// There are too many.
    #[error("expected at most {KEYS_MOST} keys")]
    TooMany,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomNumbers,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    keys: Vec<KeyRecord>,
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64, i64, i64);

impl KeyFile {
    /// The keys of a data directory, which need not be there.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// Makes a key. What its holder shows is known only now.
    ///
    /// # Errors
    /// [`KeyFileError`]; nothing was done.
    pub fn make(&self, grant: KeyGrant) -> Result<(KeyRecord, String), KeyFileError> {
        if !(1..=NAME_BYTES).contains(&grant.name.len()) || grant.name.chars().any(char::is_control) {
            return Err(KeyFileError::Name);
        }
        let (record, key) = KeyRecord::make(grant).map_err(|_| KeyFileError::NoRandomNumbers)?;
        self.change(|keys| {
            if keys.len() == KEYS_MOST {
                return Err(KeyFileError::TooMany);
            }
            keys.push(record.clone());
            Ok(())
        })?;
        Ok((record, key))
    }

    /// All keys, in the order in which they were made.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn list(&self) -> Result<Vec<KeyRecord>, KeyFileError> {
        self.read().map(|(_, keys)| keys)
    }

    /// Revokes a key. One that is revoked already stays so.
    ///
    /// # Errors
    /// [`KeyFileError`]; nothing was done.
    pub fn revoke(&self, id: &str) -> Result<KeyRecord, KeyFileError> {
        let mut revoked = None;
        self.change(|keys| {
            let key = keys.iter_mut().find(|key| key.id == id);
            let key = key.ok_or_else(|| KeyFileError::NoSuchKey(id.to_owned()))?;
            key.revoked_at.get_or_insert_with(now);
            revoked = Some(key.clone());
            Ok(())
        })?;
        revoked.ok_or_else(|| KeyFileError::NoSuchKey(id.to_owned()))
    }

    /// What is there now, and what tells it from what comes later. A file that is not there holds no key.
    pub(super) fn read(&self) -> Result<(Option<Stamp>, Vec<KeyRecord>), KeyFileError> {
        // The stamp first: what is written in between is read again the next time.
        let (stamp, path) = (self.stamp(), self.path());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((stamp, Vec::new())),
            Err(error) => return Err(KeyFileError::Unusable { path, error }),
        };
        let content: Content =
            serde_json::from_slice(&text).map_err(|error| KeyFileError::NoKeys { path, error })?;
        Ok((stamp, content.keys))
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        let of = std::fs::metadata(self.path()).ok()?;
        Some(Stamp(of.ino(), of.len(), of.mtime(), of.mtime_nsec()))
    }

    fn path(&self) -> PathBuf {
        self.data.join("keys.json")
    }

    /// One change at a time, whoever makes it.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<(), KeyFileError>,
    ) -> Result<(), KeyFileError> {
        let within = |path: PathBuf| move |error| KeyFileError::Unusable { path, error };
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data);
        made.map_err(within(self.data.clone()))?;
        let lock = self.data.join("keys.lock");
        let held = File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(within(lock))?;
        let (_, mut keys) = self.read()?;
        change(&mut keys)?;
        let text = serde_json::to_vec_pretty(&Content { version: 1, keys });
        let text = text.map_err(|error| KeyFileError::NoKeys { path: self.path(), error })?;
        replace(&self.path(), &text).map_err(within(self.path()))?;
        drop(held);
        Ok(())
    }
}

/// Puts a file in the place of another, on disk when this returns. Only its owner can read it.
pub(super) fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let building = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&building)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&building, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
