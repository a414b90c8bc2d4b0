//! How far long work has come, as a bar on a terminal; nothing is shown where there is none.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use tidings_engine::Progress;

/// A bar that follows work of several parts.
#[derive(Clone)]
pub(crate) struct Bar(Arc<ProgressBar>);

impl Bar {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let bar = ProgressBar::new(0);
        let template = "{msg:34} {bar:30} {percent:>3} %  {pos}/{len}  {per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template)?);
        Ok(Self(Arc::new(bar)))
    }

    pub(crate) fn show(&self, progress: Progress) {
        self.show_as(progress.doing, progress.done, progress.of);
    }

    pub(crate) fn show_as(&self, doing: &str, done: u64, of: u64) {
        if self.0.message() != doing {
            self.0.set_message(doing.to_owned());
            self.0.reset();
        }
        self.0.set_length(of);
        self.0.set_position(done);
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
