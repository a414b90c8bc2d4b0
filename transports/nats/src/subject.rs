//! The subjects: where each thing is published, and what a subject says of what came on it.
//!
//! The tenant `default` has the short ones, `tidings.user.ID`; every other has its name in them, `tidings.tenant.shop.user.ID`.

use async_nats::Subject;
use tidings_engine::{Channel, Tenant, UserId};

use crate::token::{escape, unescape};

/// Bytes that a dead letter's subject takes over from its message: the broker reads lines of 4,096, with a prefix and a place for an
/// answer in them. The letter itself says the whole.
const DEAD_BYTES: usize = 256;

/// The subjects below a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    prefix: String,
}

/// What a request about an inbox is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OfInbox<'s> {
    pub(crate) tenant: Tenant,
    pub(crate) user: UserId,
    /// What is asked for.
    pub(crate) verb: &'s str,
}

impl Subjects {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Everything that is published for the stream.
    pub(crate) fn publish(&self) -> String {
        format!("{}.publish.>", self.prefix)
    }

    /// Everything that is put aside.
    pub(crate) fn dead(&self) -> String {
        format!("{}.dead.>", self.prefix)
    }

    /// Everything that is published with an answer.
    pub(crate) fn requests(&self) -> [String; 2] {
        let base = format!("{}.request.publish", self.prefix);
        [format!("{base}.>"), base]
    }

    /// Everything that is asked of inboxes.
    pub(crate) fn inboxes(&self) -> [String; 2] {
        let prefix = &self.prefix;
        [format!("{prefix}.inbox.*.*"), format!("{prefix}.tenant.*.inbox.*.*")]
    }

