//! The settings of channels: who may do what with which, beside what tokens say.

use serde::Deserialize;

use crate::Findings;

/// A rule: whoever is one of these may do this with channels like that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ChannelRule {
    /// Which channels: `*` is any text, `{user}`, `{tenant}` and `{claim.NAME}` are what the token says.
    pub pattern: String,
    /// What is permitted.
    pub allow: Vec<ChannelAction>,
    /// To whom: `users`, `services`, `role:NAME`, `scope:publish`, `scope:admin`.
    #[serde(rename = "for")]
    pub to: Vec<String>,
}

/// What is done with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelAction {
    /// Becoming a member, and ceasing to be one, by oneself.
    Join,
    /// Seeing it live.
    Watch,
    /// Seeing who is in it.
    Read,
    /// Publishing to it.
    Publish,
}

/// What is wrong with the rules, if anything is.
pub(crate) fn check(rules: &[ChannelRule], findings: &mut Findings) {
    for (index, rule) in rules.iter().enumerate() {
        let missing = [
            ("pattern", rule.pattern.is_empty()),
            ("allow", rule.allow.is_empty()),
            ("for", rule.to.is_empty()),
        ];
        for (name, _) in missing.iter().filter(|(_, missing)| *missing) {
            findings.wrong(format!("channels[{index}]"), format!("expected a key {name} in it, not empty"));
        }
    }
}
