//! The settings as operators write them: files, variables and flags, right and wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tidings_config::documentation::{self, settings};
use tidings_config::{ConfigError, Flag, Loaded, PluginSettings, Problem, Settings, Source, Sources, load};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Greeter {
    #[allow(dead_code, reason = "it is only read")]
    max_words: u32,
    #[serde(default)]
    #[allow(dead_code, reason = "it is only read")]
    names: Vec<char>,
    #[serde(default)]
    #[allow(dead_code, reason = "it is only read")]
    password: Option<Password>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Password;

impl TryFrom<String> for Password {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Err(format!("expected a better one than {text}"))
    }
}

const PLUGINS: &[PluginSettings] = &[PluginSettings::of::<Greeter>("greeter")];

fn try_load(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded, Vec<Problem>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.toml");
    std::fs::write(&path, text).unwrap();
    let flag = |(key, value): &(&str, &str)| Flag {
        name: format!("--set {key}"),
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let sources = Sources {
        file: Some(&path),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        flags: flags.iter().map(flag).collect(),
        plugins: PLUGINS,
        other_variables: &["TIDINGS_URL"],
    };
    match load(&sources) {
        Ok(loaded) => Ok(loaded),
        Err(ConfigError::Wrong(problems)) => Err(problems),
        Err(other) => panic!("{other}"),
    }
}

/// What is wrong with a file, as it is said, without the directory.
fn wrong(text: &str) -> Vec<String> {
    let problems = try_load(text, &[], &[]).err().unwrap_or_default();
    problems.iter().map(said).collect()
}

fn said(problem: &Problem) -> String {
    let text = problem.to_string();
    text.rsplit_once("tidings.toml:").map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[test]
fn each_mistake_in_a_file_is_said_with_its_place_and_what_was_meant() {
    let long_secret = "0123456789012345678901234567890123456789";
    let both = format!("[token]\nsecret = '{long_secret}'\nsecret-file = 'x'");
    for (text, expected) in [
        // Keys that are not there.
        ("lisen = '127.0.0.1:1'", "1:1: lisen: there is no such key; did you mean listen?"),
        ("\n\n  lsiten = '127.0.0.1:1'", "3:3: lsiten: there is no such key; did you mean listen?"),
        ("dataDir = 'x'", "1:1: dataDir: there is no such key; did you mean data-dir?"),
        ("data_dir = 'x'", "1:1: data_dir: there is no such key; did you mean data-dir?"),
        ("DATA-DIR = 'x'", "1:1: DATA-DIR: there is no such key; did you mean data-dir?"),
        ("level = 'info'", "1:1: level: there is no such key; did you mean log.level?"),
        (
            "leeway-seconds = 3",
            "1:1: leeway-seconds: there is no such key; did you mean token.leeway-seconds?",
        ),
        ("[log]\nlevle = 'info'", "2:1: log.levle: there is no such key; did you mean log.level?"),
        ("log.levle = 'info'", "1:5: log.levle: there is no such key; did you mean log.level?"),
        ("log = { levle = 'info' }", "1:9: log.levle: there is no such key; did you mean log.level?"),
        ("[token]\nsceret = 'x'", "2:1: token.sceret: there is no such key; did you mean token.secret?"),
        ("[token]\nlisten = 'x'", "2:1: token.listen: there is no such key; did you mean listen?"),
        ("[tokn]\nsecret = 'x'", "1:2: tokn: there is no such key; did you mean token?"),
        ("[token.claim]\nuser = 'x'", "1:8: token.claim: there is no such key; did you mean token.claims?"),
        (
            "[token.claims]\nrole = 'x'",
            "2:1: token.claims.role: there is no such key; did you mean token.claims.roles?",
        ),
        (
            "[log]\nbrightness = 3",
            "2:1: log.brightness: there is no such key; expected \"level\" or \"format\"",
        ),
        // Settings of NATS, which are subjects and names on a broker.
        (
            "[nats]\nurl = 'nats://ada:secret@host'",
            "2:7: nats.url: expected nats://HOST:PORT or tls://HOST:PORT, or several with commas between them, without a \
             user or a password in it, which are nats.user and nats.password",
        ),
        ("[nats]\nuser = 'ada'", "2:8: nats.user: expected nats.password beside it"),
        (
            "[nats]\ncredentials-file = 'a'\nnkey-file = 'b'",
            "3:13: nats.nkey-file: expected none beside nats.credentials-file: a broker takes one of them",
        ),
        ("[nats]\nprefix = 'a b'", "2:10: nats.prefix: expected 1 to 64 of a-z A-Z 0-9 _ -, got \"a b\""),
        ("[nats]\nstream = 'a.b'", "2:10: nats.stream: expected 1 to 64 of a-z A-Z 0-9 _ -, got \"a.b\""),
        ("[nats]\nin-flight = 100_001", "2:13: nats.in-flight: expected 1 to 100000, got 100001"),
        (
            "[nats]\nout = ['logs']",
            "2:8: nats.out[0]: expected \"users\", \"channels\" or \"log\", got \"logs\"; did you mean \"log\"?",
        ),
        (
            "[[nats.subjects]]\nsubject = 'shop.>.x'",
            "2:11: nats.subjects[0].subject: expected what follows `publish.` in a subject, such as shop.> or \
             shop.*.orders, got \"shop.>.x\"",
        ),
        (
            "[[nats.subjects]]\naudience = ['topic:*', '*']",
            "2:12: nats.subjects[0].audience: expected channels, or a kind and the beginning of a name followed by *, such \
             as topic:* or user:*, got \"*\"",
        ),
        (
            "[[nats.inboxes]]\ntenant = 'a b'",
            "2:10: nats.inboxes[0].tenant: expected a tenant: 1 to 64 of a-z A-Z 0-9 _ -, got \"a b\"",
        ),
        // Values of another type.
        ("listen = 7400", "1:10: listen: expected an address and a port such as 127.0.0.1:7400, got 7400"),
        (
            "\nlisten = 'here'",
            "2:10: listen: expected an address and a port such as 127.0.0.1:7400, got \"here\"",
        ),
        ("data-dir = ['a']", "1:12: data-dir: expected a path, got a list"),
        ("reserve-bytes = '64 MiB'", "1:17: reserve-bytes: expected a whole number, got \"64 MiB\""),
        ("reserve-bytes = -1", "1:17: reserve-bytes: expected a whole number, got -1"),
        ("reserve-bytes = 1.5", "1:17: reserve-bytes: expected a whole number, got 1.5"),
        ("stall-seconds = 0", "1:17: stall-seconds: expected a whole number from 1, got 0"),
        (
            "stall-seconds = 99_999_999_999",
            "1:17: stall-seconds: expected a whole number from 1, got 99999999999",
        ),
        ("[delivery]\nprogress = 'yes'", "2:12: delivery.progress: expected true or false, got \"yes\""),
        ("delivery = true", "1:12: delivery: expected a table, got true"),
        ("[token]\nissuer = 5", "2:10: token.issuer: expected text, got 5"),
        ("[token]\nsecret = 1234", "2:10: token.secret: expected text, got something else"),
        ("[token.claims]\nuser = ['a']", "2:8: token.claims.user: expected text, got a list"),
        ("plugins = 3", "1:11: plugins: expected a table, got 3"),
        // Values that cannot be.
        (
            "[log]\nlevel = 'loud'",
            "2:9: log.level: expected a level, such as info, or levels by module, such as info,tidings_ws=debug, with error, warn, info, debug, trace, off; got \"loud\"",
        ),
        (
            "[log]\nformat = 'jason'",
            "2:10: log.format: expected \"human\" or \"json\", got \"jason\"; did you mean \"json\"?",
        ),
        ("[log]\nformat = 'xml'", "2:10: log.format: expected \"human\" or \"json\", got \"xml\""),
        ("[token]\nleeway-seconds = 31", "2:18: token.leeway-seconds: expected at most 30, got 31"),
        ("[token]\nsecret = 'short'", "2:10: token.secret: expected at least 32 bytes, got 5"),
        (both.as_str(), "3:15: token.secret-file: expected none beside token.secret"),
        (
            "[delivery]\naction-base = 'app.example'",
            "2:15: delivery.action-base: expected the beginning of a URL, such as https://app.example.org, got \"app.example\"",
        ),
        ("[limits]\nconnections = 0", "2:15: limits.connections: expected a whole number from 1, got 0"),
        ("[limits]\ncommands = { count = 10 }", "2:12: limits.commands: expected a key `seconds` in it"),
        (
            "[limits]\ncommands = { count = 10, seconds = 7200 }",
            "2:12: limits.commands: expected 1 to 3600 seconds, got 7200",
        ),
        (
            "[limits]\nbatch-bytes = 1_000",
            "2:15: limits.batch-bytes: expected 262144 to 67108864 bytes, got 1000",
        ),
        (
            "[limits]\nheader-seconds = 4_000",
            "2:18: limits.header-seconds: expected 1 to 3600 seconds, got 4000",
        ),
        ("[cors]\norigins = ['*', 'https://a.example']", "2:11: cors.origins: expected nothing beside \"*\""),
        (
            "[cors]\norigins = ['*']\ncredentials = true",
            "3:15: cors.credentials: expected false beside origins = [\"*\"]",
        ),
        (
            "[tls]\ncertificate = 'a.pem'",
            "2:15: tls.certificate: expected tls.key, the file of its key, beside it",
        ),
        (
            "[tls]\nkey = 'a.pem'",
            "2:7: tls.key: expected tls.certificate, the file of its certificate, beside it",
        ),
        (
            "[[token.issuers]]\nname = 'a b'\nkeys = [{ pem-file = 'x' }]",
            "2:8: token.issuers[0].name: expected a name of 1 to 64 of a-z A-Z 0-9 _ -, got \"a b\"",
        ),
        ("[[token.issuers]]\nname = 'shop'", "1:1: token.issuers[0]: expected at least one of keys in it"),
        (
            "[[token.issuers]]\nname = 'shop'\nkeys = [{ kid = '1' }]",
            "3:9: token.issuers[0].keys[0]: expected exactly one of secret, secret-file, pem-file and jwks-file",
        ),
        (
            "[[token.issuers]]\nname = 'shop'\nkeys = [{ secret = 'too short' }]",
            "3:9: token.issuers[0].keys[0]: expected a secret of at least 32 bytes, or allow-weak-secret = true, got 9",
        ),
        (
            "[[token.issuers]]\nname = 'shop'\nkeys = [{ jwks-file = 'x', kid = '1' }]",
            "3:9: token.issuers[0].keys[0]: expected no kid beside jwks-file: the keys in it have their own",
        ),
        (
            "[[channels]]\npattern = 'topic:*'\nallow = ['join']",
            "1:1: channels[0]: expected a key for in it, not empty",
        ),
        // Plugins.
        ("[plugins.greter]", "1:10: plugins.greter: there is no such key; did you mean plugins.greeter?"),
        ("[plugins.x]", "1:10: plugins.x: there is no such key; expected \"greeter\""),
        ("[plugins]\ngreeter = 3", "2:11: plugins.greeter: expected a table"),
        ("[plugins.greeter]", "1:1: plugins.greeter: expected a key `max-words` in it"),
        (
            "[plugins.greeter]\nmax-words = 'x'",
            "2:13: plugins.greeter.max-words: expected a whole number, got \"x\"",
        ),
        (
            "[plugins.greeter]\nmax-words = 1\nmax-wrods = 1",
            "3:1: plugins.greeter.max-wrods: there is no such key; did you mean plugins.greeter.max-words?",
        ),
        (
            "[plugins.greeter]\nmax-words = 1\nnames = ['a',\n 'bc']",
            "4:2: plugins.greeter.names[1]: expected a character, got \"bc\"",
        ),
        // What is no TOML.
        ("x = ", "1:5: string values must be quoted, expected literal string"),
        ("[log\nlevel = 'info'", "1:5: unclosed table, expected `]`"),
        ("listen = '127.0.0.1:1'\nlisten = '127.0.0.1:2'", "2:1: duplicate key"),
        ("ünï = 1", "1:1: invalid unquoted key, expected letters, numbers, `-`, `_`"),
    ] {
        assert_eq!(wrong(text), [expected], "{text}");
    }
}

#[test]
fn origins_are_taken_as_browsers_write_them_and_in_no_other_way() {
    for origin in
        ["https://a.example/", "https://a.example:443", "a.example", "null", "https://A.example", "https://"]
    {
        let said = wrong(&format!("[cors]\norigins = ['{origin}']"));
        assert!(said.len() == 1 && said[0].ends_with(&format!("got {origin}")), "{origin}: {said:?}");
    }
    let sound = "[cors]\norigins = ['https://a.example', 'http://localhost:8080', 'app://a']";
    assert_eq!(wrong(sound), [] as [String; 0]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file() {
    let text = "lisen = 'x'\nstall-seconds = 'x'\nx = = 3\n[log]\nformat = 'xml'\nlevel = 'loud'\n\
        [token]\nleeway-seconds = 99\nsecret = 'x'\n[plugins.greeter]\nmax-words = 'x'\nnames = ['ab', 'c', 'de']\n";
    let said = wrong(text);
    let places: Vec<&str> = said.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["1:1", "2:17", "3:5", "5:10", "6:9", "8:18", "9:10", "11:13", "12:10", "12:21"],
        "{said:#?}"
    );
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        wrong("log = { level = 'info', \"größe\" = 1, fromat = 1 }"),
        [
            "1:25: log.größe: there is no such key; expected \"level\" or \"format\"",
            "1:38: log.fromat: there is no such key; did you mean log.format?",
        ]
    );
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let file = "listen = '127.0.0.1:1'\nstall-seconds = 7\n[token]\nsecret-file = 'x'";
    let environment =
        [("TIDINGS_LISTEN", "[::1]:2"), ("TIDINGS_DELIVERY_PROGRESS", "false"), ("LOG_LEVEL", "debug")];
    let secret = "0123456789012345678901234567890123456789";
    let flags = [("listen", "[::1]:3"), ("token.secret", secret), ("token.leeway-seconds", "9")];
    let loaded = try_load(file, &environment, &flags).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.listen.to_string(), "[::1]:3");
    assert_eq!(settings.stall_seconds.get(), 7);
    assert_eq!((settings.delivery.progress, settings.log.level.as_str()), (false, "debug"));
    assert_eq!((settings.token.secret.as_deref(), &settings.token.secret_file), (Some(secret), &None));
    assert_eq!(settings.token.leeway_seconds, 9);
    assert_eq!(loaded.value("listen").1, Source::Flag("--set listen".to_owned()));
    assert_eq!(loaded.value("log.level").1, Source::Variable("LOG_LEVEL".to_owned()));
    assert!(matches!(loaded.value("stall-seconds").1, Source::File { line: 2, column: 1, .. }));
    assert_eq!(loaded.value("log.format"), (Some("human".into()), Source::Default));
    assert_eq!(loaded.value("token.issuer"), (None, Source::Default));
}

#[test]
fn every_setting_has_a_variable_by_rule() {
    for setting in settings().iter().filter(|setting| !setting.within) {
        let variable = setting.variables.first().expect("a variable");
        assert_eq!(*variable, documentation::variable(&setting.key));
        // Taken, or not as expected: it is heard either way.
        let source = match try_load("", &[(variable, "7")], &[]) {
            Ok(loaded) => loaded.value(&setting.key).1,
            Err(problems) => problems[0].source.clone(),
        };
        assert_eq!(source, Source::Variable(variable.clone()));
    }
}

#[test]
fn what_is_wrong_with_a_variable_or_a_flag_names_it() {
    let environment = [
        ("TIDINGS_STALL_SECONDS", "soon"),
        ("TIDINGS_TOKEN_SECRET", "short"),
        ("TIDINGS_PLUGINS", "{ x = 1 }"),
    ];
    let flags = [("log.levle", "info"), ("delivery.progress", "maybe")];
    let problems = try_load("[log]\nformat = 'xml'", &environment, &flags).unwrap_err();
    let said: Vec<String> = problems.iter().map(said).collect();
    assert_eq!(
        said,
        [
            "2:10: log.format: expected \"human\" or \"json\", got \"xml\"",
            "TIDINGS_STALL_SECONDS: stall-seconds: expected a whole number from 1, got \"soon\"",
            "TIDINGS_PLUGINS: plugins.x: there is no such key; expected \"greeter\"",
            "TIDINGS_TOKEN_SECRET: token.secret: expected at least 32 bytes, got 5",
            "--set log.levle: log.levle: there is no such key; did you mean log.level?",
            "--set delivery.progress: delivery.progress: expected true or false, got \"maybe\"",
        ]
    );
}

#[test]
fn a_variable_that_looks_like_a_setting_and_is_none_is_odd() {
    let environment = [
        ("TIDINGS_LISEN", "x"),
        ("TIDINGS_URL", "x"),
        ("TIDINGS_PORT_7400_TCP", "x"),
        ("TIDINGS_SERVICE_HOST", "x"),
        ("TIDINGS_BANANA", "x"),
        ("PATH", "x"),
    ];
    let loaded = try_load("", &environment, &[]).unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "the variable TIDINGS_LISEN is no setting; did you mean TIDINGS_LISTEN?",
            "the variable TIDINGS_BANANA is no setting",
        ]
    );
}

