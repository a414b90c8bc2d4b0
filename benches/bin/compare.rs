//! What the benchmarks cost now, as ratios to what they cost before: to the baseline, or to another commit in the same minutes.
//!
//! `cargo run --release -p tidings-benches --bin compare [--save | --against COMMIT] [--rounds N] [FILTER]`
//!
//! Builds the benchmarks, runs them round after round, and says which of them cost more than they may. What is compared is
//! processor time. Against a commit, both run in turn; against the baseline, the cost of a fixed piece of work
//! that is measured before each benchmark is divided out, since machines differ. See `benches/README.md`.

use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tidings_benches::comparison::{Change, Costs, changes, median};

const USAGE: &str = "expected [--save | --against COMMIT] [--rounds N] [FILTER]";
/// What a benchmark may cost, of what it cost before: beyond that it is flagged, and the command fails. Rounds of the same
/// code differ by less in the median, on a machine that others use too.
const TOLERANCE: f64 = 1.2;
const ROUNDS: usize = 3;
/// Short, as there are several rounds.
const LASTING: [&str; 4] = ["--warm-up-time", "0.3", "--measurement-time", "1"];
/// Where everything that is made lies, within the target directory.
const PLACE: &str = "compare";
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json");

enum Against {
    Baseline,
    Commit(String),
    /// Nothing: they become the baseline.
    Save,
}

struct Wishes {
    against: Against,
    rounds: usize,
    filter: Option<String>,
}

/// The benchmarks of a tree: each is a program.
struct Benches {
    programs: Vec<PathBuf>,
    /// Where criterion puts what it measures.
    results: PathBuf,
}

fn main() -> Result<()> {
    let wishes = Wishes::read(std::env::args().skip(1))?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let place = target.join(PLACE);
    let baseline = match &wishes.against {
        Against::Baseline => Some(Costs::read(Path::new(BASELINE))?),
        _ => None,
    };
    let now = Benches::build(workspace, &target, place.join("now"))?;
    let filter = wishes.filter.as_deref();
    match &wishes.against {
        Against::Commit(commit) => {
            let tree = Worktree::of(workspace, commit, &place)?;
            let measures_cpu = tree.path.join("benches/measured.rs").exists();
            ensure!(
                measures_cpu,
                "{commit} has benchmarks that measure time and not processor time: expected a later one"
            );
            let before = Benches::build(&tree.path, &place.join("target"), place.join("before"))?;
            let pairs = rounds(wishes.rounds, |_| Ok((before.run(filter)?, now.run(filter)?)))?;
            report(&pairs, &format!("commit {commit}"))
        }
        Against::Baseline => {
            let baseline = baseline.context("a baseline")?;
            let pairs = rounds(wishes.rounds, |_| {
                let (mut before, now) = (baseline.clone(), now.run_beside_fixed_work(filter)?);
                if filter.is_some() {
                    before.benchmarks.retain(|name, _| now.benchmarks.contains_key(name)); // others were not asked for
                }
                Ok((before, now))
            })?;
            report(&pairs, "the baseline")
        }
        Against::Save => {
            ensure!(filter.is_none(), "a baseline holds all benchmarks: expected no filter");
            let measured = rounds(wishes.rounds, |_| now.run_beside_fixed_work(None))?;
            Costs::medians(&measured).write(Path::new(BASELINE)).context(BASELINE)?;
            println!("written: {BASELINE}");
            Ok(())
        }
    }
}

impl Wishes {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut wishes = Self { against: Against::Baseline, rounds: ROUNDS, filter: None };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--save" => wishes.against = Against::Save,
                "--against" => wishes.against = Against::Commit(arguments.next().context(USAGE)?),
                "--rounds" => wishes.rounds = arguments.next().context(USAGE)?.parse().context(USAGE)?,
                "--help" | "-h" => bail!(USAGE),
                option if option.starts_with('-') => bail!("{option} is unknown: {USAGE}"),
                _ => wishes.filter = Some(argument),
            }
        }
        ensure!(wishes.rounds > 0, "expected at least one round");
        Ok(wishes)
    }
}

/// So many rounds, which say how far they have come.
fn rounds<T>(count: usize, mut round: impl FnMut(usize) -> Result<T>) -> Result<Vec<T>> {
    (1..=count)
        .map(|number| {
            eprintln!("round {number} of {count}");
            round(number)
        })
        .collect()
}

fn report(pairs: &[(Costs, Costs)], before: &str) -> Result<()> {
    println!("processor time beside {before}, median of {} rounds (tolerance {TOLERANCE})", pairs.len());
    println!("{:<56} {:>7} {:>13}", "", "ratio", "from to");
    let changes = changes(pairs);
    for (name, change) in &changes {
        match change {
            Change::Ratio { median, least, most } => {
                let flag = if change.is_beyond(TOLERANCE) { "  slower" } else { "" };
                println!("{name:<56} {median:>7.2} {:>13}{flag}", format!("{least:.2} {most:.2}"));
            }
            Change::New => println!("{name:<56} {:>7}", "new"),
            Change::Gone => println!("{name:<56} {:>7}", "gone"),
        }
    }
    let is_compared = changes.iter().any(|(_, change)| matches!(change, Change::Ratio { .. }));
    ensure!(is_compared, "nothing was compared: no benchmark of that name is on both sides");
    let slower: Vec<&str> = changes
        .iter()
        .filter(|(_, change)| change.is_beyond(TOLERANCE))
        .map(|(name, _)| name.as_str())
        .collect();
    ensure!(slower.is_empty(), "slower than {before}: {}", slower.join(", "));
    Ok(())
}

