//! Places: where an event is in the log, and where a notification is in its stream.
//!
//! These are numbers that must not be mixed up, so each is a type of its own. Nothing here reads a clock or a store.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(extend("maximum" = u64::MAX))]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }

            /// As SQLite stores it. A log would need 2⁶³ events to overflow this.
            pub(crate) fn sql(self) -> i64 {
                self.0 as i64
            }

            /// From what [`sql`](Self::sql) gave.
            pub(crate) fn from_sql(value: i64) -> Self {
                Self(value as u64)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An event's place in the log: starts at 1, grows by 1, is never reused. 0 is "before everything".
    Position
}
number! {
    /// A notification's dense number within its stream: 1, 2, 3 …. 0 is "before everything".
    Offset
}
number! {
    /// The log's short name for a stream, given when the stream is first addressed.
    StreamId
}

/// The identity of a log. A client that resumes with another epoch has to reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[0-9a-f]{12}$"))]
pub struct Epoch(std::sync::Arc<str>);

impl Epoch {
    /// A new, random epoch: 12 hexadecimal digits.
    #[must_use]
    pub fn random() -> Self {
        let random = uuid::Uuid::now_v7().as_u128() as u64 & 0xffff_ffff_ffff;
        Self(format!("{random:012x}").into())
    }

    /// The epoch a store has kept.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The epoch as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a client holds: how far it has seen this log. Opaque to clients, the same bytes for everybody at the same
/// position. On the wire: `epoch.position`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("pattern" = r"^[0-9A-Fa-f]{12}\.[0-9]{1,19}$"))]
pub struct Cursor {
    /// The log it belongs to.
    pub epoch: Epoch,
    /// Everything up to and including this position was seen.
    pub position: Position,
}

/// A cursor that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("expected a cursor as an earlier message gave it")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.as_str(), self.position)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, position) = text.split_once('.').ok_or(CursorError)?;
        let epoch_is_sound = epoch.len() == 12 && epoch.bytes().all(|b| b.is_ascii_hexdigit());
        if !epoch_is_sound || !position.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CursorError);
        }
        let position = position.parse().map_err(|_| CursorError)?;
        Ok(Self { epoch: Epoch(epoch.into()), position: Position(position) })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_wire_and_garbage_does_not() {
        let cursor = Cursor { epoch: Epoch::random(), position: Position(42) };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for garbage in
            ["", ".", "abc", "0123456789ab.", "0123456789ab.-1", "0123456789ab.99999999999999999999", "x.1"]
        {
            assert!(garbage.parse::<Cursor>().is_err(), "{garbage}");
        }
    }
}
