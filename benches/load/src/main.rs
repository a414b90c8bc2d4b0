//! `tidings-load`: measures a Tidings server as those who use it see it, and checks what it delivers.
//!
//! One thread opens the connections, publishes and reads; it says when it was itself what was slow. It knows the server only by
//! its protocol, and never changes anything there but by publishing to users of its own.

mod check;
mod cli;
mod device;
mod http;
mod ledger;
mod loopback;
mod machine;
mod message;
mod outcome;
mod pace;
mod publisher;
mod report;
mod run;
mod sample;
mod scenario;
mod seen;
mod server;
mod sse;
mod target;
mod text;
mod tokens;
mod wire;
mod ws;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use cli::{Cli, Format};
use outcome::Outcome;

/// It was measured, and something that was received was wrong.
const WRONG: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match measure(&cli) {
        Ok(outcome) if outcome.checks.is_sound() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(WRONG),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Result<Outcome> {
    let options = cli.command.common();
    if let Some(file) = &options.report {
        std::fs::write(file, "").with_context(|| cannot_write(file))?; // better said now than after a long run
    }
    let outcome = scenario::run(&cli.command)?;
    let shown = match options.format {
        Format::Text => text::table(&outcome),
        Format::Json => serde_json::to_string_pretty(&outcome)? + "\n",
    };
    std::io::stdout().write_all(shown.as_bytes())?;
    if let Some(file) = &options.report {
        std::fs::write(file, report::page(&outcome)).with_context(|| cannot_write(file))?;
        eprintln!("the report is in {}", file.display());
    }
    Ok(outcome)
}

fn cannot_write(file: &Path) -> String {
    format!("the report cannot be written to {}", file.display())
}
