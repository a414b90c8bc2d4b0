//! The tables of the configuration: what a subject may address, and whose inboxes are answered for. They make the identity that the
//! engine decides by; nothing is decided here about what it may do.

use std::sync::Arc;

use tidings_config::{InboxAction, InboxRule, NatsSettings, SubjectRule};
use tidings_engine::access::Scopes;
use tidings_engine::{Error, Identity, NameError, Tenant};

use crate::subject::OfInbox;

/// A table that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the setting {key} cannot be used: {error}")]
pub struct TableError {
    /// Which setting.
    pub key: String,
    /// What was expected.
    pub error: NameError,
}

/// Who speaks on which subjects.
pub(crate) struct Table {
    rows: Vec<Row>,
    inboxes: Vec<Inboxes>,
}

struct Row {
    pattern: Vec<String>,
    identity: Arc<Identity>,
}

struct Inboxes {
    tenant: Tenant,
    users: Vec<String>,
    allow: Vec<InboxAction>,
}

impl Table {
    /// The tables of the settings. Without rows every subject may address everybody of the tenant `default`.
    pub(crate) fn new(settings: &NatsSettings) -> Result<Self, TableError> {
        let all = [SubjectRule::default()];
        let rules = if settings.subjects.is_empty() { &all[..] } else { &settings.subjects };
        let rows = rules.iter().enumerate().map(|(index, rule)| Row::new(index, rule));
        let inboxes = settings.inboxes.iter().enumerate().map(|(index, rule)| Inboxes::new(index, rule));
        Ok(Self { rows: rows.collect::<Result<_, _>>()?, inboxes: inboxes.collect::<Result<_, _>>()? })
    }

    /// Who speaks on a subject, and which row says so; by what follows `publish.` in it.
    pub(crate) fn speaker(&self, chosen: &str) -> Result<(usize, &Arc<Identity>), Error> {
        let row = self.rows.iter().enumerate().find(|(_, row)| matches(&row.pattern, chosen));
        let needs = "a subject that the table nats.subjects of the configuration has";
        row.map(|(index, row)| (index, &row.identity)).ok_or(Error::Forbidden { needs: needs.to_owned() })
    }

    /// The person whose inbox is asked for, if that may be.
    pub(crate) fn person(&self, asked: &OfInbox<'_>, action: InboxAction) -> Result<Identity, Error> {
        let may = |rule: &Inboxes| {
            rule.tenant == asked.tenant
                && rule.allow.contains(&action)
                && rule.users.iter().any(|pattern| is_of(pattern, asked.user.as_str()))
        };
        if self.inboxes.iter().any(may) {
            return Ok(Identity::person(asked.tenant.clone(), asked.user.clone()));
        }
        let needs = "an entry of the table nats.inboxes in the configuration that allows it";
        Err(Error::Forbidden { needs: needs.to_owned() })
    }

    /// Whether anybody's inbox is answered for.
    pub(crate) fn has_inboxes(&self) -> bool {
        !self.inboxes.is_empty()
    }
}

impl Row {
    fn new(index: usize, rule: &SubjectRule) -> Result<Self, TableError> {
        let wrong = |name: &str| {
            let key = format!("nats.subjects[{index}].{name}");
            move |error| TableError { key, error }
        };
        let tenant = Tenant::new(&rule.tenant).map_err(wrong("tenant"))?;
        let audience = rule.audience.iter().map(|pattern| pattern.parse());
        let publish_to = audience.collect::<Result<Vec<_>, _>>().map_err(wrong("audience"))?;
        let scopes = Scopes { publish: publish_to.is_empty(), ..Scopes::default() };
        let identity = Identity { scopes, publish_to, ..Identity::service(tenant) };
        Ok(Self {
            pattern: rule.subject.split('.').map(str::to_owned).collect(),
            identity: Arc::new(identity),
        })
    }
}

impl Inboxes {
    fn new(index: usize, rule: &InboxRule) -> Result<Self, TableError> {
        let wrong = |error| TableError { key: format!("nats.inboxes[{index}].tenant"), error };
        let tenant = Tenant::new(&rule.tenant).map_err(wrong)?;
        Ok(Self { tenant, users: rule.users.clone(), allow: rule.allow.clone() })
    }
}

fn is_of(pattern: &str, user: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == user, |beginning| user.starts_with(beginning))
}

/// Whether a subject has the form of a pattern, as NATS compares them; here `>` stands for nothing, too.
fn matches(pattern: &[String], chosen: &str) -> bool {
    let mut tokens = chosen.split('.').filter(|token| !token.is_empty());
    for wanted in pattern {
        match (wanted.as_str(), tokens.next()) {
            (">", _) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use tidings_engine::UserId;

    use super::*;

    fn rule(subject: &str, tenant: &str, audience: &[&str]) -> SubjectRule {
        let audience = audience.iter().map(|pattern| (*pattern).to_owned()).collect();
        SubjectRule { subject: subject.to_owned(), tenant: tenant.to_owned(), audience }
    }

    fn table(subjects: Vec<SubjectRule>, inboxes: Vec<InboxRule>) -> Table {
        Table::new(&NatsSettings { subjects, inboxes, ..NatsSettings::default() }).unwrap()
    }

    #[test]
    fn the_first_row_that_fits_says_who_speaks() {
        let table =
            table(vec![rule("shop.*.urgent", "shop", &[]), rule("shop.>", "shop", &["topic:*"])], vec![]);
        let (first, identity) = table.speaker("shop.eu.urgent").unwrap();
        assert_eq!((first, identity.tenant.as_str(), identity.scopes.publish), (0, "shop", true));
        let (second, identity) = table.speaker("shop.eu").unwrap();
        assert_eq!((second, identity.scopes.publish), (1, false));
        for none in ["", "shops.x", "other"] {
            assert!(table.speaker(none).is_err(), "{none}");
        }
    }

    #[test]
    fn without_rows_everything_is_of_the_default_tenant() {
        let table = table(vec![], vec![]);
        for subject in ["", "a", "a.b.c"] {
            assert_eq!(table.speaker(subject).unwrap().1.tenant, Tenant::default());
        }
        assert!(!table.has_inboxes());
    }

    #[test]
    fn nobody_s_inbox_is_answered_for_but_those_that_are_listed() {
        let rule = InboxRule { users: vec!["svc-*".to_owned()], ..InboxRule::default() };
        let table = table(vec![], vec![rule]);
        let asked = |tenant: &str, user: &str| OfInbox {
            tenant: Tenant::new(tenant).unwrap(),
            user: UserId::new(user).unwrap(),
            verb: "list",
        };
        assert!(table.person(&asked("default", "svc-1"), InboxAction::Read).is_ok());
        assert!(table.person(&asked("default", "svc-1"), InboxAction::Write).is_err());
        assert!(table.person(&asked("default", "ada"), InboxAction::Read).is_err());
        assert!(table.person(&asked("shop", "svc-1"), InboxAction::Read).is_err());
    }
}
