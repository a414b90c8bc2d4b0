//! What is said of each setting: read from `config/tidings.toml`, which is the one place where settings are documented.
//!
//! A line `#name = value` there is a setting with its default, `# name = value` an example of one that has none. The
//! comment above says what it means; what stands in brackets at its end are other names, and `reloads`.

use std::sync::OnceLock;

use toml::de::DeValue;

use crate::faults::{in_words, listed, quoted};
use crate::nearest::nearest_key;
use crate::tree;

/// The documented file.
const FILE: &str = include_str!("../tidings.toml");

/// What is said of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its path, as in `token.leeway-seconds`.
    pub key: String,
    /// What it means.
    pub meaning: String,
    /// Its default, as TOML; `None` when it is not set by default.
    pub default: Option<String>,
    /// What it may look like, as TOML, where there is no default.
    pub example: Option<String>,
    /// Its variables in the environment: the one by rule, and those with a name of their own.
    pub variables: Vec<String>,
    /// Its flag, beside `--set`.
    pub flag: Option<String>,
    /// Whether a reload changes it.
    pub reloads: bool,
    /// Whether it stands within the items of a list or of a section with any name: it has no value of its own.
    pub within: bool,
}

impl Setting {
    /// Its section, and its name within that.
    #[must_use]
    pub fn section_and_name(&self) -> (&str, &str) {
        self.key.rsplit_once('.').unwrap_or(("", &self.key))
    }
}

/// Every setting, in the order of the documented file.
pub fn settings() -> &'static [Setting] {
    static SETTINGS: OnceLock<Vec<Setting>> = OnceLock::new();
    SETTINGS.get_or_init(|| Reader::default().read(FILE))
}

/// The setting of a key.
#[must_use]
pub fn setting(key: &str) -> Option<&'static Setting> {
    settings().iter().find(|setting| setting.key == key)
}

/// The key that was probably meant by one that is not there.
#[must_use]
pub fn nearest_to(key: &str) -> Option<String> {
    let known: Vec<&str> = settings().iter().map(|setting| setting.key.as_str()).collect();
    nearest_key(key, &[], &known)
}

/// What a setting takes, as its type says for whom it takes nothing: `a whole number`, `"human" or "json"`.
#[must_use]
pub fn expected(key: &str) -> String {
    let refusal = |value: &'static str| {
        let mut table = tree::empty();
        tree::set(table.get_mut(), key, DeValue::parse(value).ok());
        tree::read::<crate::Settings>(table).err().map(|error| error.message().to_owned())
    };
    let Some(of_table) = refusal("{}") else { return "a table".to_owned() };
    if let Some((_, expected)) = of_table.rsplit_once(", expected ") {
        return in_words(expected).to_owned();
    }
    match refusal("\"?\"") {
        Some(of_text) if of_text.starts_with("unknown variant") => {
            listed(&quoted(of_text.split_once(", ").map_or("", |(_, expected)| expected)))
        }
        Some(of_text) => in_words(&of_text).to_owned(),
        None => "text".to_owned(),
    }
}

/// Whether what a key stands for is never shown: by its name, so that nobody has to remember to say so.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    ["secret", "password"].iter().any(|word| name == *word || name.ends_with(&format!("-{word}")))
}

/// The variable of a key, by rule.
#[must_use]
pub fn variable(key: &str) -> String {
    let name = key.replace(['.', '-'], "_").to_uppercase();
    format!("TIDINGS_{name}")
}

#[derive(Default)]
struct Reader {
    settings: Vec<Setting>,
    section: String,
    /// Whether the section is an example's: of a list, or with a name that anybody may choose.
    within: bool,
    comment: Vec<String>,
    /// Whether the comment was used already: settings in a row share one.
    used: bool,
}