    /// What a publisher chose of a subject: it says what may be addressed. `None` when it is none to publish on.
    pub(crate) fn published_on<'s>(&self, subject: &'s str) -> Option<&'s str> {
        let rest = subject.strip_prefix(self.prefix.as_str())?;
        let beginnings = [".publish.", ".request.publish."];
        let chosen = beginnings.iter().find_map(|beginning| rest.strip_prefix(beginning));
        chosen.or_else(|| (rest == ".request.publish").then_some(""))
    }

    /// Where that is put aside which came on a subject. NATS itself has accepted it, so it is well formed; but where it is long, the
    /// line that it would be sent with is longer than the broker reads, which ends the connection.
    pub(crate) fn dead_of(&self, subject: &str) -> Subject {
        let chosen = self.published_on(subject).filter(|chosen| chosen.len() <= DEAD_BYTES);
        format!("{}.dead.{}", self.prefix, chosen.unwrap_or("unknown")).into()
    }

    /// Whether an answer may be sent to where a request wants it: not to what the broker itself or we listen to. Whoever asks chooses that
    /// subject, and the answer is sent with what this server may do.
    pub(crate) fn may_answer_on(&self, reply: &str) -> bool {
        let is_ours = reply.strip_prefix(self.prefix.as_str()).is_some_and(|rest| rest.starts_with('.'));
        !reply.starts_with('$') && !is_ours
    }

    /// Where a user's notifications go.
    pub(crate) fn user(&self, tenant: &Tenant, user: &UserId) -> Subject {
        format!("{}.user.{}", self.of(tenant), escape(user.as_str())).into()
    }

    /// Where a channel's notifications go.
    pub(crate) fn channel(&self, tenant: &Tenant, channel: &Channel) -> Subject {
        format!("{}.channel.{}", self.of(tenant), escape(channel.as_str())).into()
    }

    /// Where events go.
    pub(crate) fn log(&self, tenant: &Tenant) -> Subject {
        format!("{}.log", self.of(tenant)).into()
    }

    /// What a subject says of a request about an inbox; what is wrong with it, if something is.
    pub(crate) fn of_inbox<'s>(&self, subject: &'s str) -> Result<OfInbox<'s>, &'static str> {
        let rest = subject.strip_prefix(self.prefix.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let tokens: Vec<&str> = rest.unwrap_or_default().split('.').collect();
        let (tenant, token, verb) = match tokens[..] {
            ["inbox", token, verb] => (Tenant::default(), token, verb),
            ["tenant", tenant, "inbox", token, verb] => {
                let expected = "expected a tenant: 1 to 64 of a-z A-Z 0-9 _ -";
                let tenant = Tenant::new(tenant).map_err(|_| expected)?;
                // Its inboxes have the short subjects only: else what the broker forbids on one is permitted on the other.
                if tenant == Tenant::default() {
                    return Err("expected inbox.ID.VERB for the tenant default");
                }
                (tenant, token, verb)
            }
            _ => return Err("expected inbox.ID.VERB"),
        };
        let user = unescape(token).and_then(|id| UserId::new(&id).ok());
        let expected =
            "expected a user id with every byte but a-z A-Z 0-9 - _ : @ as % and two digits of 0-9 A-F";
        Ok(OfInbox { tenant, user: user.ok_or(expected)?, verb })
    }

    /// What the subjects of a tenant begin with.
    fn of(&self, tenant: &Tenant) -> String {
        if *tenant == Tenant::default() {
            return self.prefix.clone();
        }
        format!("{}.tenant.{}", self.prefix, escape(tenant.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_within_their_token() {
        let subjects = Subjects::new("tidings");
        let (shop, nobody) = (Tenant::new("shop").unwrap(), Tenant::default());
        let user = |id| UserId::new(id).unwrap();
        assert_eq!(subjects.user(&nobody, &user("a.>")).as_str(), "tidings.user.a%2E%3E");
        assert_eq!(subjects.user(&shop, &user("*")).as_str(), "tidings.tenant.shop.user.%2A");
        let channel = Channel::new("topic:orders.eu").unwrap();
        assert_eq!(subjects.channel(&nobody, &channel).as_str(), "tidings.channel.topic:orders%2Eeu");
        assert_eq!(subjects.log(&shop).as_str(), "tidings.tenant.shop.log");
    }

    #[test]
    fn a_request_says_whose_inbox_it_is_about_or_what_is_wrong() {
        let subjects = Subjects::new("a.b");
        let asked = subjects.of_inbox("a.b.inbox.ada@example%2Eorg.counts").unwrap();
        assert_eq!((asked.user.as_str(), asked.verb), ("ada@example.org", "counts"));
        assert_eq!(subjects.of_inbox("a.b.tenant.shop.inbox.ada.list").unwrap().tenant.as_str(), "shop");
        for wrong in [
            "a.b.inbox.%2e.counts",
            "a.b.inbox.%.counts",
            "a.b.inbox.%20.counts",
            "a.b.inbox.%FF.counts",
            "a.b.tenant.%24server.inbox.ada.list",
            "a.b.tenant.default.inbox.ada.list",
            "a.b.inbox.ada",
        ] {
            assert!(subjects.of_inbox(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_publisher_chose_follows_the_words() {
        let subjects = Subjects::new("tidings");
        assert_eq!(subjects.published_on("tidings.publish.shop.a"), Some("shop.a"));
        assert_eq!(subjects.published_on("tidings.request.publish"), Some(""));
        assert_eq!(subjects.published_on("tidings.request.publish.shop"), Some("shop"));
        assert_eq!(subjects.published_on("other.publish.shop"), None);
    }

    #[test]
    fn a_letter_is_put_where_its_message_was_unless_that_is_long() {
        let subjects = Subjects::new("tidings");
        let dead_of = |chosen: &str| subjects.dead_of(&format!("tidings.publish.{chosen}"));
        assert_eq!(dead_of("shop.a").as_str(), "tidings.dead.shop.a");
        assert_eq!(dead_of(&"x".repeat(256)).len(), "tidings.dead.".len() + 256);
        assert_eq!(dead_of(&"x".repeat(257)).as_str(), "tidings.dead.unknown");
        assert_eq!(subjects.dead_of("other.publish.a").as_str(), "tidings.dead.unknown");
    }
}
