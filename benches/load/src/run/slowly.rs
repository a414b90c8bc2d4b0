//! Those who read slowly, and what all acknowledge now and then.

use std::time::Duration;

use anyhow::Result;

use super::Run;
use crate::device::{Device, State};

/// How often slow readers read, and devices acknowledge.
const SLOWLY: Duration = Duration::from_millis(100);
const ACKNOWLEDGING: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// How much slow readers read in a second, from now on; `None`: everything.
    pub(crate) fn read_slowly(&mut self, bytes: u64) {
        self.slow_bytes = bytes;
    }

    /// Slow readers read their share.
    pub(super) fn read_slow_ones(&mut self) -> Result<()> {
        let now = self.clock.now();
        if self.slow_bytes == 0 || self.slow_bytes == u64::MAX || now < self.slowly_next {
            return Ok(());
        }
        self.slowly_next = now + SLOWLY.as_nanos() as u64;
        let share = (self.slow_bytes / 10).max(1) as usize;
        let is_slow = |device: &Device| device.is_slow && device.state == State::Live;
        for number in 0..self.devices.len() {
            if is_slow(&self.devices[number]) {
                self.read_device(number, share, false)?;
            }
        }
        Ok(())
    }

    /// Reads everything that slow readers have not, and is not slow any more.
    pub(crate) fn read_all(&mut self) -> Result<()> {
        self.slow_bytes = u64::MAX;
        for number in 0..self.devices.len() {
            if self.devices[number].is_slow {
                self.read_device(number, usize::MAX, false)?;
            }
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self) -> Result<()> {
        let now = self.clock.now();
        if now < self.acknowledge_next {
            return Ok(());
        }
        self.acknowledge_next = now + ACKNOWLEDGING.as_nanos() as u64;
        for number in 0..self.devices.len() {
            self.devices[number].acknowledge().or_else(|end| self.ended(number, end))?;
        }
        Ok(())
    }
}
