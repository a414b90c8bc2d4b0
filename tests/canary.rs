//! Nothing of one tenant is in a byte that another receives: two tenants, with the same names for everything and with some
//! of their own, do everything there is, in an order as chance has it, over every transport; what each writes carries its own
//! marks, and every byte that the other receives is searched for them.
//!
//! `TIDINGS_SEED` takes the seed that a failure names, `TIDINGS_CANARY_STEPS` how long it goes on.

mod asks;
mod party;
mod routes;
mod wire;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::disk::Chance;
use crate::load::number;
use crate::world::World;

use asks::Who;
use party::Party;

/// Limits that the run does not meet: it is faster than people are.
const UNHURRIED: &str =
    "[limits]\ncommands = { count = 100_000, seconds = 1 }\nrequests = { count = 100_000, seconds = 1 }\n";
const STEPS: u64 = 1_500;

async fn step(party: &mut Party, other: &Party, done: &mut BTreeSet<String>, chance: &mut Chance) {
    party.count += 1;
    match chance.below(20) {
        0 => party.connect(&other.known, chance).await,
        1 => party.stream(&other.known, chance).await,
        2 | 3 => party.intrude(other.name, chance).await,
        4..=9 => done.extend(party.command(&other.known, chance).await),
        _ => {
            let mut asks = asks::requests(party, &other.known, chance);
            let ask = asks.swap_remove(chance.below(asks.len()));
            party.send(&ask).await;
        }
    }
}

/// Each request once, in their order, so that none is left to chance.
async fn everything_once(party: &mut Party, other: &Party, chance: &mut Chance) {
    for _ in 0..8 {
        let ask = asks::requests(party, &other.known, chance).swap_remove(0);
        party.send(&ask).await;
        party.count += 1;
    }
    let those = asks::requests(party, &other.known, chance).len();
    for number in 0..those {
        let ask = asks::requests(party, &other.known, chance).swap_remove(number);
        party.send(&ask).await;
        party.count += 1;
    }
    party.connect(&other.known, chance).await;
    party.stream(&other.known, chance).await;
}

/// What needs no token, and the demo, which gives tokens of a third tenant to anybody: for what is of this one alone.
async fn demo(party: &Party, others_id: &str) -> BTreeSet<routes::Route> {
    let document = party.world.http.get(party.world.url("/openapi.json")).send().await.unwrap();
    let declared = routes::declared(&document.json().await.unwrap());
    let plain = |path: &str| !path.contains("/v1/") && !path.contains('{');
    for (_, path) in declared.iter().filter(|(method, path)| method == "GET" && plain(path)) {
        party.world.http.get(party.world.url(path)).send().await.unwrap().bytes().await.unwrap();
    }
    let url = party.world.url("/demo/token");
    let given = party.world.http.post(url).json(&json!({ "who": "service" })).send().await.unwrap();
    let given: serde_json::Value = given.json().await.unwrap();
    let token = given["token"].as_str().unwrap();
    let note = json!({ "type": "note", "audience": { "users": ["ada"] } });
    let published = party.world.post("/v1/notifications", token, note).await;
    for (id, status) in [(published["id"].as_str().unwrap(), 200), (others_id, 404)] {
        let path = format!("/demo/notifications/{id}/deliveries");
        let response = party.world.request(Method::GET, &path, token).send().await.unwrap();
        assert_eq!(response.status(), status, "{}", response.text().await.unwrap());
    }
    declared
}

/// What a party was never told, of all kinds of messages there are.
fn untold(party: &Party) -> Vec<&'static str> {
    let heard = party.wire.heard();
    let kinds = [
        "notification",
        "updated",
        "retracted",
        "counts",
        "read",
        "joined",
        "left",
        "answer",
        "error",
        "caughtUp",
    ];
    kinds.into_iter().filter(|kind| !heard.contains(&format!("{{\"type\":\"{kind}\""))).collect()
}

