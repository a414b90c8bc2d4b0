//! The loop that all of a run goes through: one thread that opens, publishes, reads and takes samples, whichever is due.

mod opening;
mod publishing;
mod slowly;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::device::{Context, Device, State};
use crate::ledger::Ledger;
use crate::message::Marks;
use crate::publisher::{Publisher, Template};
use crate::sample::{Moment, Sampler, Tally};
use crate::target::Target;
use opening::OPENING_AT_ONCE;
use publishing::Waiting;
pub(crate) use publishing::{Audience, Generator};

/// What one read may bring. All connections share it.
const BUFFER_BYTES: usize = 256 << 10;
/// Sockets that are looked at before it is looked whether something is to be published.
const EVENTS: usize = 128;
/// Tokens of what is polled: devices from 0 on, publishers from here on, and the timer.
const PUBLISHERS: usize = 1 << 32;
const TIMER: Token = Token(usize::MAX);

/// Nanoseconds since the run began.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// A run.
pub(crate) struct Run<'a> {
    pub(crate) clock: Clock,
    pub(crate) target: &'a Target,
    marks: Marks,
    poll: Poll,
    events: Option<Events>,
    timer: OwnedFd,
    wakes_at: u64,
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
        let (poll, clock, tally) = (Poll::new()?, Clock::start(), Tally::new());
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
            wakes_at: 0,
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

    pub(crate) fn moment(&self) -> Result<Moment> {
        Moment::now(self.clock.now(), &self.tally, &self.target.processes)
    }

    /// Does what is due, or waits for it, but not beyond a time.
    pub(crate) fn turn(&mut self, until: u64) -> Result<()> {
        let (due, now) = (self.next_due(until), self.clock.now());
        let patience = if due <= now { Some(Duration::ZERO) } else { None };
        self.wake_at(due, now)?;
        let mut events = self.events.take().context("turns do not nest")?;
        match self.poll.poll(&mut events, patience) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            match event.token() {
                TIMER => {}
                Token(number) if number >= PUBLISHERS => self.publisher_ready(number - PUBLISHERS)?,
                Token(number) => self.device_ready(number, event.is_read_closed())?,
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

    /// Sets the timer, unless it wakes before anyway. Waits of `epoll` itself are of whole milliseconds.
    fn wake_at(&mut self, due: u64, now: u64) -> Result<()> {
        if due <= now || (now < self.wakes_at && self.wakes_at <= due) {
            return Ok(());
        }
        let wait = due - now;
        let (tv_sec, tv_nsec) = ((wait / 1_000_000_000) as i64, (wait % 1_000_000_000) as i64);
        let (it_value, it_interval) = (Timespec { tv_sec, tv_nsec }, Timespec::default());
        let once = Itimerspec { it_interval, it_value };
        timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::empty(), &once)?;
        self.wakes_at = due;
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

    fn device_ready(&mut self, number: usize, is_ending: bool) -> Result<()> {
        let Some(device) = self.devices.get_mut(number) else { return Ok(()) };
        if device.state == State::Away {
            return Ok(());
        }
        let is_slow = device.is_slow && self.is_begun && device.state == State::Live;
        if is_slow && self.slow_bytes != u64::MAX {
            let flushed = device.flush();
            return flushed.or_else(|end| self.ended(number, end));
        }
        self.read_device(number, usize::MAX, is_ending)
    }

    fn read_device(&mut self, number: usize, most: usize, is_ending: bool) -> Result<()> {
        let device = &mut self.devices[number];
        let (clock, marks) = (&self.clock, &self.marks);
        let mut cx = Context { clock, marks, ledger: &mut self.ledger, tally: &mut self.tally, now: 0 };
        let was = device.state;
        let read = device.flush().and_then(|()| device.read(&mut self.buffer, (most, is_ending), &mut cx));
        if was == State::Opening && device.state != State::Opening {
            self.opening -= 1;
        }
        read.or_else(|end| self.ended(number, end))
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

    pub(crate) fn note_gaps(&mut self) {
        let positions = self.ledger.positions();
        for device in &self.devices {
            device.note_gaps(&self.ledger, &positions, &mut self.tally);
        }
    }
}