impl Benches {
    /// Builds those of a tree. They have the directory for what they measure to themselves.
    fn build(tree: &Path, target: &Path, results: PathBuf) -> Result<Self> {
        eprintln!("building the benchmarks of {}", tree.display());
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args([
            "bench",
            "-p",
            "tidings-benches",
            "--benches",
            "--no-run",
            "--message-format",
            "json-render-diagnostics",
        ]);
        build.current_dir(tree).env("CARGO_TARGET_DIR", target).stderr(Stdio::inherit());
        let built = build.output().context("cargo")?;
        ensure!(built.status.success(), "the benchmarks of {} do not build", tree.display());
        let messages = String::from_utf8(built.stdout)?;
        let is_bench = |message: &Value| message["target"]["kind"][0] == "bench";
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let programs =
            messages.filter(is_bench).filter_map(|message| Some(message["executable"].as_str()?.into()));
        let programs: Vec<PathBuf> = programs.collect();
        ensure!(!programs.is_empty(), "{} has no benchmarks", tree.display());
        Ok(Self { programs, results })
    }

    /// Runs each once: nanoseconds.
    fn run(&self, filter: Option<&str>) -> Result<Costs> {
        let mut all = Costs::default();
        for program in &self.programs {
            all.benchmarks.extend(self.run_one(program, filter)?.benchmarks);
        }
        Ok(all)
    }

    /// The same, each in multiples of the fixed work's cost around it.
    fn run_beside_fixed_work(&self, filter: Option<&str>) -> Result<Costs> {
        let mut all = Costs::default();
        let mut before = fixed_work()?;
        for program in &self.programs {
            let costs = self.run_one(program, filter)?;
            let after = fixed_work()?;
            all.benchmarks.extend(costs.in_multiples_of(f64::midpoint(before, after)).benchmarks);
            before = after;
        }
        Ok(all)
    }

    fn run_one(&self, program: &Path, filter: Option<&str>) -> Result<Costs> {
        if self.results.exists() {
            std::fs::remove_dir_all(&self.results)?;
        }
        std::fs::create_dir_all(&self.results)?;
        let mut run = Command::new(program);
        run.args(["--bench", "--noplot"]).args(LASTING).args(filter);
        run.env("CRITERION_HOME", &self.results).env("TIDINGS_BENCH", "cpu");
        let ran = run.output().with_context(|| program.display().to_string())?;
        let said = String::from_utf8_lossy(&ran.stderr);
        ensure!(ran.status.success(), "{} failed: {said}", program.display());
        let mut costs = Costs::default();
        read_results(&self.results, &mut costs)?;
        Ok(costs)
    }
}

/// What criterion has measured: a directory `new` for each benchmark.
fn read_results(directory: &Path, costs: &mut Costs) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_none_or(|name| name != "new") {
            read_results(&path, costs)?;
            continue;
        }
        let read = |file: &str| -> Result<Value> {
            let path = path.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Ok(serde_json::from_str(&text)?)
        };
        let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
        let name = benchmark["full_id"].as_str().context("a name")?.to_owned();
        let cost = estimates["median"]["point_estimate"].as_f64().context("a median")?;
        costs.benchmarks.insert(name, cost);
    }
    Ok(())
}

/// A commit, checked out beside this tree; gone when this is dropped.
struct Worktree<'a> {
    of: &'a Path,
    path: PathBuf,
}

impl<'a> Worktree<'a> {
    fn of(workspace: &'a Path, commit: &str, place: &Path) -> Result<Self> {
        std::fs::create_dir_all(place)?;
        let tree = Self { of: workspace, path: place.join("tree") };
        tree.remove();
        let git = ["worktree", "add", "--force", "--detach"];
        let added = Command::new("git").args(git).arg(&tree.path).arg(commit).current_dir(workspace).output();
        let added = added.context("this takes git")?;
        let said = String::from_utf8_lossy(&added.stderr);
        ensure!(added.status.success(), "commit {commit} cannot be checked out: {}", said.trim());
        Ok(tree)
    }

    fn remove(&self) {
        let git = ["worktree", "remove", "--force"];
        // Nothing may be there yet.
        drop(Command::new("git").args(git).arg(&self.path).current_dir(self.of).output());
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Nanoseconds of processor time that a fixed piece of work takes on this machine now: some of each that the engine does.
fn fixed_work() -> Result<f64> {
    const TIMES: usize = 15;
    fixed_work_once()?; // warm
    let mut taken = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = processor_time();
        fixed_work_once()?;
        taken.push(processor_time() - begun);
    }
    Ok(median(taken))
}

fn processor_time() -> f64 {
    let taken = clock_gettime(ClockId::ProcessCPUTime);
    taken.tv_sec as f64 * 1e9 + taken.tv_nsec as f64
}

/// Never to be changed without a new baseline: memory that is allocated, copied and searched, text that is parsed and written,
/// and system calls; some 10 ms of them.
fn fixed_work_once() -> Result<()> {
    let mut map = std::collections::BTreeMap::new();
    for number in 0_u64..12_000 {
        let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        map.insert(format!("user-{key:x}"), vec![number as u8; 180]);
    }
    let text = serde_json::to_string(&map.keys().take(3_000).collect::<Vec<_>>())?;
    let parsed: Value = serde_json::from_str(black_box(&text))?;
    let found = parsed.as_array().context("a list")?.iter().filter_map(|key| map.get(key.as_str()?)).count();
    ensure!(found == 3_000, "the fixed work is not done");
    let bytes = vec![1_u8; 1 << 20];
    for _ in 0..8 {
        black_box(bytes.clone());
    }
    let (mut reading, mut writing) = std::io::pipe()?;
    let mut buffer = [0; 180];
    for _ in 0..2_000 {
        writing.write_all(&buffer)?;
        reading.read_exact(&mut buffer)?;
    }
    Ok(())
}
