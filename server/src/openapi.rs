//! `tidings openapi`: the document of the HTTP API, as a server without the demo serves it.

use tidings_http::openapi::Document;

use crate::output::say;
use crate::serve::transports;

pub(crate) fn run() {
    let document = Document::of(&transports(None));
    say(String::from_utf8_lossy(document.text()).trim_end());
}
