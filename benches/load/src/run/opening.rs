//! How devices come and go: opened in their turn, ended by the server, back with their cursors.

use std::cmp::Reverse;
use std::time::Duration;

use anyhow::{Result, bail};
use mio::Token;

use super::Run;
use crate::check::count;
use crate::device::{End, State};

/// Connections that are being opened at once, when there is no rate.
pub(super) const OPENING_AT_ONCE: usize = 200;
/// When a connection that broke is tried again, if the server did not say.
const AGAIN: Duration = Duration::from_millis(200);

impl Run<'_> {
    /// Opens devices, so many in a second. The time of each counts from its turn, or of all from one moment.
    pub(crate) fn open(&mut self, devices: impl Iterator<Item = u32>, per_second: u32, from: Option<u64>) {
        self.open_from = from;
        self.to_open.extend(devices);
        self.open_every = 1_000_000_000_u64.checked_div(u64::from(per_second)).unwrap_or(0);
        self.open_next = self.clock.now();
    }

    /// A connection ended: the device comes back with its cursor, unless that is of no use.
    pub(super) fn ended(&mut self, number: usize, end: End) -> Result<()> {
        let device = &mut self.devices[number];
        if device.state == State::Opening {
            self.opening -= 1;
        }
        device.drop_connection(&mut self.tally);
        let disturbances = &mut self.tally.disturbances;
        let after = match end {
            End::Wrong(what) => bail!("connection {number}: {what}"),
            End::Refused(refusal) if refusal.is_final() || !self.is_begun => {
                bail!("connection {number} was refused with {refusal}")
            }
            End::Refused(refusal) => {
                count(&mut disturbances.connections_refused, refusal.to_string());
                refusal.retry_after_ms
            }
            End::Closing(closing) => {
                let code = closing.code.map(|code| format!("{code} ")).unwrap_or_default();
                let reason = format!("{code}{}", closing.reason);
                if !self.is_begun || matches!(closing.code, Some(4401 | 4403)) {
                    bail!("connection {number} was closed: {reason}{}", advice(&closing.reason));
                }
                count(&mut disturbances.closings, reason);
                closing.retry_after_ms
            }
            End::Broken(error) if !self.is_begun => {
                bail!("connection {number} to {}: {error}", self.target.url)
            }
            End::Broken(error) => {
                count(&mut disturbances.broken, error);
                None
            }
        };
        let after = after.map_or(AGAIN, Duration::from_millis);
        self.returning.push(Reverse((self.clock.now() + after.as_nanos() as u64, number as u32)));
        Ok(())
    }

    pub(super) fn open_due(&mut self) -> Result<()> {
        let now = self.clock.now();
        while self.returning.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, device))) = self.returning.pop() else { break };
            self.open_device(device, at)?;
        }
        while !self.to_open.is_empty() {
            let is_due = match self.open_every {
                0 => self.opening < OPENING_AT_ONCE,
                _ => self.open_next <= now,
            };
            let Some(device) = is_due.then(|| self.to_open.pop_front()).flatten() else { break };
            let turn = if self.open_every == 0 { self.clock.now() } else { self.open_next };
            self.open_next += self.open_every;
            self.open_device(device, self.open_from.unwrap_or(turn))?;
        }
        Ok(())
    }

    fn open_device(&mut self, number: u32, intended: u64) -> Result<()> {
        self.opening += 1;
        let registry = self.poll.registry();
        let token = Token(number as usize);
        let device = &mut self.devices[number as usize];
        let opened = device.open(self.target, intended).and_then(|wire| wire.register(registry, token));
        opened.or_else(|error| {
            self.devices[number as usize].state = State::Opening;
            self.ended(number as usize, End::Broken(error.to_string()))
        })
    }

    /// Drops all connections at once, as when a network fails.
    pub(crate) fn drop_all(&mut self) {
        for device in &mut self.devices {
            device.give_up(&mut self.tally);
        }
        self.to_open.clear();
        self.returning.clear();
        self.opening = 0;
    }
}

/// What a reason to close asks for.
fn advice(reason: &str) -> &'static str {
    match reason {
        "too many connections" => "; raise limits.connections-per-user, or let them be of more --users",
        "too many requests" => "; raise limits.requests, or let them be of more --users",
        _ => "",
    }
}
