//! `tidings rebuild`: the inbox view anew from the log, with progress.

use indicatif::{ProgressBar, ProgressStyle};
use tidings_config::Settings;

use crate::output::say;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let bar = ProgressBar::new(0);
    let style =
        ProgressStyle::with_template("{bar:40} {percent:>3} %  {pos}/{len} events  {per_sec}  {eta} left")?;
    bar.set_style(style);
    let progress = bar.clone();
    let begun = std::time::Instant::now();
    let head = tidings_engine::rebuild(&settings.data_dir, move |position, head| {
        progress.set_length(head.0);
        progress.set_position(position.0);
    })
    .await?;
    bar.finish_and_clear();
    say(format_args!("rebuilt the inbox view from {head} events in {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}
