//! `tidings rebuild`: the inbox view anew from the log, with progress.

use tidings_config::Settings;
use tidings_engine::Progress;

use crate::output::say;
use crate::progress::Bar;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let bar = Bar::new()?;
    let shown = bar.clone();
    let begun = std::time::Instant::now();
    let head = tidings_engine::rebuild(&settings.data_dir, move |position, head| {
        shown.show(Progress { doing: "rebuilding the inbox view", done: position.0, of: head.0 });
    })
    .await;
    bar.clear();
    say(format_args!(
        "rebuilt the inbox view from {} events in {:.1} s",
        head?,
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}
