//! Events into the delivery view: who was in which channel, how far each connection has come, what was read, and the
//! totals that follow. Depends on nothing but the log.
//!
//! Owned by the view's thread. What changes often (people, connections, lanes, totals) is kept in memory and written
//! with [`State::write`]; the rest goes to the database at once.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{CachedStatement, OptionalExtension, params};

use super::connections::{Line, LineId};
use super::lanes::{LaneId, Lanes};
use super::person::{self, Person, PersonId};
use crate::epochs::Epochs;
use crate::event::{Event, Fact, Published};
use crate::names::{Channel, Tenant, UserId, UserKey};
use crate::position::Position;
use crate::sqlite::Connection;
use crate::stats::Minutes;

/// People and connections kept in memory beyond a write.
const KEPT: usize = 100_000;
/// Numbers of a lane in a block of totals.
pub(super) const BLOCK: u64 = 1_024;
/// How long it is kept what was sent to each device.
pub(super) const PROGRESS_KEPT_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

/// The view in memory.
pub(crate) struct State<'c> {
    pub(crate) connection: &'c Connection,
    epochs: Epochs,
    pub(super) position: Position,
    pub(super) lanes: Lanes,
    /// What lies at or below it is not counted any more.
    pub(super) floor: Position,
    pub(super) pruned_day: i64,
    ids: HashMap<UserKey, PersonId>,
    /// In boxes: a table has room for twice as many.
    pub(super) people: HashMap<PersonId, Box<Person>>,
    pub(super) changed_people: BTreeSet<PersonId>,
    pub(super) lines: HashMap<LineId, Line>,
    pub(super) changed_lines: BTreeSet<LineId>,
    /// The stats, as far as they are not written yet.
    pub(super) minutes: Minutes,
    /// Differences that are not written yet, by what is counted.
    pub(super) totals: HashMap<(LaneId, u64), [i64; 3]>,
    /// What nearly every event needs is prepared once.
    insert_notification: CachedStatement<'c>,
    insert_own: CachedStatement<'c>,
}

impl<'c> State<'c> {
    pub(super) fn load(connection: &'c Connection, epochs: Epochs) -> rusqlite::Result<Self> {
        let sql = "SELECT position, floor, pruned_day FROM checkpoint";
        let (position, floor, pruned_day) = connection.query_row(sql, [], |row| {
            Ok((Position::from_sql(row.get(0)?), Position::from_sql(row.get(1)?), row.get(2)?))
        })?;
        Ok(Self {
            connection,
            epochs,
            position,
            lanes: Lanes::load(connection, position)?,
            floor,
            pruned_day,
            ids: HashMap::new(),
            people: HashMap::new(),
            changed_people: BTreeSet::new(),
            lines: HashMap::new(),
            changed_lines: BTreeSet::new(),
            minutes: Minutes::default(),
            totals: HashMap::new(),
            insert_notification: connection.prepare_cached(include_str!("sql/insert_notification.sql"))?,
            insert_own: connection.prepare_cached("INSERT INTO own VALUES (?1, ?2)")?,
        })
    }

    /// Folds the next event.
    pub(super) fn apply(&mut self, event: &Event) -> rusqlite::Result<()> {
        self.prune(event.recorded_at.as_millisecond())?;
        match &event.fact {
            Fact::NotificationPublished(published) => self.publish(event, published)?,
            Fact::Joined(membership) => self.join(event, membership)?,
            Fact::Left(membership) => self.leave(event, membership)?,
            Fact::Read(read) => self.read(event, read)?,
            Fact::Clicked(clicked) => self.click(event, clicked)?,
            Fact::Progress(progress) => self.progress(event, progress)?,
            Fact::Retracted(retracted) => self.retract(event, retracted)?,
            Fact::Snoozed(snoozed) => self.snooze(event, snoozed)?,
            Fact::Woken(woken) => self.wake(event, woken)?,
            Fact::Marked(mark, marked) => self.mark(event, *mark, marked)?,
            // What a notification says and what waits to go out is not looked at here.
            Fact::Updated(_) | Fact::Scheduled(_) | Fact::ScheduleCancelled(_) | Fact::Seen(_) => {}
            Fact::Started(_) | Fact::Unknown(_) => {}
        }
        self.position = event.position;
        Ok(())
    }

