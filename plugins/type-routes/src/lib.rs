//! A routing rule: a table of notification types and the channels they go to, for publishers that name nobody.
//!
//! ```
//! use tidings_engine::plugin::Plugin;
//! use tidings_engine::{Audience, Draft, Tenant};
//! use tidings_type_routes::{Settings, TypeRoutes};
//!
//! let settings: Settings = serde_json::from_str(r#"{"booking.*": ["role:PROFESSIONAL"]}"#)?;
//! let plugin = TypeRoutes::new(settings);
//! let draft: Draft = serde_json::from_str(r#"{"type": "booking.created"}"#)?;
//! let rule = plugin.routing_rule().expect("it has one");
//! let audience = rule.route(&Tenant::default(), &draft, &Audience::default()).expect("it never fails");
//! assert_eq!(audience.channels[0].as_str(), "role:PROFESSIONAL");
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use tidings_engine::plugin::{Plugin, RoutingRule};
use tidings_engine::{Audience, Channel, Draft, NotificationType, Tenant};

/// The plugin's name.
pub const NAME: &str = "type-routes";

/// Which types go to which channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<TypePattern, Vec<Channel>>);

/// A type, or the beginning of one followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TypePattern(String);

impl TypePattern {
    fn matches(&self, kind: &NotificationType) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => kind.as_str().starts_with(beginning),
            None => kind.as_str() == self.0,
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TypePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let beginning = text.strip_suffix('*').unwrap_or(&text);
        // A beginning is the beginning of a type; `*` alone is that of every type.
        if (beginning.is_empty() && !text.is_empty()) || NotificationType::new(beginning).is_ok() {
            return Ok(Self(text));
        }
        let expected = "expected a type, or the beginning of one followed by *, such as booking.*";
        Err(serde::de::Error::custom(format!("{expected}, got {text:?}")))
    }
}

/// The plugin.
pub struct TypeRoutes {
    settings: Settings,
}

impl TypeRoutes {
    /// The plugin with its settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Plugin for TypeRoutes {
    fn name(&self) -> &str {
        NAME
    }

    fn routing_rule(&self) -> Option<&dyn RoutingRule> {
        Some(self)
    }
}

impl RoutingRule for TypeRoutes {
    fn route(&self, _: &Tenant, draft: &Draft, has: &Audience) -> Result<Audience, String> {
        if !has.is_empty() {
            return Ok(Audience::default()); // the publisher, or an earlier rule, knows better
        }
        let routes = self.settings.0.iter().filter(|(pattern, _)| pattern.matches(&draft.kind));
        Ok(Audience::of_channels(routes.flat_map(|(_, channels)| channels.iter().cloned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(settings: &str, draft: &str) -> Vec<String> {
        let plugin = TypeRoutes::new(serde_json::from_str(settings).unwrap());
        let draft: Draft = serde_json::from_str(draft).unwrap();
        let routed = plugin.route(&Tenant::default(), &draft, &draft.audience).unwrap();
        routed.channels.iter().map(Channel::to_string).collect()
    }

    #[test]
    fn every_pattern_that_matches_adds_its_channels() {
        let settings =
            r#"{"booking.*": ["role:P"], "booking.created": ["role:ADMIN"], "review.*": ["role:X"]}"#;
        assert_eq!(route(settings, r#"{"type": "booking.created"}"#), ["role:P", "role:ADMIN"]);
        assert_eq!(route(settings, r#"{"type": "other"}"#), Vec::<String>::new());
        assert_eq!(route(r#"{"*": ["everyone"]}"#, r#"{"type": "other"}"#), ["everyone"]);
    }

    #[test]
    fn a_publisher_who_names_somebody_is_not_overruled() {
        let draft = r#"{"type": "booking.created", "audience": {"users": ["ada"]}}"#;
        assert_eq!(route(r#"{"booking.*": ["role:P"]}"#, draft), Vec::<String>::new());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for bad in
            [r#"{"": ["everyone"]}"#, r#"{"a b": ["everyone"]}"#, r#"{"a": ["nowhere"]}"#, r#"{"a*b": []}"#]
        {
            assert!(serde_json::from_str::<Settings>(bad).is_err(), "{bad}");
        }
    }
}
