//! What each command does, step by step: connect, warm up, measure, wait for what is due, check.

mod storm;
mod summary;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cli::{Command, Common, MOST_MISSED, Publishing, Slow, Until};
use crate::device::{Device, State};
use crate::ledger::{Ledger, UNMEASURED};
use crate::machine;
use crate::outcome::{Outcome, SlowReaders, Storm, Times};
use crate::pace::Pace;
use crate::publisher::Template;
use crate::run::{Audience, Generator, Run};
use crate::sample::{Moment, Series};
use crate::target::Target;

/// How long nobody may be greeted before that is an error.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How long the server is left alone before what is idle is weighed.
const SETTLE: Duration = Duration::from_secs(1);
/// How often it is looked whether a step is over.
const LOOK: Duration = Duration::from_millis(20);

/// A time that was measured.
struct PhaseMark {
    name: String,
    from: Moment,
    to: Moment,
    series: std::ops::Range<usize>,
}

/// A run of a command.
struct Scenario<'a> {
    command: &'a Command,
    common: &'a Common,
    run: Run<'a>,
    phases: Vec<PhaseMark>,
    storms: Vec<Storm>,
    slow_readers: Option<SlowReaders>,
    notes: Vec<String>,
    /// Before the first connection, when all were greeted, and a while after that.
    connecting: [Moment; 3],
    greeted: Option<Times>,
    started_at: jiff::Timestamp,
}

/// Carries a command out.
pub(crate) fn run(command: &Command) -> Result<Outcome> {
    let common = command.common();
    let slow = if let Command::Slow(Slow { slow, .. }) = command { *slow } else { 0 };
    let connections = common.connections + slow;
    machine::allow_files(u64::from(connections + publishers(command)))?;
    let target = Target::new(common, connections)?;
    let mut scenario = Scenario::new(command, &target, connections)?;
    scenario.connect(0..common.connections)?;
    scenario.settle()?;
    match command {
        Command::Connections(options) => {
            scenario.measure("idle", &[], options.hold, None, None)?;
        }
        Command::Broadcast(_) => scenario.traffic(&["broadcast"])?,
        Command::Unicast(_) => scenario.traffic(&["unicast"])?,
        Command::Mixed(_) => scenario.traffic(&["unicast", "broadcast"])?,
        Command::Slow(options) => scenario.slow(options, connections)?,
        Command::Storm(options) => scenario.storms(options)?,
    }
    scenario.drain()?;
    if publishing(command).is_some() && scenario.run.tally.accepted == 0 {
        bail!("nothing of what was published was accepted{}", scenario.why_refused());
    }
    scenario.run.note_gaps();
    Ok(scenario.summary())
}

fn publishing(command: &Command) -> Option<&Publishing> {
    match command {
        Command::Connections(_) => None,
        Command::Broadcast(one) | Command::Unicast(one) => Some(&one.publishing),
        Command::Mixed(one) => Some(&one.traffic.publishing),
        Command::Slow(one) => Some(&one.traffic.publishing),
        Command::Storm(one) => Some(&one.traffic.publishing),
    }
}

/// How many connections publish.
fn publishers(command: &Command) -> u32 {
    let Some(options) = publishing(command) else { return 0 };
    match (options.pace.outstanding, command) {
        (Some(outstanding), Command::Mixed(_)) => outstanding + options.publishers,
        (Some(outstanding), _) => outstanding,
        (None, _) => options.publishers,
    }
}

/// When a publish of the closed loop is done: those who are away cannot be waited for.
fn until(command: &Command) -> Until {
    let until = publishing(command).map_or(Until::Answered, |options| options.until);
    if matches!(command, Command::Storm(_)) { Until::Answered } else { until }
}

impl<'a> Scenario<'a> {
    fn new(command: &'a Command, target: &'a Target, connections: u32) -> Result<Self> {
        let common = command.common();
        let users = target.users.len();
        let ledger = Ledger::new(until(command), users);
        let mut run = Run::new(target, ledger, sampling(command))?;
        let limit = if let Command::Storm(storm) = command { storm.limit } else { MOST_MISSED };
        let device = |number| {
            let is_slow = number >= common.connections;
            Device::new(number, number % users as u32, is_slow, common.acknowledge, limit)
        };
        run.devices = (0..connections).map(device).collect();
        if let Some(options) = publishing(command) {
            let channel = channel(command, options, target)?;
            let template = Template::new(target, &channel, options.body_bytes, options.batch);
            run.prepare_publishing(template, publishers(command));
        }
        let connecting = [run.moment()?; 3];
        let (phases, storms, notes) = (Vec::new(), Vec::new(), Vec::new());
        let started_at = jiff::Timestamp::now();
        Ok(Self {
            command,
            common,
            run,
            phases,
            storms,
            slow_readers: None,
            notes,
            connecting,
            greeted: None,
            started_at,
        })
    }

