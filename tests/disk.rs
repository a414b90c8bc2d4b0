//! A disk that fails when it is told to, under the real server: a library that is preloaded (`disk/faults.c`) keeps what
//! no fsync has made durable, so that a kill can be made a power failure, and refuses syncs, writes and space.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use crate::world::World;

/// What a disk writes at once: of a write that is torn, some of these are there.
const SECTOR: usize = 512;
/// Without end, as far as a test goes.
pub const FOR_EVER: i64 = i64::MAX;

/// The numbers in the control file, as `enum control` has them.
#[derive(Clone, Copy)]
enum Control {
    SyncsBefore,
    SyncsFailing,
    WritesBefore,
    WritesFailing,
    IsLimited,
    BytesFree,
    Faulty,
    FailedAt,
    Count,
}

/// A file that can fail, as `enum faulty` has them.
#[derive(Clone, Copy)]
pub enum Faulty {
    Log = 1,
    LogWal = 2,
    Inbox = 4,
    InboxWal = 8,
}

/// The disk of a world.
pub struct Disk {
    data: PathBuf,
    journal: PathBuf,
    control: File,
}

/// A write or a truncation that was not durable.
struct Record {
    is_write: bool,
    offset: u64,
    old: Vec<u8>,
    new: Vec<u8>,
    old_size: u64,
}

/// What a power failure did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Undone {
    /// Writes to the log that are gone.
    pub of_log: usize,
    /// Writes to any other file that are gone.
    pub of_views: usize,
    /// Creations, removals and renamings that are gone.
    pub of_names: usize,
}

impl std::ops::AddAssign for Undone {
    fn add_assign(&mut self, more: Self) {
        self.of_log += more.of_log;
        self.of_views += more.of_views;
        self.of_names += more.of_names;
    }
}

/// Chance that can be repeated: SplitMix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// The library, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/disk/faults.c");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
        let library = built.with_file_name("faults.so");
        let flags = ["-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o"];
        let mut compiler = std::process::Command::new("cc");
        let compiled = compiler.args(flags).arg(&built).args([source, "-ldl", "-lpthread"]).status();
        assert!(
            compiled.expect("there is a C compiler: test.sh installs one").success(),
            "{source} compiles"
        );
        std::fs::rename(&built, &library).expect("it is put in place"); // for two that test at once
        library
    })
}

impl Disk {
    /// A server with a configuration file, on a disk that fails when it is told to. With `durable_only`, what is not
    /// durable can be taken back.
    pub async fn world(toml: &str, durable_only: bool) -> (World, Self) {
        let mut world = World::prepared(toml);
        let root = world.directory.path();
        let (journal, control) = (root.join("journal"), root.join("control"));
        std::fs::create_dir(&journal).expect("a directory");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&control);
        let disk = Self { data: world.data(), journal, control: file.expect("a file") };
        disk.control.set_len(8 * Control::Count as u64).expect("a file of zeros");
        let mut environment = vec![
            ("LD_PRELOAD", library().to_owned()),
            ("DISK_DIRECTORY", disk.data.clone()),
            ("DISK_CONTROL", control),
        ];
        if durable_only {
            environment.push(("DISK_JOURNAL", disk.journal.clone()));
        }
        world.environment = environment;
        world.resume().await;
        (world, disk)
    }

    fn set(&self, control: Control, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), 8 * control as u64).expect("the control file");
    }

    fn get(&self, control: Control) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * control as u64).expect("the control file");
        i64::from_ne_bytes(bytes)
    }

    /// So many syncs fail, after so many that do not.
    pub fn fail_syncs(&self, of: &[Faulty], after: i64, count: i64) {
        self.set(Control::Faulty, of.iter().map(|file| *file as i64).sum());
        self.set(Control::SyncsBefore, after);
        self.set(Control::SyncsFailing, count);
    }

    /// So many writes fail, after so many that do not.
    pub fn fail_writes(&self, of: &[Faulty], after: i64, count: i64) {
        self.set(Control::Faulty, of.iter().map(|file| *file as i64).sum());
        self.set(Control::WritesBefore, after);
        self.set(Control::WritesFailing, count);
    }

    /// How long ago something failed first; `None` when nothing has.
    pub fn failed_ago(&self) -> Option<Duration> {
        let failed_at = u64::try_from(self.get(Control::FailedAt)).ok().filter(|at| *at > 0)?;
        (UNIX_EPOCH + Duration::from_nanos(failed_at)).elapsed().ok()
    }

    /// Everything works again, and nothing has ever failed.
    pub fn heal(&self) {
        for control in [Control::SyncsFailing, Control::WritesFailing, Control::IsLimited, Control::FailedAt]
        {
            self.set(control, 0);
        }
    }

    /// From now on the disk takes so many bytes more.
    pub fn limit(&self, bytes: i64) {
        self.set(Control::BytesFree, bytes);
        self.set(Control::IsLimited, 1);
    }

    /// The same for some files only.
    pub fn limit_of(&self, of: &[Faulty], bytes: i64) {
        self.set(Control::Faulty, of.iter().map(|file| *file as i64).sum());
        self.limit(bytes);
    }

    /// Bytes that it still takes.
    pub fn free(&self) -> i64 {
        self.get(Control::BytesFree)
    }

    /// Makes what a kill left what a power failure leaves: what was not synced is gone, all of it, or with `chance` all
    /// but some: what came first, one write in part, and others out of order.
    pub fn lose_power(&self, mut chance: Option<&mut Chance>) -> Undone {
        let mut undone = Undone::default();
        let paths = self.files_by_inode();
        for (inode, journal) in self.journals("writes") {
            let Some(path) = paths.get(&inode) else { continue }; // it is gone for good
            let records = Record::parse(&std::fs::read(&journal).expect("a journal"));
            let count = undo_writes(path, &records, chance.as_deref_mut());
            let is_log = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.db"));
            *(if is_log { &mut undone.of_log } else { &mut undone.of_views }) += count;
        }
        for (_, journal) in self.journals("names") {
            let text = std::fs::read_to_string(journal).expect("a journal");
            undone.of_names += undo_names(&text, chance.as_deref_mut());
        }
        for entry in std::fs::read_dir(&self.journal).expect("a directory") {
            std::fs::remove_file(entry.expect("a file").path()).expect("it is removed");
        }
        undone
    }

    /// Where each file is, also those that were removed and are only kept.
    fn files_by_inode(&self) -> BTreeMap<u64, PathBuf> {
        let mut paths = BTreeMap::new();
        let mut directories = vec![self.journal.clone(), self.data.clone()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).expect("a directory") {
                let entry = entry.expect("an entry");
                let metadata = entry.metadata().expect("it is there");
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else {
                    paths.insert(metadata.ino(), entry.path());
                }
            }
        }
        paths
    }

    fn journals(&self, suffix: &str) -> Vec<(u64, PathBuf)> {
        let entries = std::fs::read_dir(&self.journal).expect("a directory");
        let journal = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.expect("an entry").path();
            let inode = path.file_stem()?.to_str()?.parse().ok()?;
            (path.extension()? == suffix).then_some((inode, path))
        };
        let mut journals: Vec<_> = entries.filter_map(journal).collect();
        journals.sort_unstable();
        journals
    }
}

