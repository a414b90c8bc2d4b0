//! Settings from their sources: the file, then the environment, then flags. Every problem of all of them at once.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeValue;

use crate::Settings;
use crate::documentation::{self, setting, settings};
use crate::faults::{Fault, Kind, faults, listed};
use crate::nearest::{is_within, nearest, nearest_key};
use crate::problem::{ConfigError, Findings, Problem, Source};
use crate::tree::{self, File, Table};

/// Two settings of which one may be set: one that is set by a later source takes the place of the other.
const ONE_OF: [&str; 2] = ["token.secret", "token.secret-file"];
/// What Kubernetes sets for a service that is called `tidings`: `TIDINGS_PORT_7400_TCP`, `TIDINGS_SERVICE_HOST`.
const OF_KUBERNETES: [&str; 2] = ["TIDINGS_PORT", "TIDINGS_SERVICE_"];

/// Where settings come from.
#[derive(Default)]
pub struct Sources<'s> {
    /// The file, if there is one.
    pub file: Option<&'s Path>,
    /// The environment: names and values.
    pub environment: Vec<(String, String)>,
    /// Flags, in order.
    pub flags: Vec<Flag>,
    /// Plugins that there are.
    pub plugins: &'s [PluginSettings],
    /// Variables whose names begin with `TIDINGS_` and that are no settings.
    pub other_variables: &'s [&'s str],
}

/// A setting on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// What is said of it: `--listen`, `--set log.level`.
    pub name: String,
    /// The setting.
    pub key: String,
    /// The value, as text or as TOML.
    pub value: String,
}

/// The settings of a plugin: what `[plugins.NAME]` may hold.
#[derive(Clone, Copy)]
pub struct PluginSettings {
    name: &'static str,
    faults: fn(&Table<'_>, &str) -> Vec<Fault>,
}

impl PluginSettings {
    /// The settings of the plugin with this name are a `T`.
    #[must_use]
    pub const fn of<T: DeserializeOwned>(name: &'static str) -> Self {
        Self { name, faults: faults::<T> }
    }
}

/// A setting that comes from the environment or a flag, or that is taken away by one.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    pub(crate) key: String,
    /// As TOML.
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// Settings, and where each comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What is odd and yet no error.
    pub warnings: Vec<String>,
    pub(crate) file: Option<File>,
    pub(crate) overrides: Vec<Override>,
}

/// Settings from all their sources.
///
/// # Errors
/// [`ConfigError`], with everything that is wrong.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, ConfigError> {
    let file = sources.file.map(|path| {
        File::read(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })
    });
    let file = file.transpose()?;
    let mut problems = Vec::new();
    let mut unsound = Vec::new();
    if let Some(file) = &file {
        let (table, errors) = file.parse();
        add(&mut problems, errors);
        let found = faults::<Settings>(&table, "");
        unsound.extend(found.iter().map(|fault| fault.key.clone()));
        let found = found.into_iter().map(|fault| of_fault(file.source(&fault.span), fault));
        add(&mut problems, found);
    }
    let (overrides, warnings) = overrides(sources, &mut problems);
    let mut merged = merged(file.as_ref(), &overrides);
    for key in unsound {
        let whole = key.split('[').next().unwrap_or(&key);
        tree::set(merged.get_mut(), whole, None); // its default, so that the rest can be looked at
    }
    let places = Places { file: file.as_ref(), overrides: &overrides };
    let found = plugin_faults(&merged, sources.plugins);
    add(&mut problems, found.into_iter().map(|fault| of_fault(places.of(&fault.key, &fault.span), fault)));
    let settings: Settings = match tree::read(merged.clone()) {
        Ok(settings) => settings,
        Err(error) => {
            let source = places.of("", &error.span().unwrap_or(0..0));
            let problem =
                Problem { source, key: String::new(), what: error.message().to_owned(), nearest: None };
            add(&mut problems, [problem]);
            return Err(ConfigError::Wrong(problems));
        }
    };
    let mut findings = Findings::default();
    settings.check(&mut findings);
    let found = findings.wrong.into_iter().map(|(key, what)| {
        let span = tree::find(&merged, &key).map_or(0..0, |(_, value)| value.span());
        Problem { source: places.of(&key, &span), key, what, nearest: None }
    });
    add(&mut problems, found);
    if problems.is_empty() {
        return Ok(Loaded { settings, warnings, file, overrides });
    }
    problems.sort_by_key(|problem| match &problem.source {
        Source::File { line, column, .. } => (0, *line, *column),
        Source::Variable(_) => (1, 0, 0),
        Source::Flag(_) => (2, 0, 0),
        Source::Default => (3, 0, 0),
    });
    Err(ConfigError::Wrong(problems))
}

