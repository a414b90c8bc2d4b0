//! The streams of channels, as the fold knows them: how far each has come, and which channels lead to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::reading::Offsets;
use crate::names::{Channel, Tenant};
use crate::position::{Offset, Position, StreamId};

/// A stream of one channel, or of several that were addressed together.
#[derive(Clone, Debug)]
pub(super) struct SharedStream {
    pub(super) tenant: Tenant,
    /// Sorted, each once.
    pub(super) channels: Arc<[Channel]>,
    pub(super) head: Offset,
    /// Where its first and its last notification are in the log.
    pub(super) first: Position,
    pub(super) last: Position,
    /// Those that were taken back from everybody.
    pub(super) retracted: Arc<Offsets>,
}

/// All streams of channels. There are as many as different sets of channels were ever addressed.
#[derive(Debug, Default)]
pub(super) struct SharedStreams {
    streams: HashMap<StreamId, SharedStream>,
    by_channel: HashMap<Tenant, HashMap<Channel, Vec<StreamId>>>,
}

impl SharedStreams {
    pub(super) fn get(&self, id: StreamId) -> Option<&SharedStream> {
        self.streams.get(&id)
    }

    /// Adds a stream, as it was loaded or as it begins.
    pub(super) fn insert(&mut self, id: StreamId, stream: SharedStream) {
        let by_channel = self.by_channel.entry(stream.tenant.clone()).or_default();
        for channel in stream.channels.iter() {
            by_channel.entry(channel.clone()).or_default().push(id);
        }
        self.streams.insert(id, stream);
    }

    /// Notes the stream's next notification.
    pub(super) fn advance(
        &mut self,
        tenant: &Tenant,
        channels: &[Channel],
        id: StreamId,
        head: Offset,
        position: Position,
    ) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.head = head;
            stream.last = position;
            return;
        }
        let (tenant, channels) = (tenant.clone(), channels.into());
        let retracted = Arc::default();
        self.insert(id, SharedStream { tenant, channels, head, first: position, last: position, retracted });
    }

    /// Takes one back from everybody. Whether it was there.
    pub(super) fn retract(&mut self, id: StreamId, offset: Offset) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        Arc::make_mut(&mut stream.retracted).insert(offset.0)
    }

    /// The streams that a channel leads to.
    pub(super) fn of_channel(
        &self,
        tenant: &Tenant,
        channel: &Channel,
    ) -> impl Iterator<Item = (StreamId, &SharedStream)> {
        let ids = self.by_channel.get(tenant).and_then(|channels| channels.get(channel));
        let ids = ids.map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.streams.get(id).map(|stream| (*id, stream)))
    }
}
