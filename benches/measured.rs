//! What the benchmarks measure: time; or, if the environment has `TIDINGS_BENCH=cpu`, the processor time of the whole
//! process, which neither other processes nor the disk's mood change much. `compare` asks for that.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// What runs the benchmarks.
pub type Criterion = criterion::Criterion<Measured>;

/// One that measures what the environment asks for.
pub fn criterion() -> Criterion {
    criterion::Criterion::default().with_measurement(Measured)
}

/// Time, or processor time.
pub struct Measured;

/// How much there was so far.
pub fn now() -> Duration {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    static IS_CPU: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("TIDINGS_BENCH").is_some_and(|what| what == "cpu"));
    let begun = *BEGUN;
    if !*IS_CPU {
        return begun.elapsed();
    }
    let taken = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(taken.tv_sec.unsigned_abs(), taken.tv_nsec.unsigned_abs() as u32)
}

impl Measurement for Measured {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        now()
    }

    fn end(&self, begun: Duration) -> Duration {
        now().saturating_sub(begun)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
