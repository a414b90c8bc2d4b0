//! The operator's rules: who may join, watch and read which channels, and publish to them, beside what a token says by
//! itself. Rules only permit; what none permits is refused.

use std::str::FromStr;

use super::template::Template;
use super::{Identity, Scope};
use crate::names::{Channel, NameError, Role};

/// What somebody does with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Become a member, and cease to be one, by oneself.
    Join,
    /// See it live.
    Watch,
    /// See who is online in it, and who its members are.
    Read,
    /// Publish to it; to a user: to `user:ID`.
    Publish,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Join, Self::Watch, Self::Read, Self::Publish];

    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Watch => "watch",
            Self::Read => "read",
            Self::Publish => "publish",
        }
    }
}

impl FromStr for Action {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let expected = "an action: join, watch, read or publish";
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(NameError { expected })
    }
}

/// For whom a rule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody whose token names a user.
    Users,
    /// Everybody whose token names none.
    Services,
    /// Those whose token has a role.
    Role(Role),
    /// Those whose token has a scope.
    Scope(Scope),
}

impl Who {
    fn is(&self, identity: &Identity) -> bool {
        match self {
            Self::Users => identity.user.is_some(),
            Self::Services => identity.user.is_none(),
            Self::Role(role) => identity.roles.contains(role),
            Self::Scope(scope) => identity.has(*scope),
        }
    }
}

impl FromStr for Who {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let expected = "somebody: users, services, role:NAME, scope:publish or scope:admin";
        match (text, text.split_once(':')) {
            ("users", _) => Ok(Self::Users),
            ("services", _) => Ok(Self::Services),
            (_, Some(("role", role))) => Ok(Self::Role(Role::new(role)?)),
            (_, Some(("scope", "publish"))) => Ok(Self::Scope(Scope::Publish)),
            (_, Some(("scope", "admin"))) => Ok(Self::Scope(Scope::Admin)),
            _ => Err(NameError { expected }),
        }
    }
}

