//! The page at `/`, the browser client at `/tidings.js` and the reference at `/reference`, embedded in the binary and mounted on HTTP.
//!
//! The files are served as they lie here, under the same paths: there is no build step. They may load nothing from
//! elsewhere. With a [`Demo`], whoever opens the page on this machine gets tokens of the tenant `demo`; without one the
//! server hands out none, and the page asks for tokens that somebody made.

mod demo;
mod files;
mod reference;

use tidings_http::{Api, Routes};

pub use demo::{Demo, NotLocal, TENANT};

/// The page and the browser client, to be mounted on HTTP.
#[derive(Default)]
pub struct Web {
    demo: Option<Demo>,
}

impl Web {
    /// With tokens for whoever opens the page.
    #[must_use]
    pub fn with_demo(mut self, demo: Option<Demo>) -> Self {
        self.demo = demo;
        self
    }
}

impl Routes for Web {
    fn api(&self) -> Api {
        let files = files::api(self.demo.is_some()).and(reference::api());
        match &self.demo {
            Some(demo) => files.and(demo.api()),
            None => files,
        }
    }
}
