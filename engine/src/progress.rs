//! How far long work has come, for whoever waits for it.

/// A step of long work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, as it would be said: `checking events`.
    pub doing: &'static str,
    /// How much of it is done, in units of its own.
    pub done: u64,
    /// Out of how much.
    pub of: u64,
}

/// Takes progress. Called often, on a thread of the work: it must not wait.
pub(crate) type Report<'r> = &'r (dyn Fn(Progress) + Send + Sync);
