//! Progress: how far devices have come, many of them in one event.
//!
//! A connection is introduced once, by a number; afterwards it is only that number in a set, so that thousands of devices
//! that are at the same place are a few bytes.

use std::fmt;
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{DeviceName, NotificationType, UserId};
use crate::position::Position;

/// Upper bounds of the buckets of a latency, in milliseconds; a last bucket holds what took longer.
pub const LATENCIES_MS: [u32; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 10_000, 60_000];

/// What changed since the last one of the same server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Where the server that says so was started: its numbers are its own.
    pub run: Position,
    /// Connections that were not in an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Connected>,
    /// Connections by how far they have come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reached>,
    /// What was sent and acknowledged meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Metered>,
}

/// A connection of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// What it is called from here on.
    pub number: u32,
    /// Whose it is.
    pub user: UserId,
    /// Which of their devices.
    pub device: DeviceName,
    /// How it is connected.
    pub transport: Arc<str>,
    /// It gets what came after this.
    pub from: Position,
    /// How far the log was when it connected. What it missed was judged by what was theirs then.
    pub began: Position,
    /// What the device had when it came back: it acknowledges everything of its own up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<Position>,
}

/// How far connections have come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// Everything of their own up to here was sent.
    pub sent: Position,
    /// And up to here acknowledged; 0 when nothing was.
    pub acknowledged: Position,
    /// Which.
    pub connections: Numbers,
}

/// How many notifications of a kind were sent over a transport, and how many of them acknowledged, once for each
/// connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metered {
    /// Their type.
    #[serde(rename = "type")]
    pub kind: NotificationType,
    /// The channel they were addressed to, `users`, or `several`.
    pub channel: Arc<str>,
    /// How.
    pub transport: Arc<str>,
    /// How many were sent, by how long it took since they were published: see [`LATENCIES_MS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<u32>,
    /// How many were acknowledged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delivered: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A set of numbers. As text: ranges, such as `1-2000,2005`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(pub RoaringBitmap);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.0.iter();
        let mut comma = "";
        while let Some(range) = numbers.next_range() {
            write!(f, "{comma}{}", range.start())?;
            if range.start() != range.end() {
                write!(f, "-{}", range.end())?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut numbers = RoaringBitmap::new();
        let expected = || serde::de::Error::custom("expected numbers and ranges, such as 1-2000,2005");
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u32>().map_err(|_| expected());
            numbers.insert_range(number(first)?..=number(last)?);
        }
        Ok(Self(numbers))
    }
}
