//! What NATS costs: how fast the server takes from a stream, beside a consumer that only acknowledges; how long a publish on NATS takes to a
//! WebSocket, beside a round trip of NATS and an fsync; and what a flood of poison costs the good ones.
//!
//! `cargo build --release && cargo run --release -p tidings-benches --bin nats [ingest|latency|poison] [ROUNDS]`
//!
//! It starts a nats-server of its own. The server has the first core; broker and measurer share the second, so that what they do takes nothing
//! from the server. Each round measures both in turn; ratios are of a round, and the median counts.

#[path = "nats/broker.rs"]
mod broker;
#[path = "nats/ingest.rs"]
mod ingest;
#[path = "nats/latency.rs"]
mod latency;
mod server;

use anyhow::{Result, bail, ensure};
use server::stay_on_core;
use tidings_benches::comparison::median;
use tokio::runtime::Runtime;

const SERVERS_CORE: &str = "0";
const OTHERS_CORE: &str = "1";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let what = arguments.next_if(|text| text.parse::<usize>().is_err());
    let rounds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    if what.as_deref() == Some("acknowledge") {
        return Runtime::new()?.block_on(ingest::acknowledge(u16::try_from(rounds)?)); // what is measured beside
    }
    ensure!(std::thread::available_parallelism()?.get() > 1, "this takes two cores");
    stay_on_core(OTHERS_CORE)?;
    Runtime::new()?.block_on(async {
        match what.as_deref() {
            None => {
                ingest::against_a_consumer(rounds).await?;
                latency::measure(rounds).await?;
                ingest::with_poison(rounds).await
            }
            Some("ingest") => ingest::against_a_consumer(rounds).await,
            Some("latency") => latency::measure(rounds).await,
            Some("poison") => ingest::with_poison(rounds).await,
            Some(other) => bail!("expected ingest, latency or poison, got {other}"),
        }
    })
}

/// The median of ratios, and their range.
fn said(ratios: Vec<f64>) -> (f64, String) {
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
    (median(ratios), format!("{least:.2} to {most:.2}"))
}
