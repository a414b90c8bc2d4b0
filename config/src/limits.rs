//! The settings of limits: how much a connection, a person and a service may do, and how long anything may take.
//!
//! What bounds a single notification or command is no setting: `engine/src/limits.rs`. `docs/limits.md` lists both.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use crate::Findings;

/// The period of a rate at most: what was used up is forgotten after it.
const RATE_SECONDS_MOST: u32 = 3_600;
/// How long anything may be waited for at most.
const PATIENCE_SECONDS_MOST: u32 = 3_600;
/// Bytes of a message at least and at most: one with a body of a page fits, and one connection cannot fill the memory.
const MESSAGE_BYTES: std::ops::RangeInclusive<u32> = (32 << 10)..=(16 << 20);
/// Bytes of a batch at most.
const BATCH_BYTES_MOST: u32 = 64 << 20;
/// Bytes of a request's headers: a token fits, and what is held for somebody unknown stays small.
const HEADER_BYTES: std::ops::RangeInclusive<u32> = (8 << 10)..=(256 << 10);

/// So many in so many seconds on average, and as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// So many …
    pub count: NonZeroU32,
    /// … in so many seconds.
    pub seconds: NonZeroU32,
}

impl Rate {
    const fn new(count: u32, seconds: u32) -> Self {
        Self { count: nonzero(count), seconds: nonzero(seconds) }
    }

    /// The time in which they may come.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_secs(self.seconds.get().into())
    }
}

/// How much may come in, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitSettings {
    /// Connections of everybody.
    pub connections: NonZeroU32,
    /// Connections from one address; of IPv6, from one /64.
    pub connections_per_address: NonZeroU32,
    /// Live connections, WebSocket and SSE, of one user.
    pub connections_per_user: NonZeroU32,
    /// Commands on one WebSocket.
    pub commands: Rate,
    /// HTTP requests of one user, on all connections.
    pub requests: Rate,
    /// HTTP requests of the services of one tenant.
    pub service_requests: Rate,
    /// Notifications that one publisher publishes.
    pub publishes: Rate,
    /// Bytes of a body that carries one command, and of a WebSocket message.
    pub message_bytes: NonZeroU32,
    /// Bytes of a body that carries a batch.
    pub batch_bytes: NonZeroU32,
    /// Bytes of a request's headers.
    pub header_bytes: NonZeroU32,
    /// Headers of a request.
    pub headers: NonZeroU32,
    /// Requests that one HTTP/2 connection has open at once.
    pub streams: NonZeroU32,
    /// How long a client may take for the TLS handshake, and for its token on a WebSocket that came without.
    pub handshake_seconds: NonZeroU32,
    /// How long a client may take for a request's headers, and how long a connection may be without a request.
    pub header_seconds: NonZeroU32,
    /// How long a body may take to arrive.
    pub body_seconds: NonZeroU32,
    /// How often a quiet live connection is told where the log is; a WebSocket that is silent three times as long ends.
    pub heartbeat_seconds: NonZeroU32,
}

const fn nonzero(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            connections: nonzero(10_000),
            connections_per_address: nonzero(2_000),
            connections_per_user: nonzero(100),
            commands: Rate::new(100, 5),
            requests: Rate::new(500, 5),
            service_requests: Rate::new(20_000, 5),
            publishes: Rate::new(20_000, 5),
            message_bytes: nonzero(256 << 10),
            batch_bytes: nonzero(8 << 20),
            header_bytes: nonzero(16 << 10),
            headers: nonzero(100),
            streams: nonzero(100),
            handshake_seconds: nonzero(5),
            header_seconds: nonzero(15),
            body_seconds: nonzero(10),
            heartbeat_seconds: nonzero(25),
        }
    }
}

impl LimitSettings {
    pub(crate) fn check(&self, findings: &mut Findings) {
        let mut within = |key: &str, value, range, unit| within(findings, key, value, range, unit);
        for (key, rate) in [
            ("limits.commands", self.commands),
            ("limits.requests", self.requests),
            ("limits.service-requests", self.service_requests),
            ("limits.publishes", self.publishes),
        ] {
            let most = RATE_SECONDS_MOST;
            within(key, rate.seconds, 1..=most, "seconds");
        }
        let least = self.message_bytes.get();
        within("limits.message-bytes", self.message_bytes, MESSAGE_BYTES, "bytes");
        within("limits.batch-bytes", self.batch_bytes, least..=BATCH_BYTES_MOST, "bytes");
        within("limits.header-bytes", self.header_bytes, HEADER_BYTES, "bytes");
        for (key, seconds) in [
            ("limits.handshake-seconds", self.handshake_seconds),
            ("limits.header-seconds", self.header_seconds),
            ("limits.body-seconds", self.body_seconds),
            ("limits.heartbeat-seconds", self.heartbeat_seconds),
        ] {
            within(key, seconds, 1..=PATIENCE_SECONDS_MOST, "seconds");
        }
    }
}

fn within(
    findings: &mut Findings,
    key: &str,
    value: NonZeroU32,
    range: std::ops::RangeInclusive<u32>,
    unit: &str,
) {
    if !range.contains(&value.get()) {
        let (least, most) = (range.start(), range.end());
        findings.wrong(key, format!("expected {least} to {most} {unit}, got {value}"));
    }
}
