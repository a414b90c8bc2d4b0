//! How many files the process may have open, each connection being one: as many as the settings allow, if the system does.

use std::num::NonZeroU32;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: the log, the views, what is being refused, the runtime's own.
const OTHERS: u64 = 512;

/// Lets the process have so many connections open. The usual soft limit of 1,024 is for programs that use `select`.
pub(crate) fn allow_for(connections: NonZeroU32) {
    let wanted = u64::from(connections.get()) + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = maximum.map_or(wanted, |most| most.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    let open_files = if raised.is_ok() { Some(allowed) } else { current };
    if open_files.is_some_and(|most| most < wanted) {
        tracing::warn!(
            ?open_files,
            wanted,
            "fewer connections can be open than limits.connections says (ulimit -n)"
        );
    }
}
