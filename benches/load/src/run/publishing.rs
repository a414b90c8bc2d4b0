//! What publishes: when, to whom, on which connection, and what it was answered.

use anyhow::{Context as _, Result, bail};
use mio::Token;

use super::{PUBLISHERS, Run};
use crate::check::{Fault, count};
use crate::http::Refusal;
use crate::ledger::UNMEASURED;
use crate::message::Mark;
use crate::pace::Pace;
use crate::publisher::{Publisher, Template};

/// Publishes that wait for a connection: who has more of them measures a queue.
const MOST_WAITING: usize = 100_000;

/// Who is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Everybody,
    /// One user, by chance.
    Somebody,
}

/// Something that publishes.
pub(crate) struct Generator {
    pub(crate) audience: Audience,
    pub(crate) pace: Pace,
    pub(crate) batch: u32,
    /// Into which series its times go.
    pub(crate) series: u8,
    /// How many publishes are left; `None` when there is no end.
    pub(crate) left: Option<u64>,
}

/// A publish that is due and waits for a connection. It needs nothing more of what it is by, which may have ended by then.
pub(super) struct Waiting {
    generator: u8,
    audience: Audience,
    batch: u32,
    series: u8,
    intended: u64,
    /// Whether it had to wait for a connection, so that its delay is the server's.
    queued: bool,
}

impl Run<'_> {
    /// What will publish, on so many connections at most.
    pub(crate) fn prepare_publishing(&mut self, template: Template, connections: u32) {
        self.template = Some(template);
        self.publishers.resize_with(connections as usize, Publisher::default);
        self.idle = (0..connections as usize).rev().collect();
    }

    /// Publishes what is due, as far as there are connections for it.
    pub(super) fn publish(&mut self) -> Result<()> {
        let now = self.clock.now();
        for index in 0..self.generators.len() {
            while let Some(waiting) = self.next_publish(index, now) {
                match self.generators[index].pace {
                    Pace::Closed { .. } => {
                        let publisher = self.idle.pop().context("a connection was free")?;
                        self.send(publisher, &waiting)?;
                    }
                    _ => self.waiting.push_back(waiting),
                }
            }
        }
        while let Some(publisher) = self.idle.pop_if(|_| !self.waiting.is_empty()) {
            if let Some(waiting) = self.waiting.pop_front() {
                self.send(publisher, &waiting)?;
            }
        }
        if self.waiting.len() > MOST_WAITING {
            bail!(
                "{MOST_WAITING} publishes wait for their turn: the server does not keep up with this --rate, and the figures would be those of the queue"
            );
        }
        let fresh = self.waiting.iter_mut().rev().take_while(|waiting| !waiting.queued);
        fresh.for_each(|waiting| waiting.queued = true);
        Ok(())
    }

    /// How many notifications are due that were never sent.
    pub(crate) fn unsent(&self) -> u64 {
        self.waiting.iter().map(|waiting| u64::from(waiting.batch)).sum()
    }

    /// A publish of a generator's that is due; in the closed loop, if there is a connection for it.
    fn next_publish(&mut self, index: usize, now: u64) -> Option<Waiting> {
        let generator = &mut self.generators[index];
        let has_room = !matches!(generator.pace, Pace::Closed { .. }) || !self.idle.is_empty();
        if generator.left == Some(0) || !has_room {
            return None;
        }
        let outstanding = self.ledger.outstanding(index as u8);
        let intended = generator.pace.take(now, outstanding, generator.batch)?;
        generator.left = generator.left.map(|left| left - 1);
        let Generator { audience, batch, series, .. } = *generator;
        Some(Waiting { generator: index as u8, audience, batch, series, intended, queued: false })
    }

    fn send(&mut self, publisher: usize, waiting: &Waiting) -> Result<()> {
        let Waiting { audience, batch, series, .. } = *waiting;
        let mut mark = || -> Mark {
            let sequence = match audience {
                Audience::Everybody => 0,
                Audience::Somebody => 1 + (self.random() % self.target.users.len() as u64) as u32,
            };
            self.ledger.publish(sequence, waiting.generator, series, waiting.intended)
        };
        let publishes: Vec<Mark> = (0..batch).map(|_| mark()).collect();
        if !waiting.queued && series != UNMEASURED {
            self.tally.lateness.record(self.clock.now().saturating_sub(waiting.intended));
        }
        let (registry, token) = (self.poll.registry(), Token(PUBLISHERS + publisher));
        let template = self.template.as_ref().context("something to publish")?;
        let opened = |wire: &mut crate::wire::Wire| wire.register(registry, token);
        let number = self.devices.len() + publisher;
        let sent = self.publishers[publisher].publish(
            template,
            self.target,
            number,
            (publishes, &self.marks),
            opened,
        );
        sent.or_else(|error| self.publisher_ended(publisher, &error.to_string()))
    }

    /// xorshift: any will do.
    fn random(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }

    pub(super) fn publisher_ready(&mut self, number: usize) -> Result<()> {
        let Some(template) = &self.template else { return Ok(()) };
        let publisher = &mut self.publishers[number];
        let flushed = publisher.flush().map_err(|error| error.to_string());
        let (sent, answers) = match flushed.and_then(|()| publisher.read(&mut self.buffer, template)) {
            Ok(Some(answered)) => answered,
            Ok(None) => return Ok(()),
            Err(error) => return self.publisher_ended(number, &error),
        };
        let now = self.clock.now();
        for (mark, answer) in sent.publishes.into_iter().zip(answers) {
            match answer {
                Ok(position) => self.accepted(mark, position, now),
                Err(refusal) => self.refused(mark, &refusal)?,
            }
        }
        self.idle.push(number);
        Ok(())
    }

    fn accepted(&mut self, mark: Mark, position: u64, now: u64) {
        self.tally.accepted += 1;
        if let Some((series, intended)) = self.ledger.sent(mark.publish) {
            self.tally.answer(series, now.saturating_sub(intended));
        }
        if self.ledger.answered(mark.publish, position) {
            let words =
                || format!("a publish was answered with position {position}, and delivered at another");
            self.tally.checks.note(Fault::Misplaced, words);
        }
    }

    fn refused(&mut self, mark: Mark, refusal: &Refusal) -> Result<()> {
        if refusal.is_final() {
            bail!("a publish was refused with {refusal}");
        }
        count(&mut self.tally.disturbances.publishes_refused, refusal.to_string());
        self.ledger.refused(mark.publish);
        Ok(())
    }

    /// A publisher's connection ended; between two publishes it may.
    fn publisher_ended(&mut self, number: usize, error: &str) -> Result<()> {
        let Some(sent) = self.publishers[number].close() else { return Ok(()) };
        if self.tally.accepted == 0 {
            bail!("publishing to {}: {error}", self.target.url);
        }
        count(&mut self.tally.disturbances.broken, format!("a publisher's: {error}"));
        self.tally.disturbances.publishes_unanswered += sent.publishes.len() as u64;
        sent.publishes.iter().for_each(|mark| self.ledger.lost(mark.publish));
        self.idle.push(number);
        Ok(())
    }
}
