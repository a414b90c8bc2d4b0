//! Tokens that were verified a moment ago: whoever sends one with every request has it verified once. Holds none of them, but
//! what they hash to; knows nothing of time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use hashlink::LruCache;

use super::Verified;

/// Tokens that are remembered at most; the one that was shown longest ago is forgotten first.
const TOKENS_MOST: usize = 16_384;
/// Bytes of a token that is remembered: who it says its holder is takes about as many. Most have a few hundred.
const TOKEN_BYTES_MOST: usize = 1_024;

/// What a token hashes to: it does not lie in memory, and how long a look takes says nothing of others.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

impl Fingerprint {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// Who was verified, by the fingerprint of what they had shown.
pub(super) struct Remembered(Mutex<LruCache<Fingerprint, Verified>>);

impl Remembered {
    pub(super) fn nobody() -> Self {
        Self(Mutex::new(LruCache::new_unbounded()))
    }

    /// Who showed it, if that still is good; otherwise they are forgotten.
    pub(super) fn get(
        &self,
        fingerprint: &Fingerprint,
        is_good: impl FnOnce(&Verified) -> bool,
    ) -> Option<Verified> {
        let mut remembered = self.locked();
        let verified = remembered.get(fingerprint)?;
        if is_good(verified) {
            return Some(verified.clone());
        }
        remembered.remove(fingerprint);
        None
    }

    pub(super) fn put(&self, fingerprint: Fingerprint, token: &str, verified: Verified) {
        if token.len() > TOKEN_BYTES_MOST {
            return;
        }
        let mut remembered = self.locked();
        remembered.insert(fingerprint, verified);
        if remembered.len() > TOKENS_MOST {
            remembered.remove_lru();
        }
    }

    fn locked(&self) -> MutexGuard<'_, LruCache<Fingerprint, Verified>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
