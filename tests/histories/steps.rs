//! The steps of a history: each is taken by the engine and by the model.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use tidings_engine::command::{MembersChange, Revision, UpTo};
use tidings_engine::event::{Fact, Maker, Mark};
use tidings_engine::{
    Audience, Channel, Draft, Engine, Error, Identity, NotificationId, Position, Role, Tenant, UserId,
};

use super::model::{Model, Publish};

pub const USERS: usize = 4;
const CHANNELS: [&str; 4] = ["topic:a", "topic:b", "role:X", "everyone"];
const ROLES: [&str; 2] = ["X", "Y"];
const KINDS: [&str; 2] = ["one", "two"];

pub fn user(number: usize) -> UserId {
    UserId::new(&format!("user {number}")).unwrap()
}

pub fn channel(number: usize) -> Channel {
    Channel::new(CHANNELS[number]).unwrap()
}

#[derive(Clone, Debug)]
pub enum Step {
    Publish {
        users: BTreeSet<usize>,
        channels: BTreeSet<usize>,
        except: BTreeSet<usize>,
        kind: usize,
        tag: bool,
        collapse: bool,
        inbox: bool,
    },
    Update {
        which: Index,
        tag: bool,
    },
    Retract {
        which: Index,
    },
    Snooze {
        user: usize,
        which: Vec<Index>,
    },
    Wake {
        user: usize,
        which: Vec<Index>,
    },
    Members {
        add: BTreeSet<usize>,
        remove: BTreeSet<usize>,
        channel: usize,
    },
    Join {
        user: usize,
        channel: usize,
        join: bool,
    },
    Admit {
        user: usize,
        roles: BTreeSet<usize>,
        issued_at: i64,
    },
    Read {
        user: usize,
        which: Vec<Index>,
    },
    ReadAll {
        user: usize,
        up_to: Index,
    },
    Seen {
        user: usize,
        up_to: Index,
    },
    Mark {
        user: usize,
        mark: Mark,
        which: Vec<Index>,
    },
    NotTheirs {
        user: usize,
        which: Index,
    },
}

pub fn history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 10..36)
}

fn some(of: usize, most: usize) -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..of, 0..=most)
}

pub fn step() -> impl Strategy<Value = Step> {
    let publish =
        (some(USERS, 2), some(CHANNELS.len(), 3), some(USERS, 1), 0..KINDS.len(), any::<bool>(), 0..16u8)
            .prop_map(|(users, channels, except, kind, tag, chance)| Step::Publish {
                users,
                channels,
                except,
                kind,
                tag,
                collapse: chance % 2 == 0,
                inbox: chance > 1,
            });
    let members = (some(USERS, 3), some(USERS, 2), 0..2usize)
        .prop_map(|(add, remove, channel)| Step::Members { add, remove, channel });
    let join = (0..USERS, 0..2usize, any::<bool>()).prop_map(|(user, channel, join)| Step::Join {
        user,
        channel,
        join,
    });
    let admit = (0..USERS, some(ROLES.len(), 2), 0..6i64).prop_map(|(user, roles, issued_at)| Step::Admit {
        user,
        roles,
        issued_at,
    });
    let which = || prop::collection::vec(any::<Index>(), 1..4);
    let read = (0..USERS, which()).prop_map(|(user, which)| Step::Read { user, which });
    let read_all = (0..USERS, any::<Index>()).prop_map(|(user, up_to)| Step::ReadAll { user, up_to });
    let seen = (0..USERS, any::<Index>()).prop_map(|(user, up_to)| Step::Seen { user, up_to });
    let marks = prop::sample::select(vec![
        Mark::Unread,
        Mark::Archived,
        Mark::Unarchived,
        Mark::Deleted,
        Mark::Pinned,
        Mark::Unpinned,
    ]);
    let mark = (0..USERS, marks, which()).prop_map(|(user, mark, which)| Step::Mark { user, mark, which });
    let update = (any::<Index>(), any::<bool>()).prop_map(|(which, tag)| Step::Update { which, tag });
    let retract = any::<Index>().prop_map(|which| Step::Retract { which });
    let snooze = (0..USERS, which()).prop_map(|(user, which)| Step::Snooze { user, which });
    let wake = (0..USERS, which()).prop_map(|(user, which)| Step::Wake { user, which });
    let not_theirs = (0..USERS, any::<Index>()).prop_map(|(user, which)| Step::NotTheirs { user, which });
    prop_oneof![
        9 => publish,
        3 => members,
        2 => join,
        2 => admit,
        4 => read,
        1 => read_all,
        1 => seen,
        5 => mark,
        2 => update,
        2 => retract,
        3 => snooze,
        2 => wake,
        1 => not_theirs,
    ]
}

