//! What is to happen and has happened, kept the plain way; and the steps that the engine and this take.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use tidings_engine::clock::{Clock, ManualClock};
use tidings_engine::command::Revision;
use tidings_engine::{Engine, Error, Identity, NotificationId, Tenant};

use super::draft;

/// The clock is set to whole seconds, and so is everything that is due: many things come at the same moment.
#[derive(Clone, Debug)]
pub enum Step {
    /// With when it goes out and when it expires, in seconds from now.
    Publish {
        deliver: Option<i64>,
        expires: Option<i64>,
    },
    Update {
        which: Index,
        expires: Option<i64>,
    },
    Retract {
        which: Index,
    },
    Snooze {
        user: usize,
        which: Index,
        until: i64,
    },
    Wake {
        user: usize,
        which: Index,
    },
    Delete {
        user: usize,
        which: Index,
    },
    /// The clock goes on, back, or stands still.
    Clock(i64),
    Restart,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 5..30)
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = || prop_oneof![1..5i64, 3_595..3_605i64];
    let maybe = || prop::option::of(seconds());
    let jump = prop_oneof![Just(0), -3i64..5, Just(3_600), Just(-3_600)];
    prop_oneof![
        5 => (maybe(), maybe()).prop_map(|(deliver, expires)| Step::Publish { deliver, expires }),
        1 => (any::<Index>(), maybe()).prop_map(|(which, expires)| Step::Update { which, expires }),
        1 => any::<Index>().prop_map(|which| Step::Retract { which }),
        3 => (0..2usize, any::<Index>(), seconds()).prop_map(|(user, which, until)| Step::Snooze { user, which, until }),
        1 => (0..2usize, any::<Index>()).prop_map(|(user, which)| Step::Wake { user, which }),
        1 => (0..2usize, any::<Index>()).prop_map(|(user, which)| Step::Delete { user, which }),
        6 => jump.prop_map(Step::Clock),
        1 => Just(Step::Restart),
    ]
}

struct Known {
    id: NotificationId,
    /// Until it goes out: when.
    deliver: Option<Timestamp>,
    expires: Option<Timestamp>,
    /// Which event set its timers: what was set first is first.
    set_at: u64,
    expiry_set_at: u64,
    /// For each of the two people: until when it is put off, and by which event.
    snoozed: [Option<(Timestamp, u64)>; 2],
    deleted: [bool; 2],
    gone: bool,
}

#[derive(Default)]
pub struct Model {
    known: Vec<Known>,
    /// How many events there were in all: their order is that of the positions.
    events: u64,
    pub fired: Vec<String>,
}

const USERS: [&str; 2] = ["ada", "bob"];

impl Model {
    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Everything that is due at a time, in its order.
    pub fn pass(&mut self, now: Timestamp) {
        while let Some((_, _, index, what)) = self.due(now).into_iter().min() {
            let at = self.next_event();
            let known = &mut self.known[index];
            let id = known.id;
            match what {
                What::Out if known.expires.is_some_and(|over| over <= now) => {
                    (known.deliver, known.gone) = (None, true);
                    self.fired.push(format!("cancelled {id}"));
                }
                What::Out => {
                    (known.deliver, known.expiry_set_at) = (None, at);
                    self.fired.push(format!("published {id}"));
                }
                What::Expired => {
                    known.gone = true;
                    self.fired.push(format!("expired {id}"));
                }
                What::Woken(user) => {
                    known.snoozed[user] = None;
                    self.fired.push(format!("woken {id} of {}", USERS[user]));
                }
            }
        }
    }

    fn due(&self, now: Timestamp) -> Vec<(Timestamp, u64, usize, What)> {
        let mut due = Vec::new();
        for (index, known) in self.known.iter().enumerate().filter(|(_, known)| !known.gone) {
            if let Some(deliver) = known.deliver {
                due.push((deliver, known.set_at, index, What::Out));
                continue;
            }
            due.extend(known.expires.map(|over| (over, known.expiry_set_at, index, What::Expired)));
            for (user, snoozed) in known.snoozed.iter().enumerate() {
                due.extend(snoozed.map(|(until, at)| (until, at, index, What::Woken(user))));
            }
        }
        due.retain(|(when, ..)| *when <= now);
        due
    }

