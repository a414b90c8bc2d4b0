//! The settings of how the server stops.

use serde::Deserialize;

use crate::Findings;

/// How long a server that stops may go on to accept, and how long its clients may stay away, at most: an hour.
const SECONDS_MOST: u32 = 3_600;

/// How the server stops when it is told to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ShutdownSettings {
    /// How long it goes on to serve and accept after it has said that it is not ready.
    pub delay_seconds: u32,
    /// Within how long its clients are told to come back, each at another moment.
    pub return_within_seconds: u32,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { delay_seconds: 0, return_within_seconds: 10 }
    }
}

impl ShutdownSettings {
    pub(crate) fn check(&self, findings: &mut Findings) {
        for (key, seconds) in [
            ("shutdown.delay-seconds", self.delay_seconds),
            ("shutdown.return-within-seconds", self.return_within_seconds),
        ] {
            if seconds > SECONDS_MOST {
                findings.wrong(key, format!("expected at most {SECONDS_MOST}, got {seconds}"));
            }
        }
    }
}
