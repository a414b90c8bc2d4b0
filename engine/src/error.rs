//! What can go wrong with a command or a query, as whoever sent it can act on it.

use crate::input::{FieldError, InputError};
use crate::log::LogError;
use crate::position::Position;

/// Why a command or a query was refused, or what is not known of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is not what was expected. Nothing was done.
    #[error("{}", first_of(.0))]
    Invalid(Vec<FieldError>),
    /// The input is not JSON, or nests too deep. Nothing was done.
    #[error("{0}")]
    Malformed(String),
    /// The token does not allow it. Nothing was done.
    #[error("this needs {needs}")]
    Forbidden {
        /// What would be needed.
        needs: String,
    },
    /// There is no such notification, or it is not this user's, or it was taken back. Nothing was done.
    #[error("{field}: there is no such notification here")]
    NotFound {
        /// The field that names it.
        field: String,
    },
    /// Nobody is addressed: neither the publisher nor a routing rule named anyone. Nothing was done.
    #[error("audience: expected users or channels, or a routing rule that adds some")]
    NobodyAddressed,
    /// The idempotency key was used before, for something else. Nothing was done.
    #[error("the idempotency key was used before for different content")]
    KeyReused,
    /// A routing rule failed. Nothing was done.
    #[error("the routing rule `{rule}` failed: {reason}")]
    Rule {
        /// Which.
        rule: String,
        /// What it said.
        reason: String,
    },
    /// More is waiting than the disk can take. Nothing was done; try again.
    #[error("more is waiting to be written than the disk can take, try again")]
    Busy,
    /// The disk is full, or nearly. Nothing was done; try again when there is room.
    #[error("the disk is nearly full, and nothing more is accepted until there is room")]
    InsufficientStorage,
    /// The log failed meanwhile. Whether it was done is not known; try again with the same idempotency key.
    #[error("it is not known whether this was done, try again with the same idempotency key")]
    OutcomeUnknown,
    /// The position asked for has not been reached in time.
    #[error("position {wanted} has not been reached, this is {reached}")]
    NotReached {
        /// What was asked for.
        wanted: Position,
        /// How far this server is.
        reached: Position,
    },
    /// The view is being rebuilt already. Nothing was done.
    #[error("the inbox view is being rebuilt already")]
    Rebuilding,
    /// The engine is stopping. Nothing was done.
    #[error("the server is stopping")]
    Stopping,
    /// Something inside failed; the log says what.
    #[error("something failed inside")]
    Internal,
}

fn first_of(errors: &[FieldError]) -> String {
    errors.first().map_or_else(String::new, |error| format!("{}: {}", error.field, error.detail))
}

impl Error {
    /// An error of one field.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, detail)])
    }
}

impl From<InputError> for Error {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Field(field) => Self::Invalid(vec![field]),
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::from(&error)
    }
}

impl From<&LogError> for Error {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::Busy => Self::Busy,
            LogError::Full => Self::InsufficientStorage,
            LogError::OutcomeUnknown => Self::OutcomeUnknown,
            LogError::Closed => Self::Stopping,
            LogError::Store(_) | LogError::Decode(_) => {
                tracing::error!(%error, "the event log cannot be read");
                Self::Internal
            }
        }
    }
}
