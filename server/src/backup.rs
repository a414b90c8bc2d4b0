//! `tidings backup` and `tidings restore`: the log into a file, while a server runs or not, and back.

use anyhow::bail;
use tidings_config::Settings;
use tidings_engine::backup::{self, BackupError};

use crate::cli::{BackupArgs, RestoreArgs};
use crate::output::say;
use crate::progress::Bar;

pub(crate) async fn back_up(settings: &Settings, args: BackupArgs) -> anyhow::Result<()> {
    let bar = Bar::new()?;
    let shown = bar.clone();
    let head = backup::backup(&settings.data_dir, &args.path, move |progress| shown.show(progress)).await;
    bar.clear();
    say(format_args!("backed up {} events to {}", head?, args.path.display()));
    say(
        "the secret and the keys of services are not in it: keep copies of your secret, or of the one in the data directory, and of keys.json elsewhere",
    );
    Ok(())
}

pub(crate) async fn restore(settings: &Settings, args: RestoreArgs) -> anyhow::Result<()> {
    let bar = Bar::new()?;
    let (shown, data) = (bar.clone(), &settings.data_dir);
    let restored =
        backup::restore(&args.backup, data, args.replace, move |progress| shown.show(progress)).await;
    bar.clear();
    match restored {
        Ok(head) => say(format_args!(
            "restored {head} events to {}; devices that had seen more will be reset, and the views built anew where needed",
            data.display()
        )),
        Err(BackupError::NotEmpty { path }) => {
            bail!("there is a log in {} already; --replace keeps it as log.replaced.db", path.display())
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
