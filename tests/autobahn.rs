//! The WebSocket keeps to RFC 6455, as all cases of the Autobahn TestSuite have it. Against an echo on the code that ours
//! run on, as these cases know nothing of our messages.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidings_config::{LimitSettings, Settings, TokenSettings};
use tidings_engine::transport::Transport;
use tidings_engine::{Engine, Options};
use tidings_http::Http;
use tidings_http::token::Tokens;
use tidings_ws::echo::Echo;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::SECRET;

/// As large as the largest message among the cases.
const MESSAGE_BYTES: u32 = 16 << 20;
/// About ten times what it takes, on a machine that does other things beside.
const PATIENCE: Duration = Duration::from_secs(120);

/// Compression: we do not offer it, as a delivery is encoded once for all who get it.
const COMPRESSION: [&str; 2] = ["12.*", "13.*"];
const COMPRESSION_CASES: usize = 216;
/// Everything else, the masses of 9.* included.
const CASES: [&str; 9] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"];
const CASES_OF_THE_PROTOCOL: usize = 301;

/// Runs the cases that its arguments name, and writes what became of each, or of those that failed.
const RUN: &str = r"
import asyncio, json, sys
from kosoku import FailureError, run_fuzzingclient
try:
    results = asyncio.run(run_fuzzingclient(sys.argv[1], sys.argv[2:], concurrency=16))
except FailureError as failure:
    results = failure.results
json.dump([dict(case=r.case_id, passed=r.passed, behavior=r.behavior.value, close=r.behavior_close.value,
                code=r.remote_close_code, result=r.result + ' ' + r.result_close) for r in results], sys.stdout)
";

/// A server that echoes, in this process: the real one has no echo.
async fn echo() -> (String, DropGuard, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start(Options::new(directory.path().join("data"))).await.unwrap();
    let tokens = Tokens::new(&TokenSettings::default(), SECRET.as_bytes()).unwrap();
    let message_bytes = NonZeroU32::new(MESSAGE_BYTES).unwrap();
    let limits = LimitSettings { message_bytes, ..LimitSettings::default() };
    let (_, settings) = watch::channel(Arc::new(Settings { limits, ..Settings::default() }));
    let http = Http::bind("127.0.0.1:0".parse().unwrap(), Arc::new(tokens)).await.unwrap();
    let http = http.following(settings).with(Echo("/"));
    let (address, shutdown) = (http.address().to_string(), CancellationToken::new());
    tokio::spawn(Box::new(http).run(engine, shutdown.clone()));
    (address, shutdown.drop_guard(), directory)
}

async fn run(cases: &[&str]) -> Vec<Value> {
    let (address, _shutdown, _directory) = echo().await;
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    assert!(python.exists(), "{} is missing: ./test.sh makes it", python.display());
    let mut command = Command::new(python);
    let ran = command.args(["-c", RUN, &address]).args(cases).kill_on_drop(true).output();
    let ran = tokio::time::timeout(PATIENCE, ran).await.expect("the cases end").unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_passes_every_case_of_autobahn() {
    let cases = run(&CASES).await;
    let failed: Vec<&Value> = cases.iter().filter(|case| case["passed"] != true).collect();
    assert!(failed.is_empty(), "{} failed, at first {:#?}", failed.len(), &failed[..failed.len().min(3)]);
    assert_eq!(cases.len(), CASES_OF_THE_PROTOCOL);
    let mut summary: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        *summary.entry(format!("{}, closed {}", case["behavior"], case["close"])).or_default() += 1;
    }
    println!("{} cases of Autobahn: {summary:?}", cases.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compression_that_is_asked_for_is_not_agreed_to() {
    let cases = run(&COMPRESSION).await;
    let other = cases.iter().find(|case| case["behavior"] != "UNIMPLEMENTED");
    assert!(other.is_none(), "{other:?}");
    assert_eq!(cases.len(), COMPRESSION_CASES);
}

#[test]
fn nothing_but_the_tests_mounts_the_echo() {
    let server = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../server/src");
    let mut folders = vec![server];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let code = std::fs::read_to_string(&path).unwrap();
                assert!(!code.contains("echo::"), "{}", path.display());
            }
        }
    }
}
