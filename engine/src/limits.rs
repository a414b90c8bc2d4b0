//! Every bound on what comes from outside, in one place, each with the reason for its size.
//!
//! Bounds of queues and caches inside the engine stand beside what they bound.

/// Users one publish may name. More people than this are a channel.
pub const USERS_PER_PUBLISH: usize = 10_000;
/// Channels one publish may address: each distinct set of channels is a stream of its own for every member.
pub const CHANNELS_PER_PUBLISH: usize = 32;
/// Users a publish to channels may leave out: they are listed in the event.
pub const EXCEPTIONS_PER_PUBLISH: usize = 1_000;
/// Notifications in one batch: what one group commit takes.
pub const NOTIFICATIONS_PER_BATCH: usize = 1_000;
/// Bytes of a title: one line on a phone, generously.
pub const TITLE_BYTES: usize = 512;
/// Bytes of a body: a page of text.
pub const BODY_BYTES: usize = 16 * 1024;
/// Bytes of `data` as JSON: a notification carries references, not documents.
pub const DATA_BYTES: usize = 32 * 1024;
/// Bytes of an action's URL: what browsers accept.
pub const URL_BYTES: usize = 2_048;
/// Bytes of an action's text: a button.
pub const ACTION_TEXT_BYTES: usize = 128;
/// Tags of a notification.
pub const TAGS_PER_NOTIFICATION: usize = 16;
/// How deep JSON from outside may nest: far below what a recursive parser needs to be safe.
pub const JSON_DEPTH: usize = 32;
/// Notifications one command may name.
pub const NOTIFICATIONS_PER_COMMAND: usize = 1_000;
/// Days ahead that a notification may be scheduled or put off: a year.
pub const SCHEDULED_DAYS: i64 = 366;
/// Days that a notification with an end may last: ten years. One that has none lasts as long as the log.
pub const EXPIRES_DAYS: i64 = 3_660;
/// Notifications of a tenant that may be waiting to go out: each is an event in the log and a row in the view.
pub const SCHEDULED_PER_TENANT: usize = 100_000;
/// Users one membership command may name.
pub const USERS_PER_MEMBERSHIP: usize = 10_000;
/// Channels a token's roles may make its holder a member of.
pub const ROLES_PER_TOKEN: usize = 64;
/// Patterns of channels that a token may permit.
pub const PATTERNS_PER_TOKEN: usize = 256;
/// Items of a page of an inbox or a list of members when the request names no limit.
pub const PAGE_DEFAULT: usize = 20;
/// Items of a page at most.
pub const PAGE_MOST: usize = 100;
/// Members of a channel on one page at most: they are only names.
pub const MEMBERS_PAGE_MOST: usize = 1_000;
/// Notifications a filtered page looks at before it is handed out short, with a cursor to go on from.
pub const SCANNED_PER_PAGE: usize = 5_000;
/// Bytes of the disk that are kept free when nothing else is said: what the log and the views need to write what was
/// accepted, and to fold their WALs, several times over.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// Events after which a snapshot is taken when nothing else is said: a rebuild from there takes some seconds.
pub const SNAPSHOT_EVENTS: u64 = 1_000_000;
/// Channels one connection may watch.
pub const WATCHES_PER_SUBSCRIBER: usize = 64;
/// Positions that a device that comes back may have missed at most; beyond that it loads its inbox.
pub const MISSED_MOST: usize = 10_000;
/// The same, when a client does not say.
pub const MISSED_DEFAULT: usize = 1_000;