impl Record {
    /// The records of a journal. The kill may have cut the last one short; its write was not made.
    fn parse(bytes: &[u8]) -> Vec<Self> {
        let mut records = Vec::new();
        let mut rest = bytes;
        while let Some((header, after)) = rest.split_at_checked(40) {
            let mut numbers = header.chunks_exact(8);
            let mut number = || {
                let chunk = numbers.next().expect("five numbers");
                u64::from_ne_bytes(chunk.try_into().expect("eight bytes"))
            };
            let (kind, offset, old, new, old_size) = (number(), number(), number(), number(), number());
            let Some((old, after)) = after.split_at_checked(old as usize) else { break };
            let Some((new, after)) = after.split_at_checked(new as usize) else { break };
            let (old, new) = (old.to_vec(), new.to_vec());
            records.push(Self { is_write: kind == 1, offset, old, new, old_size });
            rest = after;
        }
        records
    }

    fn undo(&self, file: &File) {
        file.set_len(self.old_size).expect("a length");
        file.write_all_at(&self.old, self.offset).expect("a write");
    }

    fn redo(&self, file: &File) {
        if self.is_write {
            file.write_all_at(&self.new, self.offset).expect("a write");
        } else {
            file.set_len(self.offset).expect("a length");
        }
    }

    /// Some of its sectors, as they lie on the disk.
    fn tear(&self, file: &File, chance: &mut Chance) {
        let (mut at, end) = (self.offset as usize, self.offset as usize + self.new.len());
        while at < end {
            let next = ((at / SECTOR + 1) * SECTOR).min(end);
            if chance.coin() {
                let from = at - self.offset as usize;
                file.write_all_at(&self.new[from..from + next - at], at as u64).expect("a write");
            }
            at = next;
        }
    }
}

/// How many writes are gone.
fn undo_writes(path: &Path, records: &[Record], chance: Option<&mut Chance>) -> usize {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    records.iter().rev().for_each(|record| record.undo(&file));
    let Some(chance) = chance else { return records.len() };
    let first_lost = chance.below(records.len() + 1);
    let mut kept = first_lost;
    for (index, record) in records.iter().enumerate() {
        if index < first_lost {
            record.redo(&file);
        } else if index == first_lost {
            record.tear(&file, chance);
        } else if chance.below(4) == 0 {
            record.redo(&file);
            kept += 1;
        }
    }
    records.len() - kept
}

/// How many changes of a directory are gone. A file system keeps them in order.
fn undo_names(journal: &str, chance: Option<&mut Chance>) -> usize {
    let lines: Vec<&str> = journal.lines().collect();
    let kept = chance.map_or(0, |chance| chance.below(lines.len() + 1));
    for line in lines[kept..].iter().rev() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [what, from, to, saved] = fields[..] else { continue };
        let undone = match what {
            "created" => std::fs::remove_file(from),
            "removed" => std::fs::rename(saved, from),
            _ => std::fs::rename(to, from).and_then(|()| match saved {
                "-" => Ok(()),
                saved => std::fs::rename(saved, to),
            }),
        };
        // The kill may have come between the journal and what it says, which was then not done.
        drop(undone);
    }
    lines.len() - kept
}