fn nothing_of_the_other(party: &Party, other: &Party) {
    let (said, heard) = (party.wire.said(), party.wire.heard());
    for mark in [other.name, other.text] {
        assert!(!said.contains(mark), "the test itself says {mark} as {}", party.name);
        let around = heard.split_once(mark).map(|(before, after)| {
            let before: String =
                before.chars().rev().take(400).collect::<Vec<_>>().into_iter().rev().collect();
            format!("{before}{mark}{}", after.chars().take(200).collect::<String>())
        });
        assert!(around.is_none(), "{} heard {mark}: {}", party.name, around.unwrap_or_default());
    }
    for id in other.known.ids.iter().filter(|id| !said.contains(*id)) {
        assert!(!heard.contains(id), "{} heard of {id}", party.name);
    }
    let intruded = party.intruders_wire.heard();
    assert!(intruded.contains("HTTP/1.1 200") && party.intruders_wire.said().contains(other.name));
    assert!(!intruded.contains(other.text), "{} found what {} wrote by its name", party.name, other.name);
    // And it did hear its own.
    for mark in [party.name, party.text] {
        assert!(heard.matches(mark).count() > 1_000, "{mark}: {}", heard.matches(mark).count());
    }
    let untold = untold(party);
    assert!(untold.is_empty(), "{} never was told {untold:?}", party.name);
    println!(
        "{}: {} KiB heard, with {} marks",
        party.name,
        heard.len() >> 10,
        heard.matches(party.text).count()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_that_a_tenant_receives_is_of_another() {
    let seed = number("TIDINGS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let steps = number("TIDINGS_CANARY_STEPS").unwrap_or(STEPS);
    println!("TIDINGS_SEED={seed} TIDINGS_CANARY_STEPS={steps}");
    let mut chance = Chance(seed);
    let mut server = World::prepared(UNHURRIED);
    let written = server.directory.path().join("errors");
    let mut command = server.serve();
    command.arg("--demo").env("LOG_LEVEL", "debug").stderr(std::fs::File::create(&written).unwrap());
    server.resume_with(command).await;
    let mut amber = Party::new("qamber", "xamber", &server).await;
    let mut cobalt = Party::new("qcobalt", "xcobalt", &server).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await; // until the server has looked at the keys

    let mut done = BTreeSet::new();
    everything_once(&mut amber, &cobalt, &mut chance).await;
    everything_once(&mut cobalt, &amber, &mut chance).await;
    for _ in 0..steps {
        let (party, other) = if chance.coin() { (&mut amber, &cobalt) } else { (&mut cobalt, &amber) };
        step(party, other, &mut done, &mut chance).await;
    }
    let refused = amber.devices[0].ask(json!({ "type": "none" })).await;
    let (_, commands) =
        refused["problem"]["errors"][0]["detail"].as_str().unwrap().split_once("one of ").unwrap();
    let commands: BTreeSet<String> = commands.split(", ").map(str::to_owned).collect();
    // Chance may have left something out; and on a slow machine, what is changed is often gone already.
    for _ in 0..20 {
        if done == commands && untold(&amber).is_empty() && untold(&cobalt).is_empty() {
            break;
        }
        for _ in 0..steps / 10 {
            let (party, other) = if chance.coin() { (&mut amber, &cobalt) } else { (&mut cobalt, &amber) };
            step(party, other, &mut done, &mut chance).await;
        }
    }
    let declared = demo(&amber, cobalt.known.ids.last().unwrap()).await;
    demo(&cobalt, amber.known.ids.last().unwrap()).await;
    amber.settle().await;
    cobalt.settle().await;
    nothing_of_the_other(&amber, &cobalt);
    nothing_of_the_other(&cobalt, &amber);

    // Every route and every command was there: one that is new has to be added above.
    let metrics =
        amber.world.request(Method::GET, "/metrics", &amber.token(Who::Service)).send().await.unwrap();
    let answered = routes::answered(&metrics.text().await.unwrap());
    assert!(declared.len() > 40, "{declared:?}");
    let missing: Vec<_> = declared.difference(&answered).collect();
    assert!(missing.is_empty(), "never answered well: {missing:?}");
    assert_eq!(done, commands, "commands that were carried out");

    let log = std::fs::read_to_string(&written).unwrap();
    assert!(log.len() > 1_000, "there is a log");
    for mark in [amber.text, cobalt.text] {
        assert!(!log.contains(mark), "what is published is not in the server's log: {mark}");
    }
}
