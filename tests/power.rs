//! Accepted is durable, and idempotent, when the power fails: SIGKILL under load, and then everything is gone that no
//! fsync had made durable (promises 1, 7 and 9).
//!
//! Ten rounds. `TIDINGS_POWER_ROUNDS=100 cargo test -p tidings-tests -- power --nocapture` makes a hundred;
//! `TIDINGS_SEED` takes the seed that a failure names.

use std::time::Duration;

use crate::disk::{Chance, Disk, Undone};
use crate::load::{Load, number};
use crate::world::World;

const ROUNDS: u64 = 10;

/// Every third time nothing is left of what was not synced; else some of it, in no order.
fn lose_power(disk: &Disk, chance: &mut Chance) -> Undone {
    if chance.below(3) == 0 { disk.lose_power(None) } else { disk.lose_power(Some(chance)) }
}

/// One round: load, a kill at some moment, and the power failure.
async fn fail(world: &mut World, disk: &Disk, load: &mut Load, chance: &mut Chance) -> Undone {
    let running = load.begin(world).await;
    tokio::time::sleep(Duration::from_millis(chance.below(500) as u64)).await;
    world.kill().await;
    load.end(running).await;
    let mut undone = lose_power(disk, chance);
    if chance.coin() {
        // Once more, while it starts.
        let patience = Duration::from_millis(chance.below(150) as u64);
        let _ = tokio::time::timeout(patience, world.resume()).await;
        world.kill().await;
        world.released();
        undone += lose_power(disk, chance);
    }
    undone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost_and_no_key_publishes_twice_when_the_power_fails() {
    let rounds = number("TIDINGS_POWER_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("TIDINGS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("TIDINGS_SEED={seed} TIDINGS_POWER_ROUNDS={rounds}");
    let mut chance = Chance(seed);
    let (mut world, disk) = Disk::world("", true).await;
    let (mut load, mut undone) = (Load::new(), Undone::default());
    for _ in 0..rounds {
        undone += fail(&mut world, &disk, &mut load, &mut chance).await;
        world.resume().await;
        load.check(&world).await;
    }
    let answered = load.answered();
    println!("{rounds} power failures, {answered} answered, {undone:?}");
    load.retry(&world).await;
    world.kill().await;
    world.resume().await;
    load.check(&world).await;
    assert!(answered as u64 > rounds * 6, "there was load: {answered} answered");
    assert!(undone.of_log > 0 && undone.of_views > 0, "there was something to lose: {undone:?}");
}