    /// The number of a person; strangers get one.
    pub(super) fn id(&mut self, key: &UserKey) -> rusqlite::Result<PersonId> {
        if let Some(id) = self.ids.get(key) {
            return Ok(*id);
        }
        let found = self.find_id(key)?;
        let (id, person) = match found {
            Some(id) => (id, person::load(self.connection, id, key.clone())?),
            None => {
                let mut insert = self.connection.prepare_cached(include_str!("sql/insert_person.sql"))?;
                insert.execute([key.tenant.as_str(), key.user.as_str()])?;
                (self.connection.last_insert_rowid(), Person::stranger(key.clone()))
            }
        };
        self.ids.insert(key.clone(), id);
        self.people.insert(id, Box::new(person));
        Ok(id)
    }

    /// The number of a person who has one.
    pub(super) fn find_id(&self, key: &UserKey) -> rusqlite::Result<Option<PersonId>> {
        if let Some(id) = self.ids.get(key) {
            return Ok(Some(*id));
        }
        let sql = "SELECT id FROM people WHERE tenant = ?1 AND user = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row([key.tenant.as_str(), key.user.as_str()], |row| row.get(0)).optional()
    }

    /// A person as they are now.
    pub(super) fn person(&self, id: PersonId, key: &UserKey) -> rusqlite::Result<Person> {
        match self.people.get(&id) {
            Some(person) => Ok(Person::clone(person)),
            None => person::load(self.connection, id, key.clone()),
        }
    }

    /// A person to be changed.
    pub(super) fn change(&mut self, key: &UserKey) -> rusqlite::Result<(PersonId, &mut Person)> {
        let id = self.id(key)?;
        self.changed_people.insert(id);
        let person = self.people.entry(id).or_insert_with(|| Person::stranger(key.clone()).into());
        Ok((id, person))
    }

    pub(super) fn publish(&mut self, event: &Event, published: &Published) -> rusqlite::Result<()> {
        let (notification, audience) = (&published.notification, &published.audience);
        let keys = |users: &[UserId]| -> Vec<UserKey> {
            users.iter().map(|user| UserKey { tenant: event.tenant.clone(), user: user.clone() }).collect()
        };
        let (named, except) = (keys(&audience.users), keys(&audience.except));
        let mut routed = named.len() as i64;
        let (mut excepted, mut place) = (0, None);
        // The lane first: who is heard of by this very event joins `everyone` after it.
        if !audience.channels.is_empty() {
            let lane = self.lane(&event.tenant, &audience.channels, !notification.inbox)?;
            let number = self.lanes.get_mut(lane).map_or(0, |lane| {
                lane.head += 1;
                lane.head
            });
            self.lanes.remember(event.position, lane, number);
            let displaced = self.displace(lane, number, &named)?;
            excepted = self.displace(lane, number, &except)?;
            let members = self.lanes.get(lane).map_or(0, |lane| lane.members as i64);
            routed += members - displaced - excepted;
            place = Some((lane, number as i64));
        }
        self.insert_notification.execute(params![
            event.position.sql(),
            event.tenant.as_str(),
            notification.id.as_bytes(),
            event.recorded_at.as_millisecond(),
            notification.kind.as_str(),
            &*audience.label(),
            place.map(|(lane, _)| lane),
            place.map(|(_, number)| number),
            routed,
            excepted,
            notification.inbox,
        ])?;
        let kind = (notification.kind.as_str().to_owned(), audience.label().to_string());
        let counters = self.minutes.counters(
            self.connection,
            &event.tenant,
            event.recorded_at.as_millisecond(),
            kind,
            "",
        )?;
        counters.published += 1;
        counters.dropped += excepted as u64;
        for key in &named {
            let id = self.id(key)?;
            self.insert_own.execute([id, event.position.sql()])?;
            if notification.inbox {
                self.hear(key, event.position)?;
            }
        }
        Ok(())
    }

