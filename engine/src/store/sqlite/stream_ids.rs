//! The ids of streams that were appended to lately: their rows are then found by number, which costs a third of finding them
//! by name. What is numbered in a stream is left to the database.

use hashlink::LruCache;

use crate::names::Tenant;
use crate::store::StreamName;

/// Streams whose ids are kept at most, some 150 bytes each; the one that was used longest ago is forgotten first.
const KEPT_MOST: usize = 65_536;
/// Channels of a stream whose id is kept: sets of many are as long as they are rare.
const CHANNELS_MOST: usize = 4;

/// The ids. Not to be used after a transaction that was taken back: what it had inserted is not there.
pub(super) struct StreamIds(LruCache<(Tenant, StreamName), i64>);

impl Default for StreamIds {
    fn default() -> Self {
        Self(LruCache::new_unbounded())
    }
}

impl StreamIds {
    pub(super) fn get(&mut self, stream: &(Tenant, StreamName)) -> Option<i64> {
        self.0.get(stream).copied()
    }

    pub(super) fn put(&mut self, stream: (Tenant, StreamName), id: i64) {
        if matches!(&stream.1, StreamName::Channels(channels) if channels.len() > CHANNELS_MOST) {
            return;
        }
        self.0.insert(stream, id);
        if self.0.len() > KEPT_MOST {
            self.0.remove_lru();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