/// What the file says, and what takes its place.
pub(crate) fn merged<'t>(file: Option<&'t File>, overrides: &'t [Override]) -> Table<'t> {
    let mut table = file.map_or_else(tree::empty, |file| file.parse().0);
    for Override { key, value, .. } in overrides {
        let value = value.as_ref().and_then(|value| DeValue::parse(value).ok());
        tree::set(table.get_mut(), key, value);
    }
    table
}

/// Where what is wrong was said.
pub(crate) struct Places<'l> {
    pub(crate) file: Option<&'l File>,
    pub(crate) overrides: &'l [Override],
}

impl Places<'_> {
    pub(crate) fn of(&self, key: &str, span: &std::ops::Range<usize>) -> Source {
        let last = self.overrides.iter().rev().find(|one| is_within(key, &one.key));
        match (last, self.file) {
            (Some(one), _) => one.source.clone(),
            (None, Some(file)) => file.source(span),
            (None, None) => Source::Default,
        }
    }
}

/// Adds what is not said already: of a line that is no TOML nothing more can be said, and of a key one thing is enough.
fn add(problems: &mut Vec<Problem>, found: impl IntoIterator<Item = Problem>) {
    for problem in found {
        let line = |source: &Source| match source {
            Source::File { line, .. } => Some(*line),
            _ => None,
        };
        let is_said = problems.iter().any(|said| {
            (said.key.is_empty()
                && line(&said.source).is_some()
                && line(&said.source) == line(&problem.source))
                || (!said.key.is_empty() && said.key == problem.key)
        });
        if !is_said {
            problems.push(problem);
        }
    }
}

/// What is wrong with the sections of plugins, and which plugins there are not.
fn plugin_faults(table: &Table<'_>, plugins: &[PluginSettings]) -> Vec<Fault> {
    let Some(sections) = tree::find(table, "plugins").and_then(|(_, value)| value.get_ref().as_table())
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, section) in sections {
        let key = format!("plugins.{}", name.get_ref());
        let known = plugins.iter().find(|plugin| plugin.name == name.get_ref());
        match (known, section.get_ref()) {
            (Some(plugin), DeValue::Table(inner)) => {
                found.extend((plugin.faults)(&Spanned::new(section.span(), inner.clone()), &key));
            }
            (Some(_), _) => {
                let kind = Kind::Value { what: "expected a table".to_owned(), nearest: None };
                found.push(Fault { key, span: section.span(), kind });
            }
            (None, _) => {
                let expected = plugins.iter().map(|plugin| plugin.name.to_owned()).collect();
                found.push(Fault { key, span: name.span(), kind: Kind::Unknown { expected } });
            }
        }
    }
    found
}

/// A fault as those who write a configuration read it.
fn of_fault(source: Source, fault: Fault) -> Problem {
    let Fault { key, kind, .. } = fault;
    match kind {
        Kind::Value { what, nearest } => Problem { source, key, what, nearest },
        Kind::Unknown { expected } => unknown_key(source, key, &expected),
    }
}

fn unknown_key(source: Source, key: String, sisters: &[String]) -> Problem {
    let known: Vec<&str> = settings().iter().filter(|one| !one.within).map(|one| one.key.as_str()).collect();
    let nearest = nearest_key(&key, sisters, &known);
    let what = match (&nearest, sisters) {
        (Some(_), _) | (None, []) => "there is no such key".to_owned(),
        (None, sisters) => format!("there is no such key; expected {}", listed(sisters)),
    };
    Problem { source, key, what, nearest }
}

