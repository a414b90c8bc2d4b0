//! Plugins: what others add to the engine. One of its three extension points.
//!
//! A plugin depends on this crate alone. For now it may bring a routing rule; what a rule decides is in the event, so a
//! replay never asks it.

use crate::audience::Audience;
use crate::draft::Draft;
use crate::names::Tenant;

/// Something that is added to the engine, under a name.
pub trait Plugin: Send + Sync + 'static {
    /// Its name, as in the configuration: `kebab-case`.
    fn name(&self) -> &str;

    /// Its routing rule, if it has one.
    fn routing_rule(&self) -> Option<&dyn RoutingRule> {
        None
    }
}

/// Decides for whom a notification is.
///
/// Rules are asked in the order of the plugins, before anything is written. A rule is quick and never blocks: every
/// publish waits for it.
pub trait RoutingRule: Send + Sync {
    /// The audience that the notification should have beside the one it `has` so far, which is the publisher's and what
    /// earlier rules added. Nobody is taken out.
    ///
    /// # Errors
    /// What is wrong; the publish is refused with it.
    fn route(&self, tenant: &Tenant, draft: &Draft, has: &Audience) -> Result<Audience, String>;
}
