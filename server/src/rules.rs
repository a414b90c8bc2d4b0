//! The rules of channels: from the settings to what the engine decides by.

use anyhow::Context;
use tidings_config::{ChannelAction, ChannelRule, Settings};
use tidings_engine::access::{Action, Rule, Rules};

/// The rules of the settings.
pub(crate) fn rules(settings: &Settings) -> anyhow::Result<Rules> {
    let rules = settings.channels.iter().enumerate();
    rules
        .map(|(index, of)| rule(of).with_context(|| format!("the setting channels[{index}] cannot be used")))
        .collect()
}

fn rule(settings: &ChannelRule) -> anyhow::Result<Rule> {
    let pattern = settings.pattern.parse();
    let pattern = pattern.with_context(|| format!("pattern: got {}", settings.pattern))?;
    let allow = settings.allow.iter().map(|action| match action {
        ChannelAction::Join => Action::Join,
        ChannelAction::Watch => Action::Watch,
        ChannelAction::Read => Action::Read,
        ChannelAction::Publish => Action::Publish,
    });
    let to = settings.to.iter().map(|text| text.parse().with_context(|| format!("for: got {text}")));
    Ok(Rule { pattern, allow: allow.collect(), to: to.collect::<anyhow::Result<_>>()? })
}
