//! The view beside the inbox, for events in any order: also in those that commands leave only when several are under way at
//! once, such as a wake-up of what was put off anew, archived, deleted, left or taken back meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::audience::Audience;
use crate::event::{Entry, EntryRef, Fact, Maker, Membership, Read, Selection};
use crate::log::Append;
use crate::names::{Channel, UserId};
use crate::{Draft, Engine, Identity, Options};

const USERS: [&str; 2] = ["ada", "eve"];

#[derive(Clone, Debug)]
enum Step {
    /// To one by name, to a channel, to two, to a channel and one of its members by name.
    Publish(usize),
    Snooze(usize, usize),
    /// By the last snooze but so many, or by hand.
    Wake(usize, usize, Option<usize>),
    Mark(usize, Mark, usize),
    Read(usize, usize),
    /// Up to so many positions before the last.
    ReadAll(usize, u64),
    Retract(usize),
    Join(usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (user, which) = (0..USERS.len(), 0..4usize);
    let marks = [Mark::Unread, Mark::Archived, Mark::Unarchived, Mark::Deleted];
    let mark = (user.clone(), prop::sample::select(marks.to_vec()), which.clone());
    prop_oneof![
        3 => (0..4usize).prop_map(Step::Publish),
        6 => (user.clone(), which.clone()).prop_map(|(user, which)| Step::Snooze(user, which)),
        6 => (user.clone(), which.clone(), prop::option::of(0..2usize))
            .prop_map(|(user, which, but)| Step::Wake(user, which, but)),
        4 => mark.prop_map(|(user, mark, which)| Step::Mark(user, mark, which)),
        1 => (user.clone(), which.clone()).prop_map(|(user, which)| Step::Read(user, which)),
        4 => (user.clone(), 0..6u64).prop_map(|(user, back)| Step::ReadAll(user, back)),
        1 => which.prop_map(Step::Retract),
        1 => user.clone().prop_map(Step::Join),
        1 => user.prop_map(Step::Leave),
    ]
}

/// A person and a notification, by their numbers.
type One = (usize, usize);

/// Whether something is put off, and where it came back last.
type Noted = (bool, Option<Position>);

struct Play {
    engine: Engine,
    published: Vec<Arc<Event>>,
    snoozes: BTreeMap<One, Vec<Position>>,
    /// What stands in somebody's inbox.
    has: BTreeMap<One, Noted>,
    /// Whom the inbox ever said to have read what.
    read: BTreeSet<One>,
    deleted: BTreeSet<One>,
}

fn key(number: usize) -> UserKey {
    UserKey { tenant: Tenant::default(), user: UserId::stored(USERS[number]) }
}

fn channel() -> Channel {
    Channel::stored("topic:a")
}

impl Play {
    async fn append(&self, fact: Fact) {
        let append = Append { tenant: Tenant::default(), key: None, facts: vec![fact] };
        self.engine.log().append(vec![append]).await.unwrap();
    }

    async fn publish(&mut self, kind: usize) {
        let (users, channels) = [
            (vec!["ada"], vec![]),
            (vec![], vec!["topic:a"]),
            (vec![], vec!["everyone", "topic:a"]),
            (vec!["eve"], vec!["topic:a"]),
        ][kind]
            .clone();
        let audience = Audience {
            users: users.into_iter().map(UserId::stored).collect(),
            channels: channels.into_iter().map(Channel::stored).collect(),
            except: Vec::new(),
        };
        let draft = Draft::new("note".parse().unwrap(), audience);
        let service = Identity::service(Tenant::default());
        let receipt = self.engine.publish(&service, draft.into()).await.unwrap();
        self.published.push(self.engine.log().event(receipt.position).await.unwrap().unwrap());
    }

    /// Where a person meets a notification, if it was ever for them.
    fn entry(&self, (user, which): One) -> Option<EntryRef> {
        let event = self.published.get(which)?;
        let addressed = event.addressed()?;
        let own = addressed.own_entries().find(|(named, _)| named.as_str() == USERS[user]);
        let shared = || addressed.shared_entry().map(|(_, entry)| entry);
        let Entry { stream, offset } = own.map(|(_, entry)| entry).or_else(shared)?;
        Some(EntryRef { id: event.published()?.notification.id, stream, offset })
    }

    async fn act(&mut self, one: One, fact: impl FnOnce(UserId, EntryRef) -> Fact) {
        if let Some(entry) = self.entry(one) {
            self.append(fact(key(one.0).user, entry)).await;
        }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Publish(kind) => self.publish(kind).await,
            Step::Snooze(user, which) => {
                let until = Timestamp::now() + SignedDuration::from_hours(1);
                self.act((user, which), |user, entry| {
                    Fact::Snoozed(Snoozed { user, entries: vec![entry], until })
                })
                .await;
                let at = self.engine.log().head();
                self.snoozes.entry((user, which)).or_default().push(at);
            }
            Step::Wake(user, which, but) => {
                let snoozes = self.snoozes.get(&(user, which));
                let meant = |but| snoozes.and_then(|snoozes| snoozes.iter().rev().nth(but)).copied();
                let snoozed_at = but.map(|but| meant(but).unwrap_or(Position(1)));
                self.act((user, which), |user, entry| Fact::Woken(Woken { user, entry, snoozed_at })).await;
            }
            Step::Mark(user, mark, which) => {
                self.act((user, which), |user, entry| {
                    Fact::Marked(mark, Marked { user, entries: vec![entry] })
                })
                .await;
                if mark == Mark::Deleted && self.has.contains_key(&(user, which)) {
                    self.deleted.insert((user, which));
                }
            }
            Step::Read(user, which) if self.has.contains_key(&(user, which)) => {
                let read =
                    |user, entry| Fact::Read(Read { user, selection: Selection::Entries(vec![entry]) });
                self.act((user, which), read).await;
            }
            Step::Read(..) => {}
            Step::ReadAll(user, back) => {
                let up_to = Position(self.engine.log().head().0.saturating_sub(back));
                let (user, selection) = (key(user).user, Selection::UpTo(up_to));
                self.append(Fact::Read(Read { user, selection })).await;
            }
            Step::Retract(which) => {
                let Some(event) = self.published.get(which) else { return };
                let id = event.published().unwrap().notification.id;
                let _ = self.engine.retract(&Identity::service(Tenant::default()), id).await; // perhaps again
            }
            Step::Join(user) => self.append(Fact::Joined(membership(user))).await,
            Step::Leave(user) => self.append(Fact::Left(membership(user))).await,
        }
    }

