//! The loop that all of a run goes through: one thread that opens, publishes, reads and takes samples, whichever is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::check::count;
use crate::device::{Context, Device, End, State};
use crate::http::Refusal;
use crate::ledger::{Ledger, UNMEASURED};
use crate::message::{Mark, Marks};
use crate::pace::Pace;
use crate::publisher::{Publisher, Template};
use crate::sample::{Moment, Sampler, Tally};
use crate::target::Target;

/// What one read may bring. All connections share it.
const BUFFER_BYTES: usize = 256 << 10;
/// Sockets that are looked at before it is looked whether something is to be published.
const EVENTS: usize = 128;
/// Connections that are being opened at once, when there is no rate.
const OPENING_AT_ONCE: usize = 200;
/// When a connection that broke is tried again, if the server did not say.
const AGAIN: Duration = Duration::from_millis(200);
/// How often slow readers read, and devices acknowledge.
const SLOWLY: Duration = Duration::from_millis(100);
const ACKNOWLEDGING: Duration = Duration::from_secs(1);
/// Publishes that wait for a connection: who has more of them measures a queue.
const MOST_WAITING: usize = 100_000;
/// Tokens of what is polled: devices from 0 on, publishers from here on, and the timer.
const PUBLISHERS: usize = 1 << 32;
const TIMER: Token = Token(usize::MAX);

/// Nanoseconds since the run began.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

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

/// A publish that is due and waits for a connection.
struct Waiting {
    generator: u8,
    intended: u64,
    /// Whether it had to wait for a connection, so that its delay is the server's.
    queued: bool,
}

