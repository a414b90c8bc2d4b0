//! Delivery status is exact: for random histories of everything that people, services and devices do, what is said of
//! each notification, person and device is what the devices really got, and the totals are the sums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use tidings_engine::check::CheckedView;
use tidings_engine::command::UpTo;
use tidings_engine::deliveries::{Deliveries, DeliveriesQuery, PersonDelivery};
use tidings_engine::delivery::{Message, Parcel};
use tidings_engine::event::{Fact, Mark};
use tidings_engine::stats::{By, Every, StatsQuery, StatsRow};
use tidings_engine::{
    Engine, Identity, NotificationId, Opening, Options, Position, Resume, Subscriber, Tenant, UserId,
};

use crate::histories::model::Model;
use crate::histories::steps::{self, Step, USERS, user};
use crate::world::{World, id, person, service};

/// Histories in all: two tests share them.
const HISTORIES: u32 = 100;
const NAMES: [&str; 2] = ["phone", "laptop"];

#[derive(Clone, Debug)]
enum Act {
    Do(Step),
    Connect {
        user: usize,
        name: Option<usize>,
        resume: bool,
    },
    Receive {
        which: Index,
    },
    Acknowledge {
        which: Index,
        back: u64,
    },
    Close {
        which: Index,
    },
    Click {
        user: usize,
        which: Index,
    },
    /// Something that was put off comes back, and a device that has seen it, or not yet, reads all that it has seen.
    Wake {
        user: usize,
        which: Index,
        back: u64,
    },
    Record,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    // Few devices, so that they come back often.
    let connect = (0..2usize, prop::option::weighted(0.7, 0..NAMES.len()), any::<bool>())
        .prop_map(|(user, name, resume)| Act::Connect { user, name, resume });
    let wake =
        (0..USERS, any::<Index>(), 0..4u64).prop_map(|(user, which, back)| Act::Wake { user, which, back });
    let act = prop_oneof![
        12 => steps::step().prop_map(Act::Do),
        2 => wake,
        5 => connect,
        8 => any::<Index>().prop_map(|which| Act::Receive { which }),
        5 => (any::<Index>(), 0..4u64).prop_map(|(which, back)| Act::Acknowledge { which, back }),
        3 => any::<Index>().prop_map(|which| Act::Close { which }),
        2 => (0..USERS, any::<Index>()).prop_map(|(user, which)| Act::Click { user, which }),
        2 => Just(Act::Record),
    ];
    prop::collection::vec(act, 20..60)
}

/// An open connection, and what it got.
struct Connection {
    /// What of it was acknowledged.
    has: BTreeSet<u64>,
    user: usize,
    name: Option<usize>,
    subscriber: Subscriber,
    got: BTreeMap<u64, NotificationId>,
}

/// Where, what it got on its last connection, and how many of that it has not acknowledged.
type LeftOff = (Position, BTreeMap<u64, NotificationId>, u64);

/// What really happened, of each notification to each person.
#[derive(Default)]
struct Truth {
    notifications: Vec<NotificationId>,
    routed: BTreeSet<(UserId, NotificationId)>,
    dropped: BTreeSet<(UserId, NotificationId)>,
    /// People to whom what was retracted had not been sent by then.
    dropped_when_retracted: u64,
    sent: BTreeSet<(UserId, NotificationId)>,
    delivered: BTreeSet<(UserId, NotificationId)>,
    read: BTreeSet<(UserId, NotificationId)>,
    clicked: BTreeSet<(UserId, NotificationId)>,
    /// Where each device left off.
    left_off: BTreeMap<(usize, usize), LeftOff>,
    looked_at: Position,
    /// How many notifications were written to connections, and how many of those acknowledged.
    written: u64,
    acknowledged: u64,
}

struct Play {
    engine: Engine,
    model: Model,
    truth: Truth,
    open: Vec<Connection>,
}

fn notifications(parcel: &Parcel) -> Vec<(u64, NotificationId)> {
    let of = |message: &Message| match message {
        Message::Notification { event, .. } => Some((event.position.0, event.published()?.notification.id)),
        _ => None,
    };
    parcel.deliveries().iter().filter_map(|delivery| of(delivery.message())).collect()
}