    /// The lane of a set of channels.
    pub(super) fn lane(
        &mut self,
        tenant: &Tenant,
        channels: &[Channel],
        is_live: bool,
    ) -> rusqlite::Result<LaneId> {
        if let Some(lane) = self.lanes.named(tenant, channels, is_live) {
            return Ok(lane);
        }
        let names: Vec<&str> = channels.iter().map(Channel::as_str).collect();
        let mut count = self.connection.prepare_cached(include_str!("sql/count_members.sql"))?;
        let names = serde_json::json!(names).to_string();
        let members: i64 = count.query_row([tenant.as_str(), &names], |row| row.get(0))?;
        Ok(self.lanes.begin(tenant, channels, is_live, members as u64))
    }

    /// Takes a notification in a lane away from people. How many of them are in it.
    pub(super) fn displace(&mut self, lane: LaneId, number: u64, keys: &[UserKey]) -> rusqlite::Result<i64> {
        let mut displaced = 0;
        for key in keys {
            let id = self.id(key)?;
            let (person, lane_now) = (self.people.get(&id), self.lanes.get(lane));
            if person.zip(lane_now).is_some_and(|(person, lane)| person.is_in(lane)) {
                displaced += 1;
                let sql = "INSERT INTO displaced VALUES (?1, ?2, ?3)";
                self.connection.prepare_cached(sql)?.execute([id, lane, number as i64])?;
            }
        }
        if displaced > 0
            && let Some(lane) = self.lanes.get_mut(lane)
        {
            lane.last_displaced = number;
        }
        Ok(displaced)
    }

    /// Once a day: what is older than it is kept is no longer counted, and forgotten.
    pub(super) fn prune(&mut self, now: i64) -> rusqlite::Result<()> {
        let day = now / DAY_MS;
        if day <= self.pruned_day {
            return Ok(());
        }
        self.pruned_day = day;
        self.write()?;
        self.minutes.forget(self.connection, now)?;
        let before = now - PROGRESS_KEPT_DAYS * DAY_MS;
        let sql = "SELECT max(position) FROM progress WHERE recorded_at < ?1";
        let floor: Option<i64> = self.connection.query_row(sql, [before], |row| row.get(0))?;
        let Some(floor) = floor.map(Position::from_sql).filter(|floor| *floor > self.floor) else {
            return Ok(());
        };
        self.floor = floor;
        self.lines.clear();
        self.connection.execute("DELETE FROM progress WHERE position <= ?1", [floor.sql()])?;
        self.connection.execute("DELETE FROM connections WHERE last <= ?1", [floor.sql()])?;
        Ok(())
    }

    pub(super) fn key(&self, id: PersonId) -> rusqlite::Result<UserKey> {
        let mut statement =
            self.connection.prepare_cached("SELECT tenant, user FROM people WHERE id = ?1")?;
        statement.query_row([id], |row| {
            let (tenant, user): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(UserKey { tenant: Tenant::stored(&tenant), user: UserId::stored(&user) })
        })
    }

    /// Adds to a row of totals. None stays that says nothing: which there were would depend on when they were written.
    fn add_total(&self, add: &str, forget: &str, row: [i64; 5]) -> rusqlite::Result<()> {
        let says_nothing: bool = self.connection.prepare_cached(add)?.query_row(row, |row| row.get(0))?;
        if says_nothing {
            self.connection.prepare_cached(forget)?.execute([row[0], row[1]])?;
        }
        Ok(())
    }