/// A run.
pub(crate) struct Run<'a> {
    pub(crate) clock: Clock,
    pub(crate) target: &'a Target,
    marks: Marks,
    poll: Poll,
    events: Option<Events>,
    timer: OwnedFd,
    buffer: Vec<u8>,
    pub(crate) devices: Vec<Device>,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
    pub(crate) sampler: Sampler,
    template: Option<Template>,
    pub(crate) generators: Vec<Generator>,
    publishers: Vec<Publisher>,
    idle: Vec<usize>,
    waiting: VecDeque<Waiting>,
    /// Devices to be opened, how many nanoseconds apart, and when the next one is due.
    to_open: VecDeque<u32>,
    open_every: u64,
    open_next: u64,
    open_from: Option<u64>,
    /// How many are being opened.
    opening: usize,
    /// Devices that come back by themselves, by when.
    returning: BinaryHeap<Reverse<(u64, u32)>>,
    /// Until all are there for the first time, who is refused ends the run.
    pub(crate) is_begun: bool,
    slow_bytes: u64,
    slowly_next: u64,
    acknowledge_next: u64,
    chance: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(target: &'a Target, ledger: Ledger, sample_every: Duration) -> Result<Self> {
        let (poll, clock, tally) = (Poll::new()?, Clock(Instant::now()), Tally::new());
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let sampler = Sampler::new(sample_every, Moment::now(0, &tally, &target.processes)?);
        let unique = jsonwebtoken::get_current_timestamp() ^ (u64::from(std::process::id()) << 32);
        Ok(Self {
            marks: Marks::new(&format!("{unique:x}")),
            chance: unique | 1,
            clock,
            target,
            poll,
            events: Some(Events::with_capacity(EVENTS)),
            timer,
            buffer: vec![0; BUFFER_BYTES],
            devices: Vec::new(),
            ledger,
            tally,
            sampler,
            template: None,
            generators: Vec::new(),
            publishers: Vec::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
            to_open: VecDeque::new(),
            open_every: 0,
            open_next: 0,
            open_from: None,
            opening: 0,
            returning: BinaryHeap::new(),
            is_begun: false,
            slow_bytes: 0,
            slowly_next: 0,
            acknowledge_next: 0,
        })
    }

    /// What will publish, on so many connections at most.
    pub(crate) fn prepare_publishing(&mut self, template: Template, connections: u32) {
        self.template = Some(template);
        self.publishers.resize_with(connections as usize, Publisher::default);
        self.idle = (0..connections as usize).rev().collect();
    }

    /// How much slow readers read in a second, from now on; `None`: everything.
    pub(crate) fn read_slowly(&mut self, bytes: u64) {
        self.slow_bytes = bytes;
    }

    /// Opens devices, so many in a second. The time of each counts from its turn, or of all from one moment.
    pub(crate) fn open(&mut self, devices: impl Iterator<Item = u32>, per_second: u32, from: Option<u64>) {
        self.open_from = from;
        self.to_open.extend(devices);
        self.open_every = 1_000_000_000_u64.checked_div(u64::from(per_second)).unwrap_or(0);
        self.open_next = self.clock.now();
    }

    pub(crate) fn moment(&self) -> Result<Moment> {
        Moment::now(self.clock.now(), &self.tally, &self.target.processes)
    }

    /// Does what is due, or waits for it, but not beyond a time.
    pub(crate) fn turn(&mut self, until: u64) -> Result<()> {
        let wait = self.next_due(until).saturating_sub(self.clock.now());
        let patience = if wait == 0 { Some(Duration::ZERO) } else { None };
        if wait > 0 {
            let (tv_sec, tv_nsec) = ((wait / 1_000_000_000) as i64, (wait % 1_000_000_000) as i64);
            let (it_value, it_interval) = (Timespec { tv_sec, tv_nsec }, Timespec::default());
            timerfd_settime(
                self.timer.as_fd(),
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval, it_value },
            )?;
        }
        let mut events = self.events.take().context("turns do not nest")?;
        match self.poll.poll(&mut events, patience) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            match event.token() {
                TIMER => {}
                Token(number) if number >= PUBLISHERS => self.publisher_ready(number - PUBLISHERS)?,
                Token(number) => self.device_ready(number)?,
            }
        }
        self.events = Some(events);
        self.publish()?;
        self.open_due()?;
        self.read_slow_ones()?;
        self.acknowledge()?;
        if self.clock.now() >= self.sampler.next() {
            let moment = self.moment()?;
            self.sampler.take(moment, &mut self.tally);
        }
        Ok(())
    }

    /// When something is due that no socket tells of.
    fn next_due(&self, until: u64) -> u64 {
        let mut next = until.min(self.sampler.next());
        let publishes = self.generators.iter().filter(|generator| generator.left != Some(0));
        next = publishes.filter_map(|generator| generator.pace.next()).fold(next, u64::min);
        if !self.to_open.is_empty() && (self.open_every > 0 || self.opening < OPENING_AT_ONCE) {
            next = next.min(self.open_next);
        }
        if let Some(Reverse((at, _))) = self.returning.peek() {
            next = next.min(*at);
        }
        if !matches!(self.slow_bytes, 0 | u64::MAX) {
            next = next.min(self.slowly_next);
        }
        next
    }

    fn device_ready(&mut self, number: usize) -> Result<()> {
        let Some(device) = self.devices.get_mut(number) else { return Ok(()) };
        if device.state == State::Away {
            return Ok(());
        }
        let is_slow = device.is_slow && self.is_begun && device.state == State::Live;
        if is_slow && self.slow_bytes != u64::MAX {
            let flushed = device.flush();
            return flushed.or_else(|end| self.ended(number, end));
        }
        self.read_device(number, usize::MAX)
    }

    fn read_device(&mut self, number: usize, most: usize) -> Result<()> {
        let device = &mut self.devices[number];
        let (clock, marks) = (&self.clock, &self.marks);
        let mut cx = Context { clock, marks, ledger: &mut self.ledger, tally: &mut self.tally, now: 0 };
        let was = device.state;
        let read = device.flush().and_then(|()| device.read(&mut self.buffer, most, &mut cx));
        if was == State::Opening && device.state != State::Opening {
            self.opening -= 1;
        }
        read.or_else(|end| self.ended(number, end))
    }

    /// A connection ended: the device comes back with its cursor, unless that is of no use.
    fn ended(&mut self, number: usize, end: End) -> Result<()> {
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

    fn open_due(&mut self) -> Result<()> {
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

    /// Slow readers read their share.
    fn read_slow_ones(&mut self) -> Result<()> {
        let now = self.clock.now();
        if self.slow_bytes == 0 || self.slow_bytes == u64::MAX || now < self.slowly_next {
            return Ok(());
        }
        self.slowly_next = now + SLOWLY.as_nanos() as u64;
        let share = (self.slow_bytes / 10).max(1) as usize;
        let is_slow = |device: &Device| device.is_slow && device.state == State::Live;
        for number in 0..self.devices.len() {
            if is_slow(&self.devices[number]) {
                self.read_device(number, share)?;
            }
        }
        Ok(())
    }

    /// Reads everything that slow readers have not, and is not slow any more.
    pub(crate) fn read_all(&mut self) -> Result<()> {
        self.slow_bytes = u64::MAX;
        for number in 0..self.devices.len() {
            if self.devices[number].is_slow {
                self.read_device(number, usize::MAX)?;
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<()> {
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

    /// Publishes what is due, as far as there are connections for it.
    fn publish(&mut self) -> Result<()> {
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
        self.waiting.iter_mut().for_each(|waiting| waiting.queued = true);
        Ok(())
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
        Some(Waiting { generator: index as u8, intended, queued: false })
    }

    fn send(&mut self, publisher: usize, waiting: &Waiting) -> Result<()> {
        let Some(generator) = self.generators.get(usize::from(waiting.generator)) else { return Ok(()) };
        let (audience, batch, series) = (generator.audience, generator.batch, generator.series);
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

    fn publisher_ready(&mut self, number: usize) -> Result<()> {
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
            self.tally.checks.note(crate::check::Fault::Misplaced, words);
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

    /// Whether nothing is still to come of what was published.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_read() && self.ledger.owed == 0
    }

    /// The same, but for those who read slowly.
    pub(crate) fn is_read(&self) -> bool {
        self.ledger.unanswered == 0 && self.ledger.owed_to_readers() == 0 && self.waiting.is_empty()
    }

    /// Changes whenever something comes of what was published.
    pub(crate) fn progress(&self) -> (u64, u64, u64) {
        (self.tally.delivered, self.tally.accepted, self.tally.greeted.count())
    }

    /// Drops all connections at once, as when a network fails.
    pub(crate) fn drop_all(&mut self) {
        for device in &mut self.devices {
            device.drop_connection(&mut self.tally);
        }
        self.to_open.clear();
        self.returning.clear();
        self.opening = 0;
    }

    pub(crate) fn note_gaps(&mut self) {
        let positions = self.ledger.positions();
        for device in &self.devices {
            device.note_gaps(&self.ledger, &positions, &mut self.tally);
        }
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