fn options(directory: &std::path::Path, recent_kept: Option<usize>) -> Options {
    let mut options = Options::new(directory);
    options.recent_kept = recent_kept;
    options.progress_every = Some(Duration::from_secs(3_600)); // when the history says so
    options
}

impl Play {
    async fn take(&mut self, act: &Act) {
        match act {
            // What is read by a read-all is what lies below it, also what somebody deleted or what gave up its place.
            Act::Do(Step::Mark { mark: Mark::Deleted, .. }) => {}
            Act::Do(Step::Publish { users, channels, except, kind, tag, inbox, .. }) => {
                let (users, channels, except) = (users.clone(), channels.clone(), except.clone());
                let (kind, tag, inbox) = (*kind, *tag, *inbox);
                let publish = Step::Publish { users, channels, except, kind, tag, collapse: false, inbox };
                self.step(&publish).await;
            }
            Act::Do(step @ Step::Retract { .. }) => {
                self.engine.record_progress().await.unwrap();
                let before = self.model.retracted.len();
                self.step(step).await;
                for id in self.model.retracted.split_off(before) {
                    let routed = self.truth.routed.iter().filter(|(_, other)| *other == id);
                    let dropped = routed.filter(|one| !self.truth.sent.contains(one)).count() as u64;
                    self.truth.dropped_when_retracted += dropped;
                    self.model.retracted.push(id);
                }
            }
            Act::Do(step) => self.step(step).await,
            Act::Connect { user, name, resume } => self.connect(*user, *name, *resume).await,
            Act::Receive { which } => self.receive(which).await,
            Act::Acknowledge { which, back } => self.acknowledge(which, *back),
            Act::Close { which } => {
                if let Some(index) = self.chosen(which) {
                    let mut connection = self.open.swap_remove(index);
                    if let Some(name) = connection.name {
                        let position = connection.subscriber.settle();
                        let Connection { user, got, has, .. } = connection;
                        let unacknowledged = got.keys().filter(|position| !has.contains(position)).count();
                        self.truth.left_off.insert((user, name), (position, got, unacknowledged as u64));
                    }
                }
            }
            Act::Click { user, which } => self.click(*user, which).await,
            Act::Wake { user, which, back } => self.wake(*user, which, *back).await,
            Act::Record => self.engine.record_progress().await.unwrap(),
        }
    }

    async fn click(&mut self, number: usize, which: &Index) {
        let Some(person) = self.model.person_mut(&user(number)) else { return };
        let ids = person.ids();
        if ids.is_empty() {
            return;
        }
        let id = *which.get(&ids);
        let identity = Identity::person(Tenant::default(), user(number));
        self.engine.clicked(&identity, &[id]).await.unwrap();
        person.read(&[id]);
        self.truth.clicked.insert((user(number), id));
        self.truth.read.insert((user(number), id));
    }

    async fn wake(&mut self, number: usize, which: &Index, back: u64) {
        let which = vec![*which];
        self.step(&Step::Snooze { user: number, which: which.clone() }).await;
        self.step(&Step::Wake { user: number, which }).await;
        let up_to = Position(self.engine.log().head().0.saturating_sub(back));
        let identity = Identity::person(Tenant::default(), user(number));
        self.engine.read_all(&identity, &UpTo::Position(up_to)).await.unwrap();
        if let Some(person) = self.model.person_mut(&user(number)) {
            person.read_all(up_to.0);
        }
        self.truth.read.extend(self.model.all_read());
    }

    fn chosen(&self, which: &Index) -> Option<usize> {
        (!self.open.is_empty()).then(|| which.index(self.open.len()))
    }

    async fn step(&mut self, step: &Step) {
        let (channels, except) = match step {
            Step::Publish { channels, except, .. } => (channels.clone(), except.clone()),
            _ => Default::default(),
        };
        let channels = channels.iter().map(|number| steps::channel(*number)).collect();
        let members = self.model.members(&channels);
        step.take(&self.engine, &mut self.model).await;
        for (event_users, id) in self.published().await {
            let except: BTreeSet<UserId> = except.iter().map(|number| user(*number)).collect();
            for member in members.iter().filter(|member| !event_users.contains(member)) {
                let is_left_out = except.contains(member);
                let set = if is_left_out { &mut self.truth.dropped } else { &mut self.truth.routed };
                set.insert((member.clone(), id));
            }
            self.truth.routed.extend(event_users.iter().map(|user| (user.clone(), id)));
            self.truth.notifications.push(id);
        }
        self.truth.read.extend(self.model.all_read());
        self.engine.settle().await.unwrap();
    }