    /// Writes what is in memory only, with the checkpoint.
    pub(super) fn write(&mut self) -> rusqlite::Result<()> {
        self.write_lines()?;
        let floor = self.floor.0;
        for id in std::mem::take(&mut self.changed_people) {
            let Some(person) = self.people.get_mut(&id) else { continue };
            person.sent.forget(floor);
            person.delivered.forget(floor);
            let mut update = self.connection.prepare_cached(include_str!("sql/update_person.sql"))?;
            let json = |coverage| serde_json::to_string(coverage).unwrap_or_default();
            let (sent, delivered) = (json(&person.sent), json(&person.delivered));
            update.execute(params![id, person.claims_issued_at, person.has_left, sent, delivered])?;
        }
        self.lanes.write(self.connection)?;
        self.minutes.write(self.connection)?;
        for ((lane, number), [sent, delivered, read]) in std::mem::take(&mut self.totals) {
            if [sent, delivered, read] == [0; 3] {
                continue;
            }
            let (number, block) = (number as i64, (number / BLOCK) as i64);
            let (add, forget) = (include_str!("sql/add_total.sql"), include_str!("sql/forget_total.sql"));
            self.add_total(add, forget, [lane, number, sent, delivered, read])?;
            let add = include_str!("sql/add_total_block.sql");
            let forget = include_str!("sql/forget_total_block.sql");
            self.add_total(add, forget, [lane, block, sent, delivered, read])?;
        }
        let sql = "UPDATE checkpoint SET position = ?1, epoch = ?2, floor = ?3, pruned_day = ?4 WHERE id = 1";
        let (reached, floor) = (self.epochs.cursor(self.position), self.floor.sql());
        let reached = (reached.position.sql(), reached.epoch);
        let arguments = params![reached.0, reached.1.as_str(), floor, self.pruned_day];
        self.connection.prepare_cached(sql)?.execute(arguments)?;
        if self.people.len() > KEPT || self.lines.len() > KEPT {
            self.people.clear();
            self.ids.clear();
            self.lines.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Connected, Maker, Membership, Numbers, Progress, Reached, Read, Selection};
    use jiff::Timestamp;

    /// A view in memory, and the log that is folded into it.
    struct Log<'c> {
        state: State<'c>,
        now: i64,
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("sql/schema.sql")).unwrap();
        connection.execute("INSERT INTO checkpoint VALUES (1, 1, 'e', 0, 0, 0)", []).unwrap();
        connection
    }

    fn one_epoch() -> Epochs {
        Epochs::new([(Position(1), crate::Epoch::random())]).unwrap()
    }

    impl Log<'_> {
        fn append(&mut self, fact: Fact) -> Position {
            let position = self.state.position.next();
            let at = Timestamp::from_millisecond(self.now).unwrap();
            let event = Event::new(position, Tenant::default(), at, Vec::new(), fact, 0);
            self.state.apply(&event).unwrap();
            position
        }

        fn join(&mut self, user: &str) -> Position {
            let (users, channels) = (vec![UserId::stored(user)], vec![Channel::everyone()]);
            self.append(Fact::Joined(Membership { users, channels, by: Maker::Service, issued_at: None }))
        }

        fn publish(&mut self) -> Position {
            let draft: crate::Draft =
                serde_json::from_str(r#"{"type": "note", "audience": {"channels": ["everyone"]}}"#).unwrap();
            let audience = draft.audience.clone().settled();
            let publisher = crate::Publisher::stored("service");
            let fact = crate::command::published(draft, audience, publisher, Timestamp::UNIX_EPOCH);
            self.append(Fact::NotificationPublished(Box::new(fact)))
        }

        /// A connection that is new, or that goes on, has been sent and has acknowledged so much.
        fn progress(&mut self, user: &str, number: u32, from: Option<Position>, reached: Position) {
            let connected = from.map(|from| Connected {
                number,
                user: UserId::stored(user),
                device: crate::DeviceName::stored("phone"),
                transport: "ws".into(),
                from,
                began: from,
                had: None,
            });
            let connections = Numbers([number].into_iter().collect());
            self.append(Fact::Progress(Box::new(Progress {
                run: Position(1),
                connections: connected.into_iter().collect(),
                reached: vec![Reached { sent: reached, acknowledged: reached, connections }],
                counts: Vec::new(),
            })));
        }

        /// Sent, delivered and read of a number in the lane of everyone.
        fn total(&mut self, number: i64) -> [i64; 3] {
            self.state.write().unwrap();
            let sql = include_str!("sql/total.sql");
            let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
            self.state.connection.query_row(sql, [1, number, number / BLOCK as i64], row).unwrap()
        }

        fn rows(&self, table: &str) -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            self.state.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        }
    }

    #[test]
    fn totals_are_right_across_blocks() {
        let connection = database();
        let mut log = Log { state: State::load(&connection, one_epoch()).unwrap(), now: 0 };
        for user in ["ada", "eve"] {
            log.join(user);
        }
        let began = log.state.position;
        let positions: Vec<Position> = (0..2_500).map(|_| log.publish()).collect();
        log.progress("ada", 1, Some(began), positions[2_199]);
        log.progress("eve", 2, Some(positions[1_023]), positions[1_499]);
        let selection = Selection::UpTo(positions[1_500]);
        log.append(Fact::Read(Read { user: UserId::stored("eve"), selection }));
        for number in 1..=2_500 {
            let (ada, eve) = (i64::from(number <= 2_200), i64::from(number > 1_024 && number <= 1_500));
            let expected = [ada + eve, ada + eve, i64::from(number <= 1_501)];
            assert_eq!(log.total(number), expected, "of number {number}");
        }
        assert!(log.rows("totals") < 10, "and no row of each");
    }

    #[test]
    fn the_rows_of_totals_are_the_same_whenever_they_are_written() {
        let connection = database();
        let mut log = Log { state: State::load(&connection, one_epoch()).unwrap(), now: 0 };
        log.join("ada");
        let began = log.state.position;
        let positions: Vec<Position> = (0..1_500).map(|_| log.publish()).collect();
        log.progress("ada", 1, Some(began), positions[0]);
        for position in [positions[1_022], positions[1_023], positions[1_499]] {
            assert_eq!(log.total(1), [1, 1, 0]);
            log.progress("ada", 1, None, position);
        }
        log.state.write().unwrap();
        assert_eq!(
            (log.rows("totals"), log.rows("total_blocks")),
            (2, 2),
            "where it begins and where it ends"
        );
    }

    #[test]
    fn what_is_older_than_it_is_kept_is_forgotten_and_its_totals_stay() {
        let connection = database();
        let mut log = Log { state: State::load(&connection, one_epoch()).unwrap(), now: 0 };
        log.join("ada");
        let began = log.state.position;
        let old = log.publish();
        log.progress("ada", 1, Some(began), old);
        log.now += 20 * DAY_MS;
        let newer = log.publish();
        log.progress("ada", 2, Some(old), newer);
        assert_eq!((log.total(1), log.total(2)), ([1, 1, 0], [1, 1, 0]));
        log.now += 15 * DAY_MS;
        let last = log.publish();
        log.progress("ada", 2, None, last);
        assert_eq!((log.rows("connections"), log.rows("progress")), (1, 2), "the first of each is forgotten");
        // A device that comes from long ago is sent everything again: who has it already does not count once more.
        log.progress("ada", 3, Some(began), last);
        assert_eq!([log.total(1), log.total(2), log.total(3)], [[1, 1, 0]; 3]);
        log.now += 80 * DAY_MS;
        log.publish();
        log.state.write().unwrap();
        assert_eq!(log.rows("minutes"), 2, "of the last 90 days");
    }
}
