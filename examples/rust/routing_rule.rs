//! The smallest plugin: what is urgent also goes to whoever is on call.

use std::sync::Arc;

use tidings_engine::plugin::{Plugin, RoutingRule};
use tidings_engine::{Audience, Channel, Draft, Engine, Identity, Options, Position, Role, Tenant, UserId};

struct OnCall(Channel);

impl Plugin for OnCall {
    fn name(&self) -> &str {
        "on-call"
    }

    fn routing_rule(&self) -> Option<&dyn RoutingRule> {
        Some(self)
    }
}

impl RoutingRule for OnCall {
    fn route(&self, _: &Tenant, draft: &Draft, _: &Audience) -> Result<Audience, String> {
        let urgent = draft.priority.as_str() == "urgent";
        Ok(if urgent { Audience::of_channels([self.0.clone()]) } else { Audience::default() })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let mut options = Options::new(data.path());
    options.plugins = vec![Arc::new(OnCall(Channel::new("role:ON-CALL")?))];
    let engine = Engine::start(options).await?;

    let mut bob = Identity::person(Tenant::default(), UserId::new("bob")?);
    bob.roles = vec![Role::new("ON-CALL")?];
    engine.admit(&bob).await?;
    let mut alarm = Draft::new("alarm".parse()?, Audience::of_users([UserId::new("ada")?]));
    alarm.priority = "urgent".parse()?;
    engine.publish(&Identity::service(Tenant::default()), alarm.into()).await?;
    println!("bob, who is on call, has {} unread", engine.counts(&bob, Position(0)).await?.unread);
    engine.shutdown().await;
    Ok(())
}