    /// What was published since this was last asked: whom it named, and its id.
    async fn published(&mut self) -> Vec<(Vec<UserId>, NotificationId)> {
        let mut tail = self.engine.log().tail(self.truth.looked_at);
        let mut published = Vec::new();
        while tail.position() < self.engine.log().head() {
            for event in tail.next().await.unwrap() {
                if let Fact::NotificationPublished(fact) = &event.fact {
                    published.push((fact.audience.users.clone(), fact.notification.id));
                }
            }
        }
        self.truth.looked_at = tail.position();
        published
    }

    async fn connect(&mut self, number: usize, name: Option<usize>, resume: bool) {
        // A device has one connection at a time.
        if name.is_some() && self.open.iter().any(|open| (open.user, open.name) == (number, name)) {
            return;
        }
        let mut opening = Opening::new("test");
        opening.device = name.map(|name| NAMES[name].parse().unwrap());
        let left_off = name.and_then(|name| self.truth.left_off.remove(&(number, name)));
        if let Some((position, got, unacknowledged)) = left_off.filter(|_| resume) {
            self.truth.acknowledged += unacknowledged;
            opening.resume = Some(Resume { cursor: self.engine.log().cursor(position), most: 1_000 });
            self.truth.delivered.extend(got.values().map(|id| (user(number), *id)));
        }
        let identity = Arc::new(Identity::person(Tenant::default(), user(number)));
        self.model.hear(&user(number));
        let (subscriber, _) = self.engine.subscribe(&identity, opening).await.unwrap();
        self.open.push(Connection {
            has: BTreeSet::new(),
            user: number,
            name,
            subscriber,
            got: BTreeMap::new(),
        });
    }

    async fn receive(&mut self, which: &Index) {
        let Some(index) = self.chosen(which) else { return };
        let connection = &mut self.open[index];
        let mut parcel = connection.subscriber.try_next();
        if parcel.is_none() {
            // It may be on the way from the log.
            let next = tokio::time::timeout(Duration::from_millis(5), connection.subscriber.next());
            parcel = next.await.ok().and_then(Result::ok);
        }
        if let Some(parcel) = parcel {
            connection.subscriber.sent(&parcel);
            for (position, id) in notifications(&parcel) {
                self.truth.written += 1;
                connection.got.insert(position, id);
                self.truth.sent.insert((user(connection.user), id));
            }
        }
    }

    fn acknowledge(&mut self, which: &Index, back: u64) {
        let Some(index) = self.chosen(which) else { return };
        let connection = &mut self.open[index];
        let position = Position(connection.subscriber.settle().0.saturating_sub(back));
        connection.subscriber.acknowledge(&UpTo::Position(position)).unwrap();
        let acknowledged = connection.got.range(..=position.0);
        let fresh = acknowledged.clone().filter(|(position, _)| connection.has.insert(**position));
        self.truth.acknowledged += fresh.count() as u64;
        self.truth.delivered.extend(acknowledged.map(|(_, id)| (user(connection.user), *id)));
    }
}

async fn ask(engine: &Engine, id: NotificationId) -> Deliveries {
    let service = Identity::service(Tenant::default());
    let mut pages =
        engine.deliveries(&service, id, DeliveriesQuery { limit: 2, ..Default::default() }).await.unwrap();
    while let Some(after) = pages.next.take() {
        let query = DeliveriesQuery { limit: 2, after: Some(after), user: None };
        let page = engine.deliveries(&service, id, query).await.unwrap();
        pages.people.extend(page.people);
        pages.next = page.next;
    }
    pages
}

