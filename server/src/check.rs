//! `tidings check`: whether the log is what was written, and the views what follows from it.

use anyhow::bail;
use tidings_config::Settings;
use tidings_engine::check::{CheckedView, check};

use crate::output::say;
use crate::progress::Bar;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let bar = Bar::new()?;
    let shown = bar.clone();
    let checked = check(&settings.data_dir, move |progress| shown.show(progress)).await;
    bar.clear();
    let checked = checked?;
    for finding in &checked.findings.listed {
        say(finding);
    }
    if checked.findings.more > 0 {
        say(format_args!("… and {} more", checked.findings.more));
    }
    say(format_args!("checked {} events", checked.events));
    if checked.without_checksum > 0 {
        say(format_args!("{} of them are from before there were checksums", checked.without_checksum));
    }
    if checked.erased > 0 {
        say(format_args!("the content of {} notifications is not there: it was erased", checked.erased));
    }
    say_of_view("inbox", &checked.inbox);
    match checked.snapshots {
        0 => {}
        1 => say("compared what came of 1 snapshot, too"),
        count => say(format_args!("compared what came of {count} snapshots, too")),
    }
    say_of_view("delivery", &checked.deliveries);
    match checked.findings.count() {
        0 => Ok(()),
        1 => bail!("there is 1 finding; docs/operation.md says what to do"),
        count => bail!("there are {count} findings; docs/operation.md says what to do"),
    }
}

fn say_of_view(name: &str, checked: &CheckedView) {
    say(match checked {
        CheckedView::Compared(position) => {
            format!("compared the {name} view with a rebuild, up to {position}")
        }
        CheckedView::ToBeBuilt => {
            format!("there is no {name} view of this version and log: the next start builds it")
        }
        CheckedView::Unreadable => format!("the {name} view was not compared, as it cannot be read"),
        CheckedView::LogUnreadable => {
            format!("the {name} view was not compared, as the log cannot be read to its end")
        }
    });
}
