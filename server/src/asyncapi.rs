//! `tidings asyncapi`: the document of WebSockets and event streams, as a server serves it.

use tidings_http::asyncapi::Document;

use crate::output::say;
use crate::serve::transports;

pub(crate) fn run() {
    let document = Document::of(&transports(None));
    say(String::from_utf8_lossy(document.text()).trim_end());
}
