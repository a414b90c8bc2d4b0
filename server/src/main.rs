//! The binary `tidings`: serves, and is the command line of those who run and try it.
//!
//! Reads the settings, wires the parts together, runs them and shuts them down. Knows every part; none knows it.

mod asyncapi;
mod backup;
mod check;
mod cli;
mod client;
mod config;
mod demo;
mod duration;
mod explain;
mod inbox;
mod key;
mod logging;
mod open_files;
mod openapi;
mod output;
mod plugins;
mod progress;
mod publish;
mod rebuild;
mod reload;
mod retract;
mod rules;
mod scheduled;
mod secret;
mod serve;
mod snapshot;
mod stats;
mod tail;
mod token;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// The exit code of a server whose disk fails: EX_IOERR of sysexits.h.
const DISK_FAILED: u8 = 74;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(cli));
    // Whatever still blocks must not keep a process alive that has said it is done.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if serve::is_of_the_disk(&error) { ExitCode::from(DISK_FAILED) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    if let Command::Config(command) = cli.command {
        return config::run(&cli.flags, command);
    }
    if let Command::Openapi = cli.command {
        openapi::run();
        return Ok(());
    }
    if let Command::Asyncapi = cli.command {
        asyncapi::run();
        return Ok(());
    }
    let loaded = cli.flags.load(plugins::SETTINGS)?;
    let settings = loaded.settings.clone();
    match cli.command {
        Command::Serve(args) => serve::run(cli.flags, loaded, &args).await,
        Command::Demo => demo::run(settings).await,
        Command::Publish(args) => publish::run(&settings, *args).await,
        Command::Retract(args) => retract::run(&settings, args).await,
        Command::Scheduled(args) => scheduled::run(&settings, args).await,
        Command::Tail(args) => tail::run(&settings, args).await,
        Command::Inbox(args) => inbox::run(&settings, args).await,
        Command::Explain(args) => explain::run(&settings, args).await,
        Command::Stats(args) => stats::run(&settings, args).await,
        Command::Config(_) | Command::Openapi | Command::Asyncapi => Ok(()), // above: they do not need sound settings
        Command::Token(args) => token::run(&settings, args),
        Command::Key { command } => key::run(&settings, command),
        Command::Rebuild(args) => rebuild::run(&settings, args).await,
        Command::Snapshot(args) => snapshot::run(&settings, args).await,
        Command::Check => check::run(&settings).await,
        Command::Backup(args) => backup::back_up(&settings, args).await,
        Command::Restore(args) => backup::restore(&settings, args).await,
    }
}
