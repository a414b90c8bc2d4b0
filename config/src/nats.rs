//! The settings of NATS: where the broker is and how one is known to it, what is taken from it and for whom, and what goes out.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use crate::Findings;

/// Bytes of a prefix, and of a stream's or a consumer's name, at most: they are part of every subject.
const NAME_BYTES_MOST: usize = 64;
/// Messages that are handed out and not acknowledged: from what keeps a commit busy to what a redelivery can stand.
const IN_FLIGHT: std::ops::RangeInclusive<u32> = 1..=100_000;
/// Requests that are worked on at once: each holds a message in memory.
const REQUESTS: std::ops::RangeInclusive<u32> = 1..=10_000;
/// Bytes of the stream at least: room for some messages of the largest size.
const STREAM_BYTES_LEAST: u64 = 16 << 20;
/// Copies of a stream that NATS can keep.
const REPLICAS: std::ops::RangeInclusive<u32> = 1..=5;

/// Where the broker is, and what is done there.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NatsSettings {
    /// The servers, with commas between them. Without it, nothing is done with NATS.
    pub url: Option<String>,
    /// A credentials file: a JWT and the seed of its key.
    pub credentials_file: Option<PathBuf>,
    /// A file with the seed of an NKey.
    pub nkey_file: Option<PathBuf>,
    /// A user's name.
    pub user: Option<String>,
    /// And the password.
    pub password: Option<String>,
    /// A token.
    pub token_secret: Option<String>,
    /// Whether a connection without TLS is refused.
    pub tls: bool,
    /// A PEM file with the certificates that are trusted, in place of the system's.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with the certificate that is shown to the broker.
    pub tls_certificate: Option<PathBuf>,
    /// And with its key.
    pub tls_key: Option<PathBuf>,
    /// The first token of every subject.
    pub prefix: String,
    /// Whether what is published to the broker's stream is taken from it.
    pub ingest: bool,
    /// The stream that keeps what is published until it is in the log.
    pub stream: String,
    /// The durable consumer that servers share.
    pub consumer: String,
    /// Copies of the streams that are made.
    pub replicas: NonZeroU32,
    /// Bytes of the stream that is made; when it is full, publishers are told so.
    pub stream_bytes: u64,
    /// Messages that are handed out and not acknowledged.
    pub in_flight: NonZeroU32,
    /// Requests that are worked on at once.
    pub requests: NonZeroU32,
    /// What goes out for downstream services.
    pub out: Vec<NatsOut>,
    /// Which subject may address whom.
    pub subjects: Vec<SubjectRule>,
    /// Whose inboxes are answered for.
    pub inboxes: Vec<InboxRule>,
}

/// What goes out for downstream services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatsOut {
    /// What is addressed to a user by name.
    Users,
    /// What is addressed to a channel.
    Channels,
    /// Every event.
    Log,
}

/// What comes on such subjects is published for this tenant, to these.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SubjectRule {
    /// What follows `tidings.publish.`, with the wildcards of NATS.
    pub subject: String,
    /// The application.
    pub tenant: String,
    /// Patterns of channels, `user:ID` being a user; without any, everybody of the tenant.
    pub audience: Vec<String>,
}

impl Default for SubjectRule {
    fn default() -> Self {
        Self { subject: ">".to_owned(), tenant: "default".to_owned(), audience: Vec::new() }
    }
}

/// Requests about the inboxes of these users are answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct InboxRule {
    /// The application.
    pub tenant: String,
    /// Their ids; `*` at the end is any text.
    pub users: Vec<String>,
    /// What may be asked for.
    pub allow: Vec<InboxAction>,
}

impl Default for InboxRule {
    fn default() -> Self {
        let (tenant, users) = ("default".to_owned(), vec!["*".to_owned()]);
        Self { tenant, users, allow: vec![InboxAction::Read] }
    }
}

/// What is done with an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InboxAction {
    /// Pages, single notifications and counts.
    Read,
    /// What a person does with their notifications.
    Write,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: None,
            credentials_file: None,
            nkey_file: None,
            user: None,
            password: None,
            token_secret: None,
            tls: false,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            prefix: "tidings".to_owned(),
            ingest: true,
            stream: "TIDINGS".to_owned(),
            consumer: "tidings".to_owned(),
            replicas: NonZeroU32::MIN,
            stream_bytes: 1 << 30,
            in_flight: const { NonZeroU32::new(2_000).unwrap() },
            requests: const { NonZeroU32::new(200).unwrap() },
            out: Vec::new(),
            subjects: Vec::new(),
            inboxes: Vec::new(),
        }
    }
}

/// Never shows a password or a token.
impl std::fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsSettings")
            .field("url", &self.url)
            .field("prefix", &self.prefix)
            .field("stream", &self.stream)
            .field("consumer", &self.consumer)
            .field("subjects", &self.subjects)
            .field("inboxes", &self.inboxes)
            .finish_non_exhaustive()
    }
}

