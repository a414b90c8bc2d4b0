//! What is wrong with the settings: all of it, each with its place, its key and what was expected.

use std::fmt;
use std::path::PathBuf;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is not set.
    Default,
    /// A place in the file. Line and column count from 1, the column in characters.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// Which column.
        column: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// The key, as in `token.keys[0].kid`; empty when what is there is no TOML.
    pub key: String,
    /// What is wrong, and what was expected.
    pub what: String,
    /// The key or value that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source != Source::Default {
            write!(f, "{}: ", self.source)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Everything that is not as expected.
    #[error("{}", listed(.0))]
    Wrong(Vec<Problem>),
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    let count = match problems.len() {
        1 => "one thing".to_owned(),
        count => format!("{count} things"),
    };
    format!(
        "{count} in the configuration {} not as expected{}",
        if problems.len() == 1 { "is" } else { "are" },
        lines.concat()
    )
}

/// Gathers what the sections say about their values.
#[derive(Debug, Default)]
pub struct Findings {
    pub(crate) wrong: Vec<(String, String)>,
}

impl Findings {
    /// A value is not as expected: its key, as in `log.level` or `token.keys[0].kid`, and what was expected and came.
    pub fn wrong(&mut self, key: impl Into<String>, expected: impl Into<String>) {
        self.wrong.push((key.into(), expected.into()));
    }
}
