//! How long readers wait for what is broadcast to them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How long the slowest may take to get the last of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What readers have waited, in microseconds, each for each broadcast.
pub type Latencies = Mutex<Vec<u32>>;

/// Broadcasts now and then, and waits until all readers have everything: the 99th percentile of their waiting, in milliseconds.
pub async fn p99(
    latencies: &Latencies,
    readers: usize,
    every: Duration,
    lasting: Duration,
    broadcast: impl AsyncFn() -> Result<()>,
) -> Result<f64> {
    locked(latencies).clear();
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(every);
    let mut sent = 0;
    while begun.elapsed() < lasting {
        ticks.tick().await;
        broadcast().await?;
        sent += 1;
    }
    let waiting = Instant::now();
    while locked(latencies).len() < sent * readers {
        ensure!(waiting.elapsed() < PATIENCE, "some readers did not get everything");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut latencies = std::mem::take(&mut *locked(latencies));
    latencies.sort_unstable();
    Ok(f64::from(latencies[latencies.len() * 99 / 100]) / 1_000.0)
}

fn locked(latencies: &Latencies) -> MutexGuard<'_, Vec<u32>> {
    latencies.lock().unwrap_or_else(PoisonError::into_inner)
}