    fn say(&self, what: impl std::fmt::Display) {
        if !self.common.quiet {
            eprintln!("{what}");
        }
    }

    /// Opens connections, and waits until all are greeted.
    fn connect(&mut self, devices: std::ops::Range<u32>) -> Result<()> {
        self.say(format!("opening {} connections to {}", devices.len(), self.run.target.url));
        self.run.open(devices.clone(), self.common.connect_rate, None);
        self.all_are_live(devices)
    }

    fn all_are_live(&mut self, devices: std::ops::Range<u32>) -> Result<()> {
        let devices = devices.start as usize..devices.end as usize;
        let mut patience = Patience::new(CONNECT_PATIENCE, &self.run);
        loop {
            let waits = |device: &&Device| device.state != State::Live;
            let missing = self.run.devices[devices.clone()].iter().filter(waits).count();
            if missing == 0 {
                return Ok(());
            }
            if patience.is_over(&self.run) {
                bail!("{missing} of {} connections were not greeted for 30 s", devices.len());
            }
            self.run.turn(self.run.clock.now() + LOOK.as_nanos() as u64)?;
        }
    }

    /// Leaves the server alone for a moment, to see what idle connections cost.
    fn settle(&mut self) -> Result<()> {
        self.connecting[1] = self.run.moment()?;
        self.pass(SETTLE)?;
        self.connecting[2] = self.run.moment()?;
        self.greeted = self.run.tally.greeted.times();
        self.run.is_begun = true;
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<()> {
        let end = self.run.clock.now() + time.as_nanos() as u64;
        while self.run.clock.now() < end {
            self.run.turn(end)?;
        }
        Ok(())
    }

    /// Warms up and measures one phase.
    fn traffic(&mut self, kinds: &[&'static str]) -> Result<()> {
        let options = publishing(self.command).context("it publishes")?;
        self.begin_publishing(kinds, options);
        self.warm_up(options)?;
        self.measure("measured", kinds, options.duration, options.publishes, Some(options))
    }

    /// Publishes from now on; nothing of it is measured yet.
    fn begin_publishing(&mut self, kinds: &[&'static str], options: &Publishing) {
        let now = self.run.clock.now();
        let generator = |(index, kind): (usize, &&str)| {
            let audience = if *kind == "unicast" { Audience::Somebody } else { Audience::Everybody };
            let (pace, batch) = match self.command {
                Command::Mixed(mixed) if index == 1 => (Pace::open(mixed.broadcast_rate, now), 1),
                _ => (Pace::new(&options.pace, options.batch, now), options.batch),
            };
            Generator { audience, pace, batch, series: UNMEASURED, left: None }
        };
        self.run.generators = kinds.iter().enumerate().map(generator).collect();
    }

    fn warm_up(&mut self, options: &Publishing) -> Result<()> {
        if !options.warm_up.is_zero() {
            self.say(format!("warming up for {:?}", options.warm_up));
        }
        self.pass(options.warm_up)
    }

    /// Measures for a while, or so many notifications.
    fn measure(
        &mut self,
        name: &str,
        kinds: &[&'static str],
        duration: Duration,
        publishes: Option<u64>,
        options: Option<&Publishing>,
    ) -> Result<()> {
        match publishes {
            Some(count) => self.say(format!("measuring {count} notifications")),
            None => self.say(format!("measuring for {duration:?} ({name})")),
        }
        let from = self.begin_phase(kinds, publishes)?;
        let end = from.at + duration.as_nanos() as u64;
        let mut patience = Patience::new(options.map_or(duration * 2, |options| options.patience), &self.run);
        loop {
            let now = self.run.clock.now();
            let is_over = match publishes {
                None => now >= end,
                Some(_) => self.run.generators[0].left == Some(0) && self.run.is_read(),
            };
            if is_over {
                break;
            }
            // Nobody waits for what is not due.
            if self.run.is_read() {
                patience.begin(&self.run);
            } else if patience.is_over(&self.run) {
                self.notes.push("Measuring ended early: nothing came any more of what was due.".to_owned());
                break;
            }
            let look = now + LOOK.as_nanos() as u64;
            self.run.turn(if publishes.is_none() { look.min(end) } else { look })?;
        }
        self.end_phase(name, from)
    }

    fn begin_phase(&mut self, kinds: &[&'static str], publishes: Option<u64>) -> Result<Moment> {
        for (index, kind) in kinds.iter().enumerate() {
            let generator = &mut self.run.generators[index];
            generator.series = self.run.tally.series.len() as u8;
            if index == 0 {
                generator.left = publishes.map(|count| count.div_ceil(u64::from(generator.batch)));
            }
            self.run.tally.series.push(Series::new(kind));
        }
        self.run.moment()
    }

    fn end_phase(&mut self, name: &str, from: Moment) -> Result<()> {
        let to = self.run.moment()?;
        let known = self.phases.last().map_or(0, |phase| phase.series.end);
        let series = known..self.run.tally.series.len();
        self.phases.push(PhaseMark { name: name.to_owned(), from, to, series });
        Ok(())
    }

    /// Why publishes were refused, in words.
    fn why_refused(&self) -> String {
        let refused = &self.run.tally.disturbances.publishes_refused;
        refused.keys().map(|why| format!("; {why}")).collect()
    }

    /// Publishes no more, and waits for what is due.
    fn drain(&mut self) -> Result<()> {
        self.run.generators.clear();
        let patience = publishing(self.command).map_or(Duration::ZERO, |options| options.patience);
        let mut patience = Patience::new(patience, &self.run);
        while !self.run.is_drained() && !patience.is_over(&self.run) {
            self.run.turn(self.run.clock.now() + LOOK.as_nanos() as u64)?;
        }
        let (unsent, unanswered) = (self.run.unsent(), self.run.ledger.unanswered);
        if unsent > 0 {
            self.notes
                .push(format!("{unsent} notifications were due and never sent: the server did not answer."));
        }
        self.run.tally.checks.unanswered += unsent + unanswered;
        self.pass(LOOK * 5) // for what should not come
    }

    fn slow(&mut self, options: &Slow, connections: u32) -> Result<()> {
        let publishing = &options.traffic.publishing;
        let measure = |scenario: &mut Self, name| {
            scenario.begin_publishing(&["broadcast"], publishing);
            scenario.warm_up(publishing)?;
            let (duration, publishes) = (publishing.duration, publishing.publishes);
            scenario.measure(name, &["broadcast"], duration, publishes, Some(publishing))?;
            scenario.run.generators.clear();
            anyhow::Ok(())
        };
        measure(self, "without slow readers")?;
        self.drain()?;
        self.run.read_slowly(options.slow_bytes);
        self.connect(self.common.connections..connections)?;
        measure(self, "beside slow readers")?;
        self.slow_readers = Some(SlowReaders {
            connections: options.slow,
            bytes_per_second: options.slow_bytes,
            behind: self.run.ledger.owed - self.run.ledger.owed_to_readers(),
        });
        self.say("reading what slow readers have not");
        self.run.read_all()
    }
}

/// How often samples are taken: some dozens in a run.
fn sampling(command: &Command) -> Duration {
    let measured = match (command, publishing(command)) {
        (Command::Connections(options), _) => options.hold,
        (_, Some(options)) => options.duration,
        _ => Duration::ZERO,
    };
    match measured.as_secs() {
        0..20 => Duration::from_millis(250),
        20..300 => Duration::from_secs(1),
        _ => Duration::from_secs(5),
    }
}

fn channel(command: &Command, options: &Publishing, target: &Target) -> Result<String> {
    match &options.channel {
        Some(channel) => Ok(channel.clone()),
        None if target.is_shared && !matches!(command, Command::Unicast(_)) => bail!(
            "name the --channel to publish to: one that all of --tokens, and nobody else, are members of"
        ),
        None => Ok("everyone".to_owned()),
    }
}

/// Waits for what may never come.
struct Patience {
    most: Duration,
    last: (u64, u64, u64),
    since: u64,
}

impl Patience {
    fn new(most: Duration, run: &Run<'_>) -> Self {
        Self { most, last: run.progress(), since: run.clock.now() }
    }

    /// Begins anew.
    fn begin(&mut self, run: &Run<'_>) {
        (self.last, self.since) = (run.progress(), run.clock.now());
    }

    /// Whether nothing has come for as long.
    fn is_over(&mut self, run: &Run<'_>) -> bool {
        let (now, progress) = (run.clock.now(), run.progress());
        if progress != self.last {
            (self.last, self.since) = (progress, now);
        }
        now.saturating_sub(self.since) > self.most.as_nanos() as u64
    }
}