/// What the environment and the flags say, and what is odd about the environment.
fn overrides(sources: &Sources<'_>, problems: &mut Vec<Problem>) -> (Vec<Override>, Vec<String>) {
    let mut said = Vec::new();
    let value_of = |variable: &str| sources.environment.iter().find(|(name, _)| name == variable);
    let mut of_environment = Vec::new();
    for setting in settings() {
        if let Some((name, value)) = setting.variables.iter().find_map(|variable| value_of(variable)) {
            of_environment.push((setting.key.as_str(), value.as_str(), Source::Variable(name.clone())));
        }
    }
    let of_flags = sources.flags.iter();
    let of_flags: Vec<_> = of_flags
        .map(|flag| (flag.key.as_str(), flag.value.as_str(), Source::Flag(flag.name.clone())))
        .collect();
    for layer in [of_environment, of_flags] {
        let keys: Vec<&str> = layer.iter().map(|(key, ..)| *key).collect();
        for (key, text, source) in layer {
            if setting(key).is_none_or(|setting| setting.within) {
                problems.push(unknown_key(source, key.to_owned(), &[]));
                continue;
            }
            match interpret(key, text) {
                Ok(value) => {
                    let other = ONE_OF.iter().find(|other| ONE_OF.contains(&key) && **other != key);
                    if let Some(other) = other.filter(|other| !keys.contains(*other)) {
                        said.push(Override { key: (*other).to_owned(), value: None, source: source.clone() });
                    }
                    said.push(Override { key: key.to_owned(), value: Some(value), source });
                }
                Err(fault) => problems.push(of_fault(source, fault)),
            }
        }
    }
    (said, odd_variables(sources))
}

/// A text as the TOML that the setting takes: as text, since what can be both is what it says; or as TOML; or as a list
/// with commas.
fn interpret(key: &str, text: &str) -> Result<String, Fault> {
    let as_text = toml::Value::String(text.to_owned()).to_string();
    let as_toml = DeValue::parse(text).is_ok().then(|| text.to_owned());
    let items = text.split(',').map(|item| toml::Value::String(item.trim().to_owned()));
    let as_list = toml::Value::Array(items.collect()).to_string();
    let faults_as_told = as_toml.clone().unwrap_or_else(|| as_text.clone());
    let candidates = [Some(as_text), as_toml, Some(as_list)];
    let taken = candidates.into_iter().flatten().find(|value| fault_of(key, value).is_none());
    taken.map_or_else(|| Err(fault_of(key, &faults_as_told)), Ok).map_err(|fault| {
        let kind = Kind::Value { what: "is not as expected".to_owned(), nearest: None };
        fault.unwrap_or(Fault { key: key.to_owned(), span: 0..0, kind })
    })
}

fn fault_of(key: &str, value: &str) -> Option<Fault> {
    let mut table = tree::empty();
    tree::set(table.get_mut(), key, DeValue::parse(value).ok());
    faults::<Settings>(&table, "").into_iter().next()
}

/// Variables that look like settings and are none.
fn odd_variables(sources: &Sources<'_>) -> Vec<String> {
    let known = || settings().iter().flat_map(|setting| &setting.variables).map(String::as_str);
    let names = sources.environment.iter().map(|(name, _)| name.as_str());
    let odd = names.filter(|name| {
        name.starts_with("TIDINGS_")
            && !known().any(|variable| variable == *name)
            && !sources.other_variables.contains(name)
            && !OF_KUBERNETES.iter().any(|beginning| name.starts_with(beginning))
    });
    odd.map(|name| {
        let ours = known().filter_map(|variable| variable.strip_prefix("TIDINGS_"));
        match nearest(name.trim_start_matches("TIDINGS_"), ours) {
            Some(nearest) => format!("the variable {name} is no setting; did you mean TIDINGS_{nearest}?"),
            None => format!("the variable {name} is no setting"),
        }
    })
    .collect()
}

impl Loaded {
    /// The value of a setting as TOML, and where it comes from; the default if it is not set. `None` when it has none.
    #[must_use]
    pub fn value(&self, key: &str) -> (Option<toml::Value>, Source) {
        let table = merged(self.file.as_ref(), &self.overrides);
        let set = tree::find(&table, key);
        let Some((name, value)) = set else {
            let default = documentation::setting(key).and_then(|setting| setting.default.as_ref());
            let value =
                default.and_then(|text| DeValue::parse(text).ok()).and_then(|value| tree::plain(&value));
            return (value, Source::Default);
        };
        let places = Places { file: self.file.as_ref(), overrides: &self.overrides };
        (tree::plain(value), places.of(key, &name))
    }
}