#[test]
fn no_message_of_a_plugin_shows_a_secret() {
    let said = wrong("[plugins.greeter]\nmax-words = 1\npassword = 'hunter2'").concat();
    assert_eq!(said, "3:12: plugins.greeter.password: is not as expected");
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        "[token]\nsecret = 'hunter2'",
        "[token]\nsecret = ['hunter2']",
        "[token]\nsecret = 2222",
        "token = { secret = 'hunter2', x = 1 }",
    ] {
        let said = wrong(text).concat();
        assert!(!said.is_empty() && !said.contains("hunter2") && !said.contains("2222"), "{said}");
    }
    let loaded = try_load("[token]\nsecret = '0123456789012345678901234567890123456789'", &[], &[]).unwrap();
    assert!(!format!("{:?}", loaded.settings).contains("0123456789"));
}

#[test]
fn the_documented_file_holds_every_setting_and_its_default() {
    let documented = include_str!("../tidings.toml");
    // A line such as `#name = value` is a setting with its default.
    let uncommented: String = documented
        .lines()
        .map(|line| {
            format!("{}\n", line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        })
        .collect();
    assert_eq!(try_load(&uncommented, &[], &[]).unwrap().settings, Settings::default());
    assert_eq!(try_load(documented, &[], &[]).unwrap().settings, Settings::default());
    // What the sections themselves say they take.
    for section in std::iter::once("").chain(sections()) {
        let key = |name: &str| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        for name in taken_in(section) {
            let key = key(&name);
            let is_documented = settings().iter().any(|setting| {
                setting.key == key || setting.key.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.'))
            });
            assert!(is_documented, "config/tidings.toml does not say what {key} is");
        }
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    let mut sections: Vec<_> =
        settings().iter().filter(|one| !one.within).map(|one| one.section_and_name().0).collect();
    sections.dedup();
    sections.into_iter()
}

/// The keys that a section takes: serde lists them for whom it takes none.
fn taken_in(section: &str) -> Vec<String> {
    let inside = "there-is-no-such-key = 1";
    let text = if section.is_empty() { inside.to_owned() } else { format!("[{section}]\n{inside}") };
    let error = toml::from_str::<Settings>(&text).unwrap_err().to_string();
    error.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect()
}

#[test]
fn a_reload_changes_what_is_marked_so_and_keeps_the_rest() {
    let before = try_load("[log]\nlevel = 'info'", &[], &[]).unwrap();
    let after =
        try_load("listen = '127.0.0.1:9'\nreserve-bytes = 1\n[log]\nformat = 'json'", &[], &[]).unwrap();
    let reloaded = before.reloaded(&after).unwrap();
    let keys =
        |changes: &[tidings_config::Change]| changes.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&reloaded.changed), ["log.format"]);
    assert_eq!(keys(&reloaded.kept), ["listen", "reserve-bytes"]);
    let settings = &reloaded.loaded.settings;
    assert_eq!(settings.listen, Settings::default().listen);
    assert_eq!(settings.log, after.settings.log);
    // And back: what is taken out of the file has its default again.
    let back = reloaded.loaded.reloaded(&try_load("", &[], &[]).unwrap()).unwrap();
    assert_eq!(back.loaded.settings, Settings::default());
    assert_eq!((back.changed.len(), back.kept.len()), (1, 0));
    assert_eq!((back.changed[0].from.as_str(), back.changed[0].to.as_str()), ("\"json\"", "\"human\""));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources { file: Some(Path::new("/nowhere/tidings.toml")), ..Sources::default() };
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains("/nowhere/tidings.toml"), "{error}");
    assert_eq!(load(&Sources::default()).unwrap().settings.data_dir, PathBuf::from("tidings-data"));
}