    /// Looks at the inboxes.
    async fn look(&mut self) {
        self.has.clear();
        for user in 0..USERS.len() {
            let inbox = self.engine.inbox_of(&key(user), self.engine.log().head()).await.unwrap();
            let published = self.published.clone();
            let look = move |inbox: &crate::inbox::Inbox, connection: &crate::sqlite::Connection| {
                let find =
                    |event: &Arc<Event>| inbox.find(connection, &event.published().unwrap().notification.id);
                published.iter().map(find).collect::<rusqlite::Result<Vec<_>>>()
            };
            for (which, found) in self.engine.look(inbox, look).await.unwrap().into_iter().enumerate() {
                let Some(item) = found.map(|found| found.item) else { continue };
                let came_back = Some(item.position).filter(|at| *at != self.published[which].position);
                let noted = (item.snoozed_until.is_some(), came_back);
                self.has.insert((user, which), noted);
                if item.read {
                    self.read.insert((user, which));
                }
            }
        }
    }

    /// What the view says: what was read, and what its rows are.
    async fn said(&self) -> (BTreeSet<One>, BTreeMap<One, Noted>) {
        let positions: Vec<Position> = self.published.iter().map(|event| event.position).collect();
        let ask = move |state: &mut State<'_>| {
            let (mut read, mut rows) = (BTreeSet::new(), BTreeMap::new());
            for user in 0..USERS.len() {
                let Some(id) = state.find_id(&key(user))? else { continue };
                for (which, position) in positions.iter().enumerate() {
                    let sql = "SELECT lane FROM notifications WHERE position = ?1";
                    let lane: Option<LaneId> =
                        state.connection.query_row(sql, [position.sql()], |row| row.get(0))?;
                    let lane = if state.is_own(id, position.0)? { 0 } else { lane.unwrap_or(-1) };
                    if state.not_read(id, lane, (position.0 - 1, position.0))?.is_empty() {
                        read.insert((user, which));
                    }
                    let sql = "SELECT snoozed_at IS NOT NULL, woken_at FROM snoozes
                        WHERE person = ?1 AND position = ?2";
                    let noted = state.connection.query_row(sql, [id, position.sql()], |row| {
                        Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Position::from_sql)))
                    });
                    if let Some(noted) = noted.optional()? {
                        rows.insert((user, which), noted);
                    }
                }
            }
            Ok((read, rows))
        };
        self.engine.delivery_view().ask(ask).await.unwrap()
    }
}

fn membership(user: usize) -> Membership {
    let (users, channels) = (vec![key(user).user], vec![channel()]);
    Membership { users, channels, by: Maker::Service, issued_at: None }
}

async fn run(steps: &[Step]) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start(Options::new(directory.path())).await.unwrap();
    let (published, snoozes, has) = Default::default();
    let mut play = Play { engine, published, snoozes, has, read: BTreeSet::new(), deleted: BTreeSet::new() };
    let beginning = [Step::Join(0), Step::Join(1), Step::Publish(0), Step::Publish(1)];
    for step in beginning.iter().chain(steps) {
        play.take(step).await;
        play.look().await;
        let (read, rows) = play.said().await;
        // Of what somebody deleted the inbox says nothing: a read-all reads it as well, and to put it off leaves a note
        // until then.
        let is_told = |one: &One| !play.deleted.contains(one) || play.read.contains(one);
        let read = read.into_iter().filter(is_told);
        assert_eq!(read.collect::<BTreeSet<_>>(), play.read, "read, after {step:?}");
        let noted =
            play.has.iter().filter(|(one, noted)| **noted != (false, None) && !play.read.contains(one));
        let noted: BTreeMap<One, Noted> = noted.map(|(one, noted)| (*one, *noted)).collect();
        let rows: BTreeMap<One, Noted> = rows.into_iter().filter(|(one, _)| is_told(one)).collect();
        assert_eq!(rows, noted, "and noted is only what was put off and never read, after {step:?}");
    }
    play.engine.shutdown().await;
    drop(play);
    let checked = crate::check::check(directory.path(), |_| {}).await.unwrap();
    assert_eq!(checked.findings.listed, [], "the view is what a rebuild makes, row for row");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn who_read_what_is_as_in_the_inbox_whatever_was_put_off_and_woke(steps in prop::collection::vec(step(), 10..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(run(&steps));
    }
}
