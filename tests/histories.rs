//! Random histories of everything that people and services can do, against a plain model of what each person then has:
//! live, and in a view that is replayed from the log (promises 5, 6, 7 and 8).

pub mod model;
pub mod steps;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidings_engine::check::CheckedView;
use tidings_engine::inbox::{InboxPage, InboxQuery, Replay};
use tidings_engine::{Engine, Identity, Options, Position, Tenant, UserKey};

use model::{Filter, Model};
use steps::{Step, USERS, history, user};

/// Histories in all: four tests share them, so that they run beside each other.
const HISTORIES: u32 = 500;

fn run(steps: Vec<Step>, people_kept: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path().join("data"));
        options.people_kept = Some(people_kept);
        let engine = Engine::start(options).await.unwrap();
        let mut model = Model::default();
        let mut answers = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            step.take(&engine, &mut model).await;
            if number % (steps.len() / 2 + 1) == steps.len() / 3 {
                engine.take_snapshot().await.unwrap();
            }
            answers.push((engine.log().head(), ask_everything(&engine, &model).await));
        }
        replays_the_same(&engine, directory.path(), answers, people_kept).await;
        engine.shutdown().await;
        let checked = tidings_engine::check::check(&directory.path().join("data"), |_| {}).await.unwrap();
        assert_eq!(checked.findings.listed, [], "the view is what a rebuild makes, row for row");
        assert!(matches!(checked.inbox, CheckedView::Compared(_)));
        assert!(checked.snapshots > 0, "what comes of snapshots and the events after them was compared, too");
    });
}

/// What was asked, and the bytes of the answer.
type Answers = BTreeMap<(UserKey, &'static str), String>;

/// Asks for everything there is to ask, compares it with the model, and keeps the answers.
async fn ask_everything(engine: &Engine, model: &Model) -> Answers {
    let mut answers = Answers::new();
    for number in 0..USERS {
        let key = UserKey { tenant: Tenant::default(), user: user(number) };
        let Some(person) = model.person(&key.user) else {
            continue;
        };
        let identity = Identity::person(key.tenant.clone(), key.user.clone());
        for (name, filter) in Filter::all() {
            let page = engine.inbox(&identity, query(&filter), Position(0)).await.unwrap();
            let listed: Vec<String> = page.items.iter().map(model::line).collect();
            assert_eq!(listed, person.list(&filter), "{name} of {}", key.user);
            assert_eq!((page.counts.unread, page.counts.unseen), person.counts(), "counts of {}", key.user);
            answers.insert((key.clone(), name), bytes(&page));
        }
        let by_type = engine.counts_by_type(&identity, Position(0)).await.unwrap().parts;
        assert_eq!(by_type, person.counts_by_type(), "counts by type of {}", key.user);
        answers.insert((key.clone(), "by type"), serde_json::to_string(&by_type).unwrap());
        let by_channel = engine.counts_by_channel(&identity, Position(0)).await.unwrap().parts;
        assert_eq!(by_channel, person.counts_by_channel(&key.user), "counts by channel of {}", key.user);
        answers.insert((key, "by channel"), serde_json::to_string(&by_channel).unwrap());
    }
    answers
}

/// The answers of a view that is replayed from the log are the same bytes, at every step.
async fn replays_the_same(
    engine: &Engine,
    directory: &std::path::Path,
    steps: Vec<(Position, Answers)>,
    people_kept: usize,
) {
    let replay = Replay::begin(&directory.join("replay.db"), engine.log(), people_kept).await.unwrap();
    for (position, answers) in steps {
        replay.advance_to(position).await.unwrap();
        for ((key, name), live) in answers {
            let replayed = match name {
                "by type" => serde_json::to_string(&replay.counts_by_type(key).await.unwrap()).unwrap(),
                "by channel" => serde_json::to_string(&replay.counts_by_channel(key).await.unwrap()).unwrap(),
                _ => {
                    let filter = Filter::all().into_iter().find(|(other, _)| *other == name).unwrap().1;
                    bytes(&replay.inbox(key, query(&filter)).await.unwrap())
                }
            };
            assert_eq!(replayed, live, "{name} at {position}");
        }
    }
}

fn query(filter: &Filter) -> InboxQuery {
    InboxQuery {
        limit: 100,
        unread: filter.unread,
        archived: filter.archived,
        snoozed: filter.snoozed,
        pinned: filter.pinned,
        kind: filter.kind.map(|kind| kind.parse().unwrap()),
        tag: filter.tag.map(|tag| tag.parse().unwrap()),
        channel: filter.channel.map(|channel| channel.parse().unwrap()),
        ..InboxQuery::default()
    }
}

fn bytes(page: &InboxPage) -> String {
    serde_json::to_string(page).unwrap()
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: HISTORIES / 4,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn counts_and_lists_equal_a_plain_model_live_and_replayed(steps in history()) {
        run(steps, 1_000);
    }

    #[test]
    fn counts_and_lists_equal_a_plain_model_while_people_are_forgotten_and_loaded(steps in history()) {
        run(steps, 0);
    }

    #[test]
    fn counts_and_lists_equal_a_plain_model_with_few_in_memory(steps in history()) {
        run(steps, 1);
    }

    #[test]
    fn counts_and_lists_equal_a_plain_model_with_some_in_memory(steps in history()) {
        run(steps, 2);
    }
}
