//! `tidings config`: what is wrong with the configuration, what is set and by what, and what a setting is for. Shows no
//! secrets.

use std::fmt::Write;

use anyhow::bail;
use tidings_config::documentation::{Setting, expected, is_secret, nearest_to, setting, settings};
use tidings_config::{Loaded, Source, without_secrets};

use crate::cli::{ConfigCommand, Flags};
use crate::output::say;
use crate::plugins;

pub(crate) fn run(flags: &Flags, command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check { file } => {
            let file = file.as_deref().or_else(|| flags.config());
            let loaded = flags.load_file(file, plugins::SETTINGS)?;
            loaded.warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
            say(match file {
                Some(file) => format!("{} is as expected", file.display()),
                None => "there is no file; the environment and the flags are as expected".to_owned(),
            });
        }
        ConfigCommand::Print => say(printed(&flags.load(plugins::SETTINGS)?).trim_end()),
        ConfigCommand::Explain { key: None } => settings().iter().for_each(|setting| say(summary(setting))),
        ConfigCommand::Explain { key: Some(key) } => {
            let Some(setting) = setting(&key) else {
                match nearest_to(&key) {
                    Some(nearest) => bail!("there is no setting {key}; did you mean {nearest}?"),
                    None => bail!("there is no setting {key}; `tidings config explain` lists all"),
                }
            };
            // What a setting means can be said whatever is wrong with the configuration.
            let loaded = flags.load(plugins::SETTINGS);
            say(explained(setting, loaded.as_ref().ok()));
            if let Err(error) = loaded {
                say(format_args!("What it is now cannot be said: {error}"));
            }
        }
    }
    Ok(())
}

/// All settings as TOML, in the order of the documented file, each with its source.
fn printed(loaded: &Loaded) -> String {
    let mut text = String::new();
    let shown: Vec<&Setting> = settings().iter().filter(|setting| !setting.within).collect();
    // What is in no section comes first: after a section's name it would be in that. Each section is named once.
    let mut sections: Vec<&str> = vec![""];
    for (of, _) in shown.iter().map(|setting| setting.section_and_name()) {
        if !sections.contains(&of) {
            sections.push(of);
        }
    }
    for section in sections {
        if !section.is_empty() {
            let _ = writeln!(text, "\n[{section}]");
        }
        for setting in shown.iter().filter(|setting| setting.section_and_name().0 == section) {
            let (value, source) = loaded.value(&setting.key);
            let line = match value {
                None => format!("# {} is not set", setting.key),
                Some(_) if is_secret(&setting.key) => {
                    format!("# {} is set, and not shown  # {source}", setting.key)
                }
                Some(value) => {
                    let (_, name) = setting.section_and_name();
                    format!("{name} = {}  # {source}", without_secrets(&setting.key, value))
                }
            };
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// Everything that is said of a setting.
fn explained(setting: &Setting, loaded: Option<&Loaded>) -> String {
    let mut text = format!("{}\n\n{}\n\n", setting.key, indented(&setting.meaning));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<10}{value}\n"));
    if setting.within {
        line("example", setting.example.clone().unwrap_or_default());
        return text;
    }
    line("takes", expected(&setting.key));
    match (&setting.default, &setting.example) {
        (Some(default), _) => line("default", default.clone()),
        (None, Some(example)) => line("default", format!("none; for example {example}")),
        (None, None) => line("default", "none".to_owned()),
    }
    if let Some(loaded) = loaded {
        line(
            "now",
            match loaded.value(&setting.key) {
                (None, _) => "not set".to_owned(),
                (Some(_), source) if is_secret(&setting.key) => format!("set, and not shown, by {source}"),
                (Some(value), Source::Default) => format!("{value}, the default"),
                (Some(value), source) => format!("{}, from {source}", without_secrets(&setting.key, value)),
            },
        );
    }
    line("variable", setting.variables.join(" or "));
    let own = setting.flag.iter().map(|flag| format!("{flag} VALUE or "));
    line("flag", format!("{}--set {}=VALUE", own.collect::<String>(), setting.key));
    line(
        "reload",
        if setting.reloads { "changes it" } else { "does not change it: it takes a restart" }.to_owned(),
    );
    text.trim_end().to_owned()
}

fn summary(setting: &Setting) -> String {
    let meaning = setting.meaning.replace('\n', " ");
    let first = meaning.split_inclusive(['.', ':', ';']).next().unwrap_or_default();
    format!("{:<24} {}", setting.key, first.trim_end_matches([':', ';']))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