fn person(number: usize) -> Identity {
    let mut identity = Identity::person(Tenant::default(), user(number));
    identity.channels = vec!["topic:*".parse().unwrap()];
    identity
}

fn chosen(ids: &[NotificationId], which: &[Index]) -> Vec<NotificationId> {
    which.iter().filter(|_| !ids.is_empty()).map(|index| *index.get(ids)).collect()
}

impl Step {
    pub async fn take(&self, engine: &Engine, model: &mut Model) {
        match self {
            Self::Publish { users, channels, except, kind, tag, collapse, inbox } => {
                let users: BTreeSet<UserId> = users.iter().map(|number| user(*number)).collect();
                let channels: BTreeSet<Channel> = channels.iter().map(|number| channel(*number)).collect();
                let mut except: BTreeSet<UserId> = except.iter().map(|number| user(*number)).collect();
                except.retain(|user| !users.contains(user) && !channels.is_empty());
                let (kind, tag, key) = (KINDS[*kind], tag.then_some("x"), collapse.then_some("the same"));
                publish(engine, model, users, channels, except, kind, tag, key, *inbox).await;
            }
            Self::Update { which, tag } => {
                let [id] = chosen(&model.out, &[*which])[..] else { return };
                let title = format!("after {}", engine.log().head());
                let tag = tag.then_some("x");
                let tags = tag.iter().map(|tag| tag.parse().unwrap()).collect();
                let revision = Revision { title: title.clone(), tags, ..Revision::default() };
                engine.update(&Identity::service(Tenant::default()), id, revision).await.unwrap();
                model.update(id, &title, tag);
            }
            Self::Retract { which } => {
                let service = Identity::service(Tenant::default());
                if let [id] = chosen(&model.retracted, &[*which])[..] {
                    let refused = engine.retract(&service, id).await.unwrap_err();
                    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
                }
                let [id] = chosen(&model.out, &[*which])[..] else { return };
                engine.retract(&service, id).await.unwrap();
                model.retract(id);
            }
            Self::Snooze { user: number, which } => {
                let Some(person_of_model) = model.person_mut(&user(*number)) else { return };
                let ids = chosen(&person_of_model.ids(), which);
                if !ids.is_empty() {
                    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
                    engine.snooze(&person(*number), &ids, until).await.unwrap();
                    person_of_model.snooze(&ids);
                }
            }
            Self::Wake { user: number, which } => {
                let Some(person_of_model) = model.person_mut(&user(*number)) else { return };
                let ids = chosen(&person_of_model.ids(), which);
                if !ids.is_empty() {
                    let done = engine.wake(&person(*number), &ids).await.unwrap();
                    person_of_model.wake(&ids, done.position.0);
                }
            }
            Self::Members { add, remove, channel: number } => {
                let channel = channel(*number);
                let remove: BTreeSet<usize> = remove.difference(add).copied().collect();
                let users = |numbers: &BTreeSet<usize>| numbers.iter().map(|number| user(*number)).collect();
                let change = MembersChange { add: users(add), remove: users(&remove) };
                let service = Identity::service(Tenant::default());
                let changed = engine.change_members(&service, &channel, change).await;
                assert_eq!(changed.is_ok(), !add.is_empty() || !remove.is_empty());
                add.iter().for_each(|number| model.join(&user(*number), &channel, Maker::Service));
                remove.iter().for_each(|number| model.leave(&user(*number), &channel, Maker::Service));
            }
            Self::Join { user: number, channel: which, join } => {
                let (identity, channel) = (person(*number), channel(*which));
                if *join {
                    engine.join(&identity, &channel).await.unwrap();
                    model.join(&user(*number), &channel, Maker::User);
                } else {
                    engine.leave(&identity, &channel).await.unwrap();
                    model.leave(&user(*number), &channel, Maker::User);
                }
            }
            Self::Admit { user: number, roles, issued_at } => {
                let mut identity = person(*number);
                identity.roles = roles.iter().map(|role| Role::new(ROLES[*role]).unwrap()).collect();
                identity.issued_at = Some(*issued_at);
                engine.admit(&identity).await.unwrap();
                let claims = identity.roles.iter().map(Channel::of_role).collect();
                model.admit(&user(*number), &claims, *issued_at);
            }
            Self::Read { user: number, which } => {
                let Some(person_of_model) = model.person_mut(&user(*number)) else {
                    return;
                };
                let ids = chosen(&person_of_model.ids(), which);
                if !ids.is_empty() {
                    engine.read(&person(*number), &ids).await.unwrap();
                    person_of_model.read(&ids);
                }
            }
            Self::ReadAll { user: number, up_to } => {
                let up_to = position(engine, up_to);
                engine.read_all(&person(*number), &UpTo::Position(up_to)).await.unwrap();
                if let Some(person) = model.person_mut(&user(*number)) {
                    person.read_all(up_to.0);
                }
            }
            Self::Seen { user: number, up_to } => {
                let up_to = position(engine, up_to);
                engine.seen(&person(*number), &UpTo::Position(up_to)).await.unwrap();
                if let Some(person) = model.person_mut(&user(*number)) {
                    person.see(up_to.0);
                }
            }
            Self::Mark { user: number, mark, which } => {
                let Some(person_of_model) = model.person_mut(&user(*number)) else {
                    return;
                };
                let ids = chosen(&person_of_model.ids(), which);
                if !ids.is_empty() {
                    let done = engine.mark(&person(*number), *mark, &ids).await.unwrap();
                    person_of_model.mark(*mark, &ids, done.position.0);
                }
            }
            Self::NotTheirs { user: number, which } => {
                let everything = model.all_ids();
                let theirs = model.person(&user(*number)).map(|person| person.ids()).unwrap_or_default();
                let [id] = chosen(&everything, &[*which])[..] else {
                    return;
                };
                if theirs.contains(&id) {
                    return;
                }
                let before = engine.log().head();
                let refused = engine.read(&person(*number), &[id]).await.unwrap_err();
                assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
                assert!(engine.mark(&person(*number), Mark::Deleted, &[id]).await.is_err());
                // What devices have got is recorded whenever it is time for that.
                let mut tail = engine.log().tail(before);
                while tail.position() < engine.log().head() {
                    for event in tail.next().await.unwrap().iter() {
                        assert!(matches!(event.fact, Fact::Progress(_)), "what is refused leaves no event");
                    }
                }
            }
        }
    }
}

