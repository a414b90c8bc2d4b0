//! What was wrong with what was received, and what else happened on the way.

use std::collections::BTreeMap;

use serde::Serialize;

/// How many faults are told one by one.
const EXAMPLES: usize = 10;

/// Kinds of faults. Each delivery that is due comes once, to whom it is for, in the order of positions, at the position that the
/// publish was answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It did not come.
    Gap,
    /// It came more than once.
    Repeat,
    /// It came after one with a higher position.
    Disorder,
    /// It came at another position than elsewhere, or than its publisher was told.
    Misplaced,
    /// It was for somebody else.
    Misdelivered,
}

/// What was checked, and found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Checks {
    /// Deliveries of this run's notifications that came.
    pub(crate) deliveries: u64,
    pub(crate) gaps: u64,
    pub(crate) repeats: u64,
    pub(crate) disorder: u64,
    pub(crate) misplaced: u64,
    pub(crate) misdelivered: u64,
    /// Notifications that were due to be published and of which nobody ever learned what became of them, though their
    /// connections stayed.
    pub(crate) unanswered: u64,
    /// Not faults: what devices missed that were told so (`reset`).
    pub(crate) missed_by_reset: u64,
    /// Not faults: notifications that this run did not publish.
    pub(crate) of_others: u64,
    /// The first faults, in words.
    pub(crate) examples: Vec<String>,
}

impl Checks {
    pub(crate) fn is_sound(&self) -> bool {
        let faults =
            [self.gaps, self.repeats, self.disorder, self.misplaced, self.misdelivered, self.unanswered];
        faults.iter().all(|count| *count == 0)
    }

    pub(crate) fn note(&mut self, fault: Fault, words: impl FnOnce() -> String) {
        *match fault {
            Fault::Gap => &mut self.gaps,
            Fault::Repeat => &mut self.repeats,
            Fault::Disorder => &mut self.disorder,
            Fault::Misplaced => &mut self.misplaced,
            Fault::Misdelivered => &mut self.misdelivered,
        } += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(words());
        }
    }
}

/// What happened that disturbs a measurement, and is no fault.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Disturbances {
    /// Devices that were told to reload, by reason.
    pub(crate) resets: BTreeMap<String, u64>,
    /// Connections that the server closed, by its reason.
    pub(crate) closings: BTreeMap<String, u64>,
    /// Connections that ended without a word, by the error.
    pub(crate) broken: BTreeMap<String, u64>,
    /// Connections that were refused, by why.
    pub(crate) connections_refused: BTreeMap<String, u64>,
    /// Notifications that were refused, by why.
    pub(crate) publishes_refused: BTreeMap<String, u64>,
    /// Notifications whose answer was lost with its connection.
    pub(crate) publishes_unanswered: u64,
}

impl Disturbances {
    /// Each with what it is called.
    pub(crate) fn all(&self) -> Vec<(String, u64)> {
        let kinds = [
            ("devices reset", &self.resets),
            ("connections closed", &self.closings),
            ("connections broken", &self.broken),
            ("connections refused", &self.connections_refused),
            ("publishes refused", &self.publishes_refused),
        ];
        let named = |(name, reasons)| {
            let reasons: &BTreeMap<String, u64> = reasons;
            reasons.iter().map(move |(reason, count)| (format!("{name}: {reason}"), *count))
        };
        let mut all: Vec<(String, u64)> = kinds.into_iter().flat_map(named).collect();
        if self.publishes_unanswered > 0 {
            all.push(("publishes without an answer".to_owned(), self.publishes_unanswered));
        }
        all
    }
}

/// Counts one more.
pub(crate) fn count(reasons: &mut BTreeMap<String, u64>, reason: impl Into<String>) {
    *reasons.entry(reason.into()).or_default() += 1;
}