impl NatsSettings {
    /// Each of the broker's servers.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.url.iter().flat_map(|url| url.split(',')).map(str::trim)
    }

    pub(crate) fn check(&self, findings: &mut Findings) {
        if self.servers().any(|server| !is_server(server)) {
            // It may hold a password, and is not repeated.
            let expected = "expected nats://HOST:PORT or tls://HOST:PORT, or several with commas between them, without a \
                user or a password in it, which are nats.user and nats.password";
            findings.wrong("nats.url", expected);
        }
        self.check_login(findings);
        for (key, name) in
            [("nats.prefix", &self.prefix), ("nats.stream", &self.stream), ("nats.consumer", &self.consumer)]
        {
            // As NATS takes it in the names of streams and consumers; a prefix may have several tokens.
            let parts = || name.split('.').all(is_plain);
            let is_sound = name.len() <= NAME_BYTES_MOST
                && if key == "nats.prefix" { parts() && !name.starts_with('$') } else { is_plain(name) };
            if !is_sound {
                findings
                    .wrong(key, format!("expected 1 to {NAME_BYTES_MOST} of a-z A-Z 0-9 _ -, got {name:?}"));
            }
        }
        for (key, value, range) in [
            ("nats.in-flight", self.in_flight, IN_FLIGHT),
            ("nats.requests", self.requests, REQUESTS),
            ("nats.replicas", self.replicas, REPLICAS),
        ] {
            if !range.contains(&value.get()) {
                findings.wrong(key, format!("expected {} to {}, got {value}", range.start(), range.end()));
            }
        }
        if !(STREAM_BYTES_LEAST..=i64::MAX as u64).contains(&self.stream_bytes) {
            let expected = format!("expected at least {STREAM_BYTES_LEAST} bytes, got {}", self.stream_bytes);
            findings.wrong("nats.stream-bytes", expected);
        }
        self.check_tables(findings);
    }

    /// One is known to a broker by one thing.
    fn check_login(&self, findings: &mut Findings) {
        let given = [
            ("nats.credentials-file", self.credentials_file.is_some()),
            ("nats.nkey-file", self.nkey_file.is_some()),
            ("nats.user", self.user.is_some()),
            ("nats.token-secret", self.token_secret.is_some()),
        ];
        let mut given = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            findings.wrong(second, format!("expected none beside {first}: a broker takes one of them"));
        }
        match (&self.user, &self.password) {
            (Some(_), None) => findings.wrong("nats.user", "expected nats.password beside it"),
            (None, Some(_)) => findings.wrong("nats.password", "expected nats.user beside it"),
            _ => {}
        }
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => {
                findings
                    .wrong("nats.tls-certificate", "expected nats.tls-key, the file of its key, beside it");
            }
            (None, Some(_)) => {
                let expected = "expected nats.tls-certificate, the file of its certificate, beside it";
                findings.wrong("nats.tls-key", expected);
            }
            _ => {}
        }
    }

    fn check_tables(&self, findings: &mut Findings) {
        for (index, rule) in self.subjects.iter().enumerate() {
            if !is_subject_pattern(&rule.subject) {
                let expected =
                    "expected what follows `publish.` in a subject, such as shop.> or shop.*.orders";
                findings.wrong(
                    format!("nats.subjects[{index}].subject"),
                    format!("{expected}, got {:?}", rule.subject),
                );
            }
            check_tenant(findings, format!("nats.subjects[{index}].tenant"), &rule.tenant);
            for pattern in rule.audience.iter().filter(|pattern| !is_channel_pattern(pattern)) {
                let expected = "expected channels, or a kind and the beginning of a name followed by *, such as topic:* or user:*";
                findings.wrong(
                    format!("nats.subjects[{index}].audience"),
                    format!("{expected}, got {pattern:?}"),
                );
            }
        }
        for (index, rule) in self.inboxes.iter().enumerate() {
            check_tenant(findings, format!("nats.inboxes[{index}].tenant"), &rule.tenant);
            if rule.users.is_empty() || rule.users.iter().any(String::is_empty) {
                let expected = "expected ids of users, or beginnings of them followed by *, such as [\"*\"]";
                findings.wrong(format!("nats.inboxes[{index}].users"), expected);
            }
            if rule.allow.is_empty() {
                findings
                    .wrong(format!("nats.inboxes[{index}].allow"), "expected \"read\", \"write\" or both");
            }
        }
    }
}

fn check_tenant(findings: &mut Findings, key: String, tenant: &str) {
    if tenant.len() > NAME_BYTES_MOST || !is_plain(tenant) {
        findings.wrong(key, format!("expected a tenant: 1 to 64 of a-z A-Z 0-9 _ -, got {tenant:?}"));
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Whether a text names a server and nothing secret.
fn is_server(text: &str) -> bool {
    let rest = text
        .split_once("://")
        .map_or(Some(text), |(scheme, rest)| ["nats", "tls"].contains(&scheme).then_some(rest));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
    })
}

/// Whether a text is tokens and wildcards as NATS has them in a subscription.
fn is_subject_pattern(text: &str) -> bool {
    let count = text.split('.').count();
    text.len() <= 256
        && text.split('.').enumerate().all(|(place, token)| match token {
            ">" => place + 1 == count,
            "*" => true,
            token => {
                !token.is_empty()
                    && token.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte))
            }
        })
}

/// Whether a text is a channel, or the beginning of one followed by `*`, as the engine reads it.
fn is_channel_pattern(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    let is_open = name.len() < text.len();
    let Some((kind, rest)) = name.split_once(':') else { return text == "everyone" };
    is_plain(kind)
        && (is_open || !rest.is_empty())
        && text.len() <= 160
        && !rest.chars().any(|c| c.is_control() || (kind != "user" && (c.is_whitespace() || c == '*')))
}
