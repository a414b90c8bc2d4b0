//! Storms: all connections are dropped at once and come back with their cursors, while publishing goes on.

use anyhow::Result;

use super::Scenario;
use crate::cli;
use crate::outcome::Storm;

impl Scenario<'_> {
    pub(super) fn storms(&mut self, options: &cli::Storm) -> Result<()> {
        let publishing = &options.traffic.publishing;
        let (duration, publishes) = (publishing.duration, publishing.publishes);
        self.begin_publishing(&["broadcast"], publishing);
        self.warm_up(publishing)?;
        self.measure("before the storm", &["broadcast"], duration, publishes, Some(publishing))?;
        for number in 1..=options.storms {
            self.storm(number, options)?;
            let name = format!("after storm {number}");
            self.measure(&name, &["broadcast"], duration, publishes, Some(publishing))?;
        }
        Ok(())
    }

    fn storm(&mut self, number: u32, options: &cli::Storm) -> Result<()> {
        let connections = self.common.connections;
        self.say(format!("storm {number}: dropping {connections} connections"));
        let from = self.begin_phase(&["broadcast"], None)?;
        self.run.drop_all();
        self.pass(options.away)?;
        self.run.tally.caught_up.clear();
        let back = self.run.moment()?;
        // As all want to come back at once, all count from here, and come as fast as the server takes them.
        self.run.open(0..connections, 0, Some(back.at));
        self.all_are_live(0..connections)?;
        self.end_phase(&format!("storm {number}"), from)?;
        let live = self.run.moment()?;
        self.storms.push(Storm {
            at_seconds: from.at as f64 / 1e9,
            connections,
            caught_up_micros: self.run.tally.caught_up.times(),
            seconds: (live.at - back.at) as f64 / 1e9,
            published_meanwhile: live.accepted - from.accepted,
            server_cpu_seconds: live
                .server
                .zip(from.server)
                .map(|(now, before)| (now.cpu.saturating_sub(before.cpu)).as_secs_f64()),
        });
        Ok(())
    }
}