fn position(engine: &Engine, index: &Index) -> Position {
    Position(index.index(engine.log().head().0 as usize + 1) as u64)
}

#[allow(clippy::too_many_arguments)]
async fn publish(
    engine: &Engine,
    model: &mut Model,
    users: BTreeSet<UserId>,
    channels: BTreeSet<Channel>,
    except: BTreeSet<UserId>,
    kind: &'static str,
    tag: Option<&'static str>,
    collapse_key: Option<&'static str>,
    inbox: bool,
) {
    let audience = Audience {
        users: users.iter().cloned().collect(),
        channels: channels.iter().cloned().collect(),
        except: except.iter().cloned().collect(),
    };
    let nobody = audience.is_empty();
    let mut draft = Draft::new(kind.parse().unwrap(), audience);
    draft.tags = tag.iter().map(|tag| tag.parse().unwrap()).collect();
    draft.collapse_key = collapse_key.map(|key| key.parse().unwrap());
    draft.inbox = inbox;
    let service = Identity::service(Tenant::default());
    match engine.publish(&service, draft.into()).await {
        Ok(receipt) => {
            let (id, position) = (receipt.id, receipt.position.0);
            let (users, channels, except) = (&users, &channels, &except);
            let publish = Publish { id, position, kind, tag, users, channels, except, collapse_key, inbox };
            model.publish(&publish);
        }
        Err(error) => assert!(nobody && matches!(error, Error::NobodyAddressed), "{error}"),
    }
}