/// A rule: whoever is one of these may do this with channels like that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which channels.
    pub pattern: Template,
    /// What is permitted.
    pub allow: Vec<Action>,
    /// To whom.
    pub to: Vec<Who>,
}

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Rules {
    /// Whether a rule permits something.
    pub(super) fn permit(&self, identity: &Identity, action: Action, channel: &Channel) -> bool {
        self.of(identity, action).any(|rule| rule.pattern.matches(identity, channel))
    }

    /// Whether there is a channel with which somebody may be permitted to do something.
    pub(super) fn speak_of(&self, identity: &Identity, action: Action) -> bool {
        self.of(identity, action).next().is_some()
    }

    /// The claims that the rules look at: an identity has to bring them.
    #[must_use]
    pub fn claims(&self) -> Vec<String> {
        let mut claims: Vec<String> =
            self.0.iter().flat_map(|rule| rule.pattern.claims().map(str::to_owned)).collect();
        claims.sort_unstable();
        claims.dedup();
        claims
    }

    fn of(&self, identity: &Identity, action: Action) -> impl Iterator<Item = &Rule> {
        let is_for =
            move |rule: &&Rule| rule.allow.contains(&action) && rule.to.iter().any(|who| who.is(identity));
        self.0.iter().filter(is_for)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::names::{Tenant, UserId};

    /// Part of a pattern: text, or what stands for something.
    #[derive(Clone, Debug)]
    enum Piece {
        Text(String),
        Star,
        User,
        Tenant,
        Claim(usize),
    }

    impl Piece {
        fn text(&self) -> String {
            match self {
                Self::Text(text) => text.clone(),
                Self::Star => "*".to_owned(),
                Self::User => "{user}".to_owned(),
                Self::Tenant => "{tenant}".to_owned(),
                Self::Claim(number) => format!("{{claim.c{number}}}"),
            }
        }

        /// Each text that it may stand for in front of `rest`.
        fn beginnings(&self, rest: &str, identity: &Identity) -> Vec<String> {
            match self {
                Self::Text(text) => vec![text.clone()],
                Self::Star => (0..=rest.len()).filter_map(|end| rest.get(..end)).map(str::to_owned).collect(),
                Self::User => identity.user.iter().map(ToString::to_string).collect(),
                Self::Tenant => vec![identity.tenant.to_string()],
                Self::Claim(number) => {
                    identity.claims.get(&format!("c{number}")).cloned().unwrap_or_default()
                }
            }
        }
    }

    /// The plain way: everything that each piece may stand for, tried in turn.
    fn is_of(pieces: &[Piece], rest: &str, identity: &Identity) -> bool {
        let Some((first, others)) = pieces.split_first() else { return rest.is_empty() };
        let beginnings = first.beginnings(rest, identity).into_iter();
        let mut after = beginnings.filter(|text| matches!(first, Piece::Star) || !text.is_empty());
        after.any(|text| rest.strip_prefix(text.as_str()).is_some_and(|rest| is_of(others, rest, identity)))
    }

    fn word() -> impl Strategy<Value = String> {
        "[ab]{1,2}"
    }

    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            3 => word().prop_map(Piece::Text),
            2 => Just(Piece::Star),
            1 => Just(Piece::User),
            1 => Just(Piece::Tenant),
            2 => (0..3_usize).prop_map(Piece::Claim),
        ]
    }

    #[derive(Clone, Debug)]
    struct Case {
        rules: Vec<(Vec<Piece>, Vec<Action>, Vec<Who>)>,
        identity: Identity,
        name: String,
    }

    fn rule() -> impl Strategy<Value = (Vec<Piece>, Vec<Action>, Vec<Who>)> {
        let actions = prop::sample::subsequence(Action::ALL.to_vec(), 1..=4);
        let role = |name: &str| Who::Role(Role::new(name).unwrap());
        let everybody = vec![
            Who::Users,
            Who::Services,
            role("A"),
            role("B"),
            Who::Scope(Scope::Publish),
            Who::Scope(Scope::Admin),
        ];
        (prop::collection::vec(piece(), 1..5), actions, prop::sample::subsequence(everybody, 1..=2))
    }

    fn case() -> impl Strategy<Value = Case> {
        let claims = prop::collection::vec(prop::collection::vec("[ab]{0,2}", 0..3), 3);
        let identity = (
            prop::option::of(word()),
            word(),
            claims,
            prop::sample::subsequence(vec!["A", "B"], 0..=2),
            any::<(bool, bool)>(),
        );
        let identity = identity.prop_map(|(user, tenant, claims, roles, (publish, admin))| {
            let mut identity = Identity::service(Tenant::new(&tenant).unwrap());
            identity.user = user.map(|user| UserId::new(&user).unwrap());
            let named = claims.into_iter().enumerate().map(|(number, values)| (format!("c{number}"), values));
            identity.claims = named.collect::<BTreeMap<_, _>>();
            identity.roles = roles.into_iter().map(|role| Role::new(role).unwrap()).collect();
            identity.scopes = crate::access::Scopes { publish, admin, ..Default::default() };
            identity
        });
        (prop::collection::vec(rule(), 0..4), identity, "[ab]{1,6}")
            .prop_map(|(rules, identity, name)| Case { rules, identity, name })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn rules_permit_what_the_plain_way_permits(case in case()) {
            let Case { rules, identity, name } = case;
            let channel = Channel::new(&format!("k:{name}")).unwrap();
            let made: Rules = rules
                .iter()
                .map(|(pieces, allow, to)| {
                    let text: String = pieces.iter().map(Piece::text).collect();
                    Rule { pattern: format!("k:{text}").parse().unwrap(), allow: allow.clone(), to: to.clone() }
                })
                .collect();
            for action in Action::ALL {
                let expected = rules.iter().any(|(pieces, allow, to)| {
                    let is_meant = to.iter().any(|who| match who {
                        Who::Users => identity.user.is_some(),
                        Who::Services => identity.user.is_none(),
                        Who::Role(role) => identity.roles.iter().any(|own| own == role),
                        Who::Scope(Scope::Publish) => identity.scopes.publish,
                        Who::Scope(Scope::Admin) => identity.scopes.admin,
                        Who::Scope(Scope::Metrics | Scope::Operator) => false, // there is no word for it in a rule
                    });
                    allow.contains(&action) && is_meant && is_of(pieces, &name, &identity)
                });
                prop_assert_eq!(made.permit(&identity, action, &channel), expected, "{:?}", action);
            }
        }
    }
}
