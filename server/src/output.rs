//! What a command says on standard output. Whoever read it may have gone (`| head`): that is not an error.

use std::fmt::Display;
use std::io::Write;

/// Says a line.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