fn check(truth: &Truth, id: NotificationId, deliveries: &Deliveries) {
    let of = |set: &BTreeSet<(UserId, NotificationId)>| -> BTreeSet<UserId> {
        set.iter().filter(|(_, other)| *other == id).map(|(user, _)| user.clone()).collect()
    };
    let who = |is: &dyn Fn(&PersonDelivery) -> bool| -> BTreeSet<UserId> {
        deliveries.people.iter().filter(|person| is(person)).map(|person| person.user.clone()).collect()
    };
    let at = format!("of {id} at {}", deliveries.position);
    let routed = who(&|person| person.rule.is_some());
    let sent = who(&|person| !person.devices.is_empty());
    let delivered = who(&|person| person.devices.iter().any(|device| device.delivered));
    let read = who(&|person| person.read_at.is_some());
    let clicked = who(&|person| person.clicked_at.is_some());
    let dropped = who(&|person| person.reason.is_some());
    assert_eq!(routed, of(&truth.routed), "routed {at}");
    assert_eq!(dropped, of(&truth.dropped), "dropped {at}");
    assert_eq!(sent, of(&truth.sent), "sent {at}");
    assert_eq!(delivered, of(&truth.delivered), "delivered {at}");
    assert_eq!(read, of(&truth.read), "read {at}");
    assert_eq!(clicked, of(&truth.clicked), "clicked {at}");
    let totals = deliveries.totals;
    let sums = [routed, sent, delivered, read, clicked, dropped].map(|users| users.len() as u64);
    assert_eq!(
        [totals.routed, totals.sent, totals.delivered, totals.read, totals.clicked, totals.dropped],
        sums,
        "totals {at}"
    );
    for device in deliveries.people.iter().flat_map(|person| &person.devices) {
        assert!(device.sent_at.is_some(), "when it was sent {at}");
        assert_eq!(device.delivered_at.is_some(), device.delivered, "when it was delivered {at}");
    }
}

async fn stats(engine: &Engine) -> Vec<StatsRow> {
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let by = [By::Type, By::Channel, By::Transport].into();
    let query = StatsQuery { from: now - hour, to: now + hour, every: Every::All, by };
    engine.stats(&Identity::service(Tenant::default()), query).await.unwrap().rows
}

fn check_stats(truth: &Truth, rows: &[StatsRow]) {
    let sum = |count: &dyn Fn(&StatsRow) -> u64| rows.iter().map(count).sum::<u64>();
    assert_eq!(sum(&|row| row.published), truth.notifications.len() as u64, "published");
    assert_eq!(sum(&|row| row.sent), truth.written, "sent");
    assert_eq!(sum(&|row| row.latencies.iter().sum()), truth.written, "latencies");
    assert_eq!(sum(&|row| row.delivered), truth.acknowledged, "delivered");
    assert_eq!(sum(&|row| row.read), truth.read.len() as u64, "read");
    assert_eq!(sum(&|row| row.clicked), truth.clicked.len() as u64, "clicked");
    let dropped = truth.dropped.len() as u64 + truth.dropped_when_retracted;
    assert_eq!(sum(&|row| row.dropped), dropped, "dropped");
}

