//! Where a value lies on an axis, and which values are written beside it.

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// From zero, or from the first.
    Linear { from: f64, to: f64 },
    /// Each decade as long as the next.
    Log { from: f64, to: f64 },
    /// Quantiles: each nine more as long as the one before.
    Nines { nines: f64 },
}

impl Scale {
    /// A linear one from zero that holds all of these, and ends at a round number.
    pub(crate) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(0.0, f64::max);
        let step = step(most / 4.0);
        Self::Linear { from: 0.0, to: ((most / step).ceil() * step).max(step) }
    }

    /// A logarithmic one, from 1, 2 or 5 to 1, 2 or 5.
    pub(crate) fn log(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        if !least.is_finite() {
            return Self::Log { from: 1.0, to: 10.0 };
        }
        let from = round_values(least / 10.0, least).last().unwrap_or(least);
        let to = round_values(most * 1.000_001, most * 10.0).next().unwrap_or(most);
        Self::Log { from, to: if to > from { to } else { from * 10.0 } }
    }

    /// From 0 to 1 of the axis.
    pub(crate) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
            Self::Nines { nines } => -(1.0 - value).max(1e-12).log10() / nines,
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that are written.
    pub(crate) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { from, to } => {
                let step = step((to - from) / 5.0);
                let first = (from / step).ceil() as i64;
                let last = (to / step + 1e-9).floor() as i64;
                (first..=last).map(|number| number as f64 * step).collect()
            }
            Self::Log { from, to } => {
                let all: Vec<f64> = round_values(from, to * 1.000_001).collect();
                let decades = (to / from).log10();
                let is_ten = |value: &f64| (value.log10() - value.log10().round()).abs() < 1e-9;
                if decades <= 2.1 { all } else { all.into_iter().filter(is_ten).collect() }
            }
            Self::Nines { nines } => {
                let all = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999];
                all.into_iter().filter(|quantile| -(1.0_f64 - quantile).log10() <= nines + 1e-9).collect()
            }
        }
    }
}

/// 1, 2 or 5, and tens of these: the first that is not smaller.
fn step(least: f64) -> f64 {
    round_values(least.max(1e-9) * 0.999_999, f64::INFINITY).next().unwrap_or(1.0)
}

/// The numbers 1, 2, 5, 10, 20 … between two.
fn round_values(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let first = from.max(1e-12).log10().floor() as i32;
    let all = (first..first + 40).flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)));
    all.skip_while(move |value| *value < from * 0.999_999_9).take_while(move |value| *value <= to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values_and_are_written_in_round_numbers() {
        let linear = Scale::from_zero([3.0, 730.0].into_iter());
        assert_eq!(linear, Scale::Linear { from: 0.0, to: 800.0 });
        assert_eq!(linear.ticks(), [0.0, 200.0, 400.0, 600.0, 800.0]);
        let log = Scale::log([0.3, 42.0].into_iter());
        assert_eq!((log.place(0.2), log.place(50.0)), (0.0, 1.0));
        assert_eq!(
            Scale::log([0.003, 42.0].into_iter()).ticks().len(),
            4,
            "decades alone when there are many"
        );
        let nines = Scale::Nines { nines: 4.0 };
        assert!((nines.place(0.99) - 0.5).abs() < 1e-9 && nines.place(1.0) == 1.0);
        assert_eq!(nines.ticks(), [0.5, 0.9, 0.99, 0.999, 0.9999]);
        for empty in [Scale::from_zero(std::iter::empty()), Scale::log([].into_iter())] {
            assert!(empty.place(0.0) == 0.0 && !empty.ticks().is_empty(), "{empty:?}");
        }
    }
}
