//! What benchmarks cost now beside what they cost before, as ratios. Runs nothing: `compare` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What each benchmark costs, by its name. In a baseline, in multiples of what a fixed piece of work costs on the same
/// machine in the same minutes, so that machines compare.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// By name: `append/batch/64`.
    pub benchmarks: BTreeMap<String, f64>,
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file is not there or cannot be read.
    #[error("the baseline {path} cannot be read: {error}; `--save` writes one")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not what `--save` writes.
    #[error("the baseline {path} is damaged: {error}; `--save` writes it anew")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and where.
        error: String,
    },
}

impl Costs {
    /// Reads a baseline.
    ///
    /// # Errors
    /// [`BaselineError`], also when a cost is none.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BaselineError::Unreadable { path: path.to_owned(), error })?;
        let damaged = |error| BaselineError::Damaged { path: path.to_owned(), error };
        let costs: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        match costs.benchmarks.iter().find(|(_, cost)| !is_a_cost(**cost)) {
            Some((name, cost)) => Err(damaged(format!("{name}: expected a cost above 0, got {cost}"))),
            None => Ok(costs),
        }
    }

    /// Writes it as a baseline.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n")
    }

    /// The same in multiples of a cost.
    ///
    /// # Panics
    /// When that is none.
    #[must_use]
    pub fn in_multiples_of(mut self, unit: f64) -> Self {
        assert!(is_a_cost(unit), "expected a cost above 0, got {unit}");
        self.benchmarks.values_mut().for_each(|cost| *cost /= unit);
        self
    }

    /// For each benchmark, the median of what it cost in several rounds.
    #[must_use]
    pub fn medians(rounds: &[Self]) -> Self {
        let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, cost) in rounds.iter().flat_map(|round| &round.benchmarks) {
            all.entry(name.clone()).or_default().push(*cost);
        }
        Self { benchmarks: all.into_iter().map(|(name, costs)| (name, median(costs))).collect() }
    }
}

fn is_a_cost(cost: f64) -> bool {
    cost.is_finite() && cost > 0.0
}

/// The middle one; of an even number, the mean of the two in the middle.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "expected at least one value");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// A benchmark now beside before.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The median of the ratios of each round, now to before, and the least and the most of them.
    Ratio {
        /// The median.
        median: f64,
        /// The least.
        least: f64,
        /// The most.
        most: f64,
    },
    /// It was not there before.
    New,
    /// It is not there any more.
    Gone,
}

impl Change {
    /// Whether it costs more than this ratio.
    #[must_use]
    pub fn is_beyond(&self, tolerance: f64) -> bool {
        matches!(self, Self::Ratio { median, .. } if *median > tolerance)
    }
}

/// Each benchmark of the rounds, in pairs of what it cost before and what it costs now.
#[must_use]
pub fn changes(pairs: &[(Costs, Costs)]) -> BTreeMap<String, Change> {
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for (before, now) in pairs {
        for (name, cost) in &now.benchmarks {
            match before.benchmarks.get(name) {
                Some(before) => ratios.entry(name.clone()).or_default().push(cost / before),
                None => drop(changes.insert(name.clone(), Change::New)),
            }
        }
        let gone = before.benchmarks.keys().filter(|name| !now.benchmarks.contains_key(*name));
        changes.extend(gone.map(|name| (name.clone(), Change::Gone)));
    }
    for (name, ratios) in ratios {
        let (least, most) = ratios
            .iter()
            .fold((f64::MAX, 0.0_f64), |(least, most), ratio| (least.min(*ratio), most.max(*ratio)));
        changes.insert(name, Change::Ratio { median: median(ratios), least, most });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs<const N: usize>(costs: [(&str, f64); N]) -> Costs {
        Costs { benchmarks: costs.map(|(name, cost)| (name.to_owned(), cost)).into() }
    }

    #[test]
    fn a_change_is_the_median_of_each_rounds_ratio() {
        // The second round's machine was three times as slow: what it says is the same.
        let pairs = [
            (costs([("fold", 100.0)]), costs([("fold", 110.0)])),
            (costs([("fold", 300.0)]), costs([("fold", 360.0)])),
            (costs([("fold", 100.0)]), costs([("fold", 200.0)])),
        ];
        let Change::Ratio { median, least, most } = changes(&pairs)["fold"].clone() else {
            panic!("it was there before")
        };
        assert_eq!((median, least, most), (1.2, 1.1, 2.0));
        assert!(changes(&pairs)["fold"].is_beyond(1.19));
        assert!(!changes(&pairs)["fold"].is_beyond(1.21));
    }

    #[test]
    fn a_slower_machine_changes_nothing() {
        let before = costs([("fold", 100.0), ("encode", 4.0)]).in_multiples_of(50.0);
        let now = costs([("fold", 300.0), ("encode", 12.0)]).in_multiples_of(150.0);
        let changes = changes(&[(before, now)]);
        assert!(changes.values().all(|change| !change.is_beyond(1.0001)), "{changes:?}");
        assert!(changes.values().all(|change| change.is_beyond(0.9999)), "{changes:?}");
    }

    #[test]
    fn what_is_new_or_gone_is_said_and_is_no_ratio() {
        let changes =
            changes(&[(costs([("fold", 1.0), ("old", 1.0)]), costs([("fold", 1.0), ("new", 9.0)]))]);
        assert_eq!(changes["old"], Change::Gone);
        assert_eq!(changes["new"], Change::New);
        assert!(!changes["new"].is_beyond(1.0) && !changes["old"].is_beyond(0.0));
    }

    #[test]
    fn medians_are_of_each_benchmark_by_itself() {
        let rounds = [costs([("a", 1.0), ("b", 9.0)]), costs([("a", 3.0)]), costs([("a", 2.0), ("b", 5.0)])];
        assert_eq!(Costs::medians(&rounds), costs([("a", 2.0), ("b", 7.0)]));
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("baseline.json");
        let written = costs([("append/batch/64", 1.5), ("encode/counts", 0.000_3)]);
        written.write(&path).unwrap();
        assert_eq!(Costs::read(&path).unwrap(), written);
    }

    #[test]
    fn a_baseline_that_is_missing_or_damaged_says_so_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("baseline.json");
        let refusal = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            Costs::read(&path).unwrap_err().to_string()
        };
        let missing = refusal(None);
        assert!(missing.contains("baseline.json cannot be read") && missing.contains("--save"), "{missing}");
        let cases = [
            ("", "EOF"),
            (r#"{"benchmarks": {"fold": 1.0"#, "line 1"),
            (r#"{"benchmarks": {"fold": "fast"}}"#, "expected f64"),
            (r#"{"benchmarks": {"fold": 0}}"#, "fold: expected a cost above 0, got 0"),
            (r#"{"benchmarks": {"fold": -2.5}}"#, "fold: expected a cost above 0, got -2.5"),
            (r#"{"benchmark": {}}"#, "unknown field"),
        ];
        for (text, expected) in cases {
            let damaged = refusal(Some(text));
            assert!(damaged.contains("is damaged") && damaged.contains(expected), "{text}: {damaged}");
        }
    }
}