fn run(acts: &[Act], recent_kept: Option<usize>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::start(options(directory.path(), recent_kept)).await.unwrap();
        let (model, truth, open) = Default::default();
        let mut play = Play { engine, model, truth, open };
        for act in acts {
            play.take(act).await;
        }
        let Play { engine, mut truth, open, model } = play;
        let counted = stats(&engine).await;
        check_stats(&truth, &counted);
        let is_retracted = |(_, id): &&(UserId, NotificationId)| model.retracted.contains(id);
        let taken = truth.routed.iter().filter(is_retracted).filter(|one| !truth.sent.contains(one));
        let taken: Vec<_> = taken.cloned().collect();
        truth.dropped.extend(taken);
        let mut live = BTreeMap::new();
        for id in &truth.notifications {
            let deliveries = ask(&engine, *id).await;
            check(&truth, *id, &deliveries);
            live.insert(*id, deliveries);
        }
        drop(open);
        engine.shutdown().await;
        drop(engine);
        let checked = tidings_engine::check::check(directory.path(), |_| {}).await.unwrap();
        assert_eq!(checked.findings.listed, [], "the view is what a rebuild makes, row for row");
        assert!(matches!(checked.deliveries, CheckedView::Compared(_)));
        for anew in [false, true] {
            if anew {
                std::fs::remove_file(directory.path().join("deliveries.db")).unwrap();
            }
            let engine = Engine::start(options(directory.path(), recent_kept)).await.unwrap();
            assert_eq!(stats(&engine).await, counted, "stats after a restart, anew: {anew}");
            for (id, before) in &live {
                assert_eq!(&ask(&engine, *id).await, before, "after a restart, anew: {anew}");
            }
            engine.shutdown().await;
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_over_http_names_people_devices_and_times() {
    let world = World::start().await;
    let ada = person("ada");
    let mut phone = world.try_connect(&format!("/v1/ws?device=phone&token={ada}")).await.unwrap();
    let _eve = world.connect(&person("eve")).await;
    world.get("/v1/counts", &person("bob")).await;
    let audience = json!({ "channels": ["everyone"], "except": ["bob"] });
    let receipt = world.publish(json!({ "type": "note", "audience": audience })).await;
    let notification = phone.expect("notification").await;
    phone.ask(json!({ "type": "ack", "upTo": notification["cursor"] })).await;
    phone.ask(json!({ "type": "read", "notifications": [id(&receipt)] })).await;
    let path = format!("/v1/notifications/{}/deliveries", id(&receipt));
    let said = world.get(&format!("{path}?limit=2"), &service()).await;
    assert_eq!(
        said["totals"],
        json!({ "routed": 2, "sent": 2, "delivered": 1, "read": 1, "clicked": 0, "dropped": 1 })
    );
    let (first, second) = (&said["people"][0], &said["people"][1]);
    assert_eq!((&first["user"], &first["status"]), (&json!("ada"), &json!("read")));
    assert_eq!((&first["rule"]["by"], &first["rule"]["channel"]), (&json!("channel"), &json!("everyone")));
    let device = &first["devices"][0];
    assert_eq!((&device["device"], &device["transport"]), (&json!("phone"), &json!("ws")));
    assert!(device["sentAt"].is_string() && device["deliveredAt"].is_string() && first["readAt"].is_string());
    assert_eq!((&second["status"], &second["reason"]), (&json!("dropped"), &json!("excepted")));
    assert_eq!(said["next"], "bob");
    let said = world.get(&format!("{path}?cursor=bob"), &service()).await;
    assert_eq!((&said["people"][0]["status"], &said["next"]), (&json!("sent"), &Value::Null));
    assert!(said["people"][0]["devices"][0]["device"].as_str().unwrap().starts_with("connection-"));
    let said = world.get(&format!("{path}?user=nobody"), &service()).await;
    assert_eq!(said["people"][0]["status"], "notRouted");
    let (status, _) = world.send(reqwest::Method::GET, &path, &ada, &Value::Null).await;
    assert_eq!(status, 403, "not even of what one got oneself");
    let nothing = "/v1/notifications/0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001/deliveries";
    assert_eq!(world.send(reqwest::Method::GET, nothing, &service(), &Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_forgets_a_second_of_progress_and_a_damaged_view_is_built_anew() {
    let mut world = World::start().await;
    let path = format!("/v1/ws?device=phone&token={}", person("ada"));
    let mut phone = world.try_connect(&path).await.unwrap();
    let mut receipts = Vec::new();
    for number in 0..20 {
        let audience = json!({ "channels": ["everyone"] });
        receipts.push(
            world.publish(json!({ "type": "note", "title": number.to_string(), "audience": audience })).await,
        );
        let notification = phone.expect("notification").await;
        phone.ask(json!({ "type": "ack", "upTo": notification["cursor"] })).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    world.kill().await;
    std::fs::write(world.data().join("deliveries.db"), "not a database".repeat(1_000)).unwrap();
    world.resume().await;
    let mut delivered = Vec::new();
    for receipt in &receipts {
        let said = world.get(&format!("/v1/notifications/{}/deliveries", id(receipt)), &service()).await;
        assert_eq!(said["totals"]["routed"], 1, "no notification is forgotten");
        delivered.push(said["totals"]["delivered"] == 1);
    }
    // The last second is seven of them; a machine that is busy may be late with the record.
    let forgotten = delivered.iter().filter(|delivered| !**delivered).count();
    assert!(forgotten < 15, "{delivered:?}");
    assert!(
        delivered.is_sorted_by(|one, other| one >= other),
        "what is forgotten is the last: {delivered:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_woke_after_what_a_read_all_had_seen_is_read_by_a_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start(options(directory.path(), None)).await.unwrap();
    let (service, ada) = (Identity::service(Tenant::default()), Identity::person(Tenant::default(), user(0)));
    engine.admit(&ada).await.unwrap();
    let mut ids = Vec::new();
    for audience in [json!({ "users": [user(0)] }), json!({ "channels": ["everyone"] })] {
        let draft = json!({ "type": "note", "audience": audience });
        let draft: tidings_engine::Draft = serde_json::from_value(draft).unwrap();
        ids.push(engine.publish(&service, draft.into()).await.unwrap().id);
    }
    let until = Timestamp::now() + SignedDuration::from_hours(1);
    let had_seen = engine.snooze(&ada, &ids, until).await.unwrap().position;
    let woken = engine.wake(&ada, &ids).await.unwrap().position;
    engine.shutdown().await;
    drop(engine);
    // A view as it was before this was looked at is built anew.
    let view = rusqlite::Connection::open(directory.path().join("deliveries.db")).unwrap();
    view.execute_batch("DROP TABLE snoozes; UPDATE checkpoint SET version = 1").unwrap();
    drop(view);
    let engine = Engine::start(options(directory.path(), None)).await.unwrap();
    // Each woke at a place of its own: the last but one, and the last.
    for (up_to, unread) in [(had_seen, 2), (Position(woken.0 - 1), 1), (woken, 0)] {
        engine.read_all(&ada, &UpTo::Position(up_to)).await.unwrap();
        assert_eq!(
            engine.counts(&ada, Position(0)).await.unwrap().unread,
            unread,
            "in the inbox, up to {up_to}"
        );
        let mut read = 0;
        for id in &ids {
            let said = ask(&engine, *id).await;
            assert_eq!(said.totals.read, u64::from(said.people[0].read_at.is_some()), "up to {up_to}");
            read += said.totals.read;
        }
        assert_eq!(read, 2 - unread, "of its deliveries, up to {up_to}");
        let counted: u64 = stats(&engine).await.iter().map(|row| row.read).sum();
        assert_eq!(counted, read, "in the stats, up to {up_to}");
    }
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_left_while_their_device_was_away_was_not_sent() {
    let world = World::start().await;
    let ada = person("ada");
    world.post("/v1/channels/topic:a/join", &ada, json!({})).await;
    let path = format!("/v1/ws?device=phone&token={ada}");
    let phone = world.try_connect(&path).await.unwrap();
    let cursor = phone.hello["cursor"].as_str().unwrap().to_owned();
    phone.close().await;
    let audience = json!({ "channels": ["topic:a"] });
    let left = world.publish(json!({ "type": "note", "audience": audience })).await;
    world.post("/v1/channels/topic:a/leave", &ada, json!({})).await;
    let later = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let mut phone = world.try_connect(&format!("{path}&cursor={cursor}")).await.unwrap();
    assert_eq!(phone.expect("notification").await["notification"]["id"], later["id"]);
    phone.expect("caughtUp").await;
    phone.heard().await;
    for (receipt, sent, status) in [(left, 0, "routed"), (later, 1, "sent")] {
        let said = world.get(&format!("/v1/notifications/{}/deliveries", id(&receipt)), &service()).await;
        assert_eq!((&said["totals"]["routed"], &said["totals"]["sent"]), (&json!(1), &json!(sent)));
        assert_eq!(said["people"][0]["status"], status);
    }
}

fn config() -> ProptestConfig {
    let (cases, max_shrink_iters) = (HISTORIES / 2, 300);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_said_is_what_devices_got_and_totals_are_the_sums_and_a_view_built_anew_says_the_same(acts in acts()) {
        run(&acts, None);
    }

    #[test]
    fn the_same_is_so_of_devices_that_catch_up_from_the_log(acts in acts()) {
        run(&acts, Some(0));
    }
}