impl Reader {
    fn read(mut self, file: &str) -> Vec<Setting> {
        for line in file.lines() {
            self.line(line.trim_end());
        }
        self.settings
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            self.comment.clear();
            return;
        }
        let Some(comment) = line.strip_prefix('#') else {
            match header(line) {
                Some((section, _)) => self.begin(section, false),
                None => self.setting(line, true),
            }
            return;
        };
        let is_text = comment.starts_with(' ') || comment.is_empty();
        let text = comment.trim_start();
        match header(text) {
            Some((section, is_list)) => self.example_section(section, is_list, text),
            None if !is_text => self.setting(text, true),
            None if is_assignment(text) => self.setting(text, false),
            None => self.say(text),
        }
    }

    fn begin(&mut self, section: &str, within: bool) {
        section.clone_into(&mut self.section);
        self.within = within;
        self.comment.clear();
    }

    /// `# [[token.keys]]` is an example of the setting `token.keys`, `# [plugins.NAME]` one of `plugins`.
    fn example_section(&mut self, section: &str, is_list: bool, text: &str) {
        let key = if is_list { section } else { section.rsplit_once('.').map_or(section, |(key, _)| key) };
        if !self.settings.iter().any(|setting| setting.key == key) {
            self.add(key.to_owned(), None, Some(text.to_owned()), false);
        }
        self.begin(key, true);
    }

    fn say(&mut self, text: &str) {
        if std::mem::take(&mut self.used) {
            self.comment.clear();
        }
        self.comment.push(text.to_owned());
    }

    fn setting(&mut self, line: &str, is_default: bool) {
        let Some((name, value)) = line.split_once('=') else { return };
        let (name, value) = (name.trim(), value.trim().to_owned());
        if name.starts_with('"') {
            return; // a name that anybody may choose
        }
        let key = if self.section.is_empty() { name.to_owned() } else { format!("{}.{name}", self.section) };
        let (default, example) = if is_default { (Some(value), None) } else { (None, Some(value)) };
        self.add(key, default, example, self.within);
    }

    fn add(&mut self, key: String, default: Option<String>, example: Option<String>, within: bool) {
        self.used = true;
        let mut meaning = self.comment.join("\n");
        let mut names: Vec<String> = Vec::new();
        if let Some((before, inside)) = meaning.rsplit_once("  (")
            && let Some(inside) = inside.strip_suffix(')')
        {
            names = inside.split(',').map(|name| name.trim().to_owned()).collect();
            meaning = before.to_owned();
        }
        let reloads = names.iter().any(|name| name == "reloads");
        let flag = names.iter().find(|name| name.starts_with("--")).cloned();
        let by_rule = (!within).then(|| variable(&key));
        let own = names.into_iter().filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        let mut variables: Vec<String> = by_rule.into_iter().collect();
        variables.extend(own);
        variables.dedup();
        self.settings.push(Setting { key, meaning, default, example, variables, flag, reloads, within });
    }
}

/// `[section]` or `[[list]]`.
fn header(line: &str) -> Option<(&str, bool)> {
    let inside = line.strip_prefix('[')?.strip_suffix(']')?;
    let list = inside.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
    let name = list.unwrap_or(inside);
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    is_name.then_some((name, list.is_some()))
}

/// Whether a comment is an example rather than a sentence.
fn is_assignment(text: &str) -> bool {
    text.split_once(" = ").is_some_and(|(name, _)| {
        name.starts_with('"') || name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Setting> {
        Reader::default().read(text)
    }

    #[test]
    fn a_setting_has_the_comment_above_it_and_the_names_in_brackets() {
        let read = read(
            "# About the file.\n\n# Where to listen,\n# or not.  (reloads, WHERE, --listen)\n#listen = 1\n",
        );
        let [listen] = &read[..] else { panic!("{read:?}") };
        assert_eq!(listen.meaning, "Where to listen,\nor not.");
        assert_eq!(listen.variables, ["TIDINGS_LISTEN", "WHERE"]);
        assert_eq!((listen.flag.as_deref(), listen.reloads), (Some("--listen"), true));
        assert_eq!(listen.default.as_deref(), Some("1"));
    }

    #[test]
    fn settings_in_a_row_share_a_comment_and_examples_are_no_defaults() {
        let read = read(
            "[token]\n# Whose, and for whom.\n# issuer = \"x\"\n# audience = \"y\"\n# Else.\n#leeway-seconds = 5\n",
        );
        let found: Vec<_> =
            read.iter().map(|s| (s.key.as_str(), s.meaning.as_str(), s.default.is_some())).collect();
        assert_eq!(
            found,
            [
                ("token.issuer", "Whose, and for whom.", false),
                ("token.audience", "Whose, and for whom.", false),
                ("token.leeway-seconds", "Else.", true)
            ]
        );
    }

    #[test]
    fn an_example_of_a_list_or_a_named_section_is_one_setting_with_others_within() {
        let read = read(
            "# Keys.\n# [[token.keys]]\n# Which.\n# kid = \"a\"\n\n# One.\n# [plugins.type-routes]\n# \"a.*\" = []\n",
        );
        let found: Vec<_> = read.iter().map(|s| (s.key.as_str(), s.meaning.as_str(), s.within)).collect();
        assert_eq!(
            found,
            [("token.keys", "Keys.", false), ("token.keys.kid", "Which.", true), ("plugins", "One.", false)]
        );
        assert!(read[1].variables.is_empty());
    }

    #[test]
    fn every_setting_says_what_it_means_and_takes() {
        for setting in settings() {
            assert!(!setting.meaning.is_empty(), "{setting:?}");
        }
        for (key, takes) in [
            ("listen", "an address and a port such as 127.0.0.1:7400"),
            ("stall-seconds", "a whole number from 1"),
            ("delivery.progress", "true or false"),
            ("log.format", "\"human\" or \"json\""),
            ("token.issuer", "text"),
            ("plugins", "a table"),
        ] {
            assert_eq!(expected(key), takes, "{key}");
        }
    }
}
