//! How far each connection has come, and whom that counts: people are counted when the first device of theirs comes past
//! something.

use rusqlite::{OptionalExtension, params};

use super::fold::State;
use super::intervals::{Interval, common};
use super::lanes::{LaneId, Stretch, rank};
use super::person::PersonId;
use super::retraction::without;
use crate::event::{Event, Progress};
use crate::names::{Tenant, UserKey};
use crate::position::Position;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Sent,
    Delivered,
    Read,
}

/// A connection of a device.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) person: PersonId,
    pub(super) device: String,
    pub(super) transport: String,
    pub(super) began: Position,
    pub(super) from: Position,
    pub(super) sent: Position,
    pub(super) acknowledged: Position,
    pub(super) first: Position,
    pub(super) last: Position,
}

/// By which run, and by which number.
pub(super) type LineId = (Position, u32);

impl State<'_> {
    pub(super) fn progress(&mut self, event: &Event, progress: &Progress) -> rusqlite::Result<()> {
        let (position, at) = (event.position, event.recorded_at.as_millisecond());
        let sql = "INSERT INTO progress VALUES (?1, ?2, ?3)";
        self.connection.prepare_cached(sql)?.execute(params![position.sql(), event.tenant.as_str(), at])?;
        let mut steps = Steps::default();
        for connected in &progress.connections {
            let key = UserKey { tenant: event.tenant.clone(), user: connected.user.clone() };
            let person = self.id(&key)?;
            let line = Line {
                person,
                device: connected.device.as_str().to_owned(),
                transport: connected.transport.to_string(),
                began: connected.began,
                from: connected.from,
                sent: connected.from,
                acknowledged: connected.from,
                first: position,
                last: position,
            };
            let id = (progress.run, connected.number);
            self.lines.insert(id, line);
            self.changed_lines.insert(id);
        }
        for reached in &progress.reached {
            for number in &reached.connections.0 {
                let id = (progress.run, number);
                self.advance(id, reached.sent, reached.acknowledged, position, &mut steps)?;
            }
        }
        // Last, as what they came back from may be in this event, too.
        for connected in &progress.connections {
            if let Some(had) = connected.had {
                self.come_back((progress.run, connected.number), had, event, &mut steps)?;
            }
        }
        for metered in &progress.counts {
            let kind = (metered.kind.as_str().to_owned(), metered.channel.to_string());
            let transport = &metered.transport;
            let counters = self.minutes.counters(self.connection, &event.tenant, at, kind, transport)?;
            counters.add_sent(&metered.sent);
            counters.delivered += u64::from(metered.delivered);
        }
        self.count_steps(&event.tenant, steps)
    }

    /// What a device that comes back says: of what was sent on its last connection, it has everything up to here.
    pub(super) fn come_back(
        &mut self,
        (run, number): LineId,
        had: Position,
        event: &Event,
        steps: &mut Steps,
    ) -> rusqlite::Result<()> {
        self.write_lines()?;
        let Some(line) = self.lines.get(&(run, number)) else { return Ok(()) };
        let mut find = self.connection.prepare_cached(include_str!("sql/last_connection.sql"))?;
        let arguments = params![line.person, line.device, had.sql(), run.sql(), number];
        let found = find.query_row(arguments, |row| {
            let id = (Position::from_sql(row.get(0)?), row.get::<_, u32>(1)?);
            Ok((id, Position::from_sql(row.get(2)?)))
        });
        drop(find);
        match found.optional()? {
            Some((id, sent)) => {
                self.count_come_back(id, had.min(sent), event)?;
                self.advance(id, sent, had.min(sent), event.position, steps)
            }
            None => Ok(()),
        }
    }

    /// Counts what a device acknowledges by coming back: no connection has counted it.
    fn count_come_back(&mut self, id: LineId, had: Position, event: &Event) -> rusqlite::Result<()> {
        let Some(line) = self.line(id)? else { return Ok(()) };
        let interval = (line.acknowledged.0, had.0);
        if interval.0 >= interval.1 {
            return Ok(());
        }
        let (person, began, transport) = (line.person, line.began, line.transport.clone());
        let mut kinds = self.own_kinds(person, interval, false)?;
        let key = self.key(person)?;
        self.id(&key)?;
        for stretch in self.lanes.stretches(self.connection, &event.tenant, interval)? {
            let (Some(lane), Some(person_now)) = (self.lanes.get(stretch.lane), self.people.get(&person))
            else {
                continue;
            };
            for span in person_now.theirs(self.connection, lane, began)? {
                if let Some(part) = common(span, interval) {
                    kinds.extend(self.kinds_in_lane(person, stretch.lane, part)?);
                }
            }
        }
        let at = event.recorded_at.as_millisecond();
        self.count_kinds(&event.tenant, at, &transport, kinds, |counters| &mut counters.delivered)
    }

    fn line(&mut self, id: LineId) -> rusqlite::Result<Option<&mut Line>> {
        if !self.lines.contains_key(&id)
            && let Some(line) = self.load_line(id)?
        {
            self.lines.insert(id, line);
        }
        Ok(self.lines.get_mut(&id))
    }

    /// Moves a connection on.
    pub(super) fn advance(
        &mut self,
        id: LineId,
        sent: Position,
        acknowledged: Position,
        position: Position,
        steps: &mut Steps,
    ) -> rusqlite::Result<()> {
        let floor = self.floor;
        let Some(line) = self.line(id)? else { return Ok(()) }; // silent for longer than progress is kept
        let step = |before: Position, after: Position| (before.0.max(floor.0), after.0);
        if sent > line.sent {
            steps.add(Count::Sent, step(line.sent, sent), line.person, line.began);
            line.sent = sent;
        }
        if acknowledged > line.acknowledged {
            steps.add(Count::Delivered, step(line.acknowledged, acknowledged), line.person, line.began);
            line.acknowledged = acknowledged;
        }
        line.last = position;
        self.changed_lines.insert(id);
        Ok(())
    }

    /// Counts the people who have come past notifications for the first time.
    pub(super) fn count_steps(&mut self, tenant: &Tenant, steps: Steps) -> rusqlite::Result<()> {
        for ((count, interval), people) in steps.0 {
            let stretches = self.lanes.stretches(self.connection, tenant, interval)?;
            let retracted = self.retracted_in(tenant, interval)?;
            for (id, began) in people {
                // Nearly always nothing was taken back, and it is the whole interval.
                for part in without(interval, &retracted, began) {
                    if part == interval {
                        self.count_step(count, interval, id, began, &stretches)?;
                    } else {
                        let stretches = self.lanes.stretches(self.connection, tenant, part)?;
                        self.count_step(count, part, id, began, &stretches)?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn count_step(
        &mut self,
        count: Count,
        interval: Interval,
        id: PersonId,
        began: Position,
        stretches: &[Stretch],
    ) -> rusqlite::Result<()> {
        if !self.people.contains_key(&id) {
            let key = self.key(id)?;
            self.id(&key)?;
        }
        let Some(person) = self.people.get(&id) else { return Ok(()) };
        let coverage = if count == Count::Sent { &person.sent } else { &person.delivered };
        let (mut counted, mut apart) = (Vec::new(), Vec::new());
        for stretch in stretches {
            let Some(lane) = self.lanes.get(stretch.lane) else { continue };
            if !person.has_left && !person.is_in(lane) {
                continue;
            }
            let fresh = coverage.of(lane.id).missing(interval);
            let theirs = person.theirs(self.connection, lane, began)?;
            for part in fresh.iter().flat_map(|part| theirs.iter().filter_map(|span| common(*span, *part))) {
                // Nearly always all of it: then nothing has to be looked up.
                let numbers = if part.0 < stretch.first && part.1 == interval.1 {
                    stretch.numbers
                } else {
                    (rank(self.connection, lane.id, part.0)?, rank(self.connection, lane.id, part.1)?)
                };
                counted.push((lane.id, numbers, lane.last_displaced));
            }
            if person.has_left {
                apart.push((lane.id, theirs));
            }
        }
        for (lane, numbers, last_displaced) in counted {
            self.count(count, id, lane, numbers, last_displaced)?;
        }
        let Some(person) = self.people.get_mut(&id) else { return Ok(()) };
        let coverage = if count == Count::Sent { &mut person.sent } else { &mut person.delivered };
        for (lane, theirs) in apart {
            coverage.add_apart(lane, &theirs, interval);
        }
        coverage.all.add(interval);
        self.changed_people.insert(id);
        Ok(())
    }

    /// Counts a person for numbers of a lane, but for what does not reach them through it.
    pub(super) fn count(
        &mut self,
        count: Count,
        id: PersonId,
        lane: LaneId,
        (after, up_to): Interval,
        last_displaced: u64,
    ) -> rusqlite::Result<()> {
        let mut at = after;
        if last_displaced > after {
            let mut statement = self.connection.prepare_cached(include_str!("sql/displaced_in.sql"))?;
            let numbers =
                statement.query_map(params![id, lane, after as i64, up_to as i64], |row| row.get(0))?;
            let numbers: Vec<i64> = numbers.collect::<rusqlite::Result<_>>()?;
            drop(statement);
            for number in numbers {
                self.add(count, lane, (at, number as u64 - 1), 1);
                at = number as u64;
            }
        }
        self.add(count, lane, (at, up_to), 1);
        Ok(())
    }

    pub(super) fn add(&mut self, count: Count, lane: LaneId, (after, up_to): Interval, people: i64) {
        if after < up_to {
            self.totals.entry((lane, after + 1)).or_default()[count as usize] += people;
            self.totals.entry((lane, up_to + 1)).or_default()[count as usize] -= people;
        }
    }

    pub(super) fn load_line(&self, (run, number): LineId) -> rusqlite::Result<Option<Line>> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/load_connection.sql"))?;
        let line = statement.query_row(params![run.sql(), number], |row| {
            let position = |column| row.get(column).map(Position::from_sql);
            Ok(Line {
                person: row.get(0)?,
                device: row.get(1)?,
                transport: row.get(2)?,
                began: position(3)?,
                from: position(4)?,
                sent: position(5)?,
                acknowledged: position(6)?,
                first: position(7)?,
                last: position(8)?,
            })
        });
        line.optional()
    }

    pub(super) fn write_lines(&mut self) -> rusqlite::Result<()> {
        for id in std::mem::take(&mut self.changed_lines) {
            let Some(line) = self.lines.get(&id) else { continue };
            self.connection.prepare_cached(include_str!("sql/upsert_connection.sql"))?.execute(params![
                id.0.sql(),
                id.1,
                line.person,
                line.device,
                line.transport,
                line.began.sql(),
                line.from.sql(),
                line.sent.sql(),
                line.acknowledged.sql(),
                line.first.sql(),
                line.last.sql(),
            ])?;
        }
        Ok(())
    }
}

/// How people came on, those together who came past the same.
#[derive(Default)]
pub(super) struct Steps(Vec<(Step, Vec<(PersonId, Position)>)>);

/// Past what, and in which way.
type Step = (Count, Interval);

impl Steps {
    fn add(&mut self, count: Count, interval: Interval, person: PersonId, began: Position) {
        if interval.0 >= interval.1 {
            return;
        }
        // Devices in lockstep come one after the other.
        let same = self.0.iter_mut().rev().take(4).find(|(step, _)| *step == (count, interval));
        match same {
            Some((_, people)) => people.push((person, began)),
            None => self.0.push(((count, interval), vec![(person, began)])),
        }
    }
}