    fn chosen(&mut self, which: Index, is_meant: impl Fn(&Known) -> bool) -> Option<&mut Known> {
        let mut meant: Vec<&mut Known> = self.known.iter_mut().filter(|known| is_meant(known)).collect();
        if meant.is_empty() { None } else { Some(meant.swap_remove(which.index(meant.len()))) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Out,
    Expired,
    Woken(usize),
}

impl Step {
    pub async fn take(&self, engine: &Engine, clock: &ManualClock, model: &mut Model) {
        let (now, service) = (clock.now(), Identity::service(Tenant::default()));
        let after = |seconds: &Option<i64>| seconds.map(|seconds| now + SignedDuration::from_secs(seconds));
        let person = |user: usize| Identity::person(Tenant::default(), USERS[user].parse().unwrap());
        match self {
            Self::Publish { deliver, expires } => {
                // Bob has to be known to be one of everybody.
                engine.admit(&person(1)).await.unwrap();
                let (deliver, expires) = (after(deliver), after(expires));
                let sent = draft(&json!({ "deliverAt": deliver, "expiresAt": expires }));
                let published = engine.publish(&service, sent.into()).await;
                if expires.is_some_and(|over| deliver.is_some_and(|out| over <= out)) {
                    assert!(matches!(published, Err(Error::Invalid(_))), "over before it goes out");
                    return;
                }
                let (id, set_at) = (published.unwrap().id, model.next_event());
                let (snoozed, deleted, gone) = ([None; 2], [false; 2], false);
                let expiry_set_at = set_at;
                model.known.push(Known {
                    id,
                    deliver,
                    expires,
                    set_at,
                    expiry_set_at,
                    snoozed,
                    deleted,
                    gone,
                });
            }
            Self::Update { which, expires } => {
                let set_at = model.next_event();
                let Some(known) = model.chosen(*which, |known| !known.gone && known.deliver.is_none()) else {
                    return;
                };
                let revision = Revision { expires_at: after(expires), ..Revision::default() };
                engine.update(&service, known.id, revision).await.unwrap();
                (known.expires, known.expiry_set_at) = (after(expires), set_at);
            }
            Self::Retract { which } => {
                let Some(known) = model.chosen(*which, |known| !known.gone) else { return };
                engine.retract(&service, known.id).await.unwrap();
                known.gone = true;
            }
            Self::Snooze { user, which, until } => {
                let at = model.next_event();
                let is_theirs =
                    |known: &Known| !known.gone && known.deliver.is_none() && !known.deleted[*user];
                let Some(known) = model.chosen(*which, is_theirs) else { return };
                let until = now + SignedDuration::from_secs(*until);
                engine.snooze(&person(*user), &[known.id], until).await.unwrap();
                known.snoozed[*user] = Some((until, at));
            }
            Self::Wake { user, which } => {
                let Some(known) = model.chosen(*which, |known| !known.gone && known.snoozed[*user].is_some())
                else {
                    return;
                };
                engine.wake(&person(*user), &[known.id]).await.unwrap();
                known.snoozed[*user] = None;
            }
            Self::Delete { user, which } => {
                let is_theirs =
                    |known: &Known| !known.gone && known.deliver.is_none() && !known.deleted[*user];
                let Some(known) = model.chosen(*which, is_theirs) else { return };
                let mark = tidings_engine::event::Mark::Deleted;
                engine.mark(&person(*user), mark, &[known.id]).await.unwrap();
                (known.deleted[*user], known.snoozed[*user]) = (true, None);
            }
            Self::Clock(seconds) => {
                clock.set(now + SignedDuration::from_secs(*seconds));
                model.pass(clock.now());
            }
            Self::Restart => {}
        }
    }
}
