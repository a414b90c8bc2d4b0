//! What processes on this machine use: CPU, memory, open files. Linux says it in `/proc`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cli::Cores;

/// Files beside connections.
const OTHER_FILES: u64 = 64;

/// What some processes have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) memory_bytes: u64,
}

/// What these processes use; `None` when there are none.
pub(crate) fn usage(processes: &[i32]) -> Result<Option<Usage>> {
    let mut all = Usage::default();
    for pid in processes {
        let of = |error| format!("the process {pid} cannot be measured: {error}");
        let stat =
            std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| of(error.to_string()));
        all.cpu += cpu(&stat.map_err(anyhow::Error::msg)?).with_context(|| of("no times".to_owned()))?;
        all.memory_bytes += memory(*pid).with_context(|| of("no size".to_owned()))?;
    }
    Ok((!processes.is_empty()).then_some(all))
}

/// The user's and the system's time in a line of `/proc/PID/stat`, in ticks.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?; // a name may hold anything; the third field and on
    let mut ticks = fields.split_whitespace().skip(14 - 3).map(|field| field.parse::<u64>().ok());
    let ticks = ticks.next()?? + ticks.next()??;
    Some(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?)
}

fn memory(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// What this process has computed.
pub(crate) fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// What everything on this machine has computed, what the hypervisor took included: for what else is going on here.
pub(crate) fn busy() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let mut fields = stat.lines().next()?.split_whitespace().skip(1).map(|field| field.parse::<u64>().ok());
    let mut next = || fields.next().flatten();
    // user nice system idle iowait irq softirq steal
    let (user, nice, system, _, _, irq, soft, stolen) =
        (next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    let ticks = user + nice + system + irq + soft + stolen;
    Some(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?)
}

/// The cores that this process may use.
pub(crate) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None::<Pid>);
    allowed.map(|set| (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()).unwrap_or_default()
}

/// Keeps this process, and those it starts from now on, to some cores.
pub(crate) fn pin(cores: &Cores) -> Result<()> {
    let mut set = CpuSet::new();
    cores.0.iter().for_each(|core| set.set(*core));
    let of = || format!("cores {:?} cannot be used", cores.0);
    sched_setaffinity(None::<Pid>, &set).with_context(of)?;
    ensure!(sched_getaffinity(None::<Pid>).with_context(of)? == set, "{}: they are not all there", of());
    Ok(())
}

/// Lets the process have so many connections open.
pub(crate) fn allow_files(connections: u64) -> Result<()> {
    let wanted = connections + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|most| most >= wanted),
        "{wanted} files have to be open, and the system allows {}: raise it (ulimit -Hn) or open fewer --connections",
        maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .with_context(|| format!("{wanted} files have to be open: ulimit -n {wanted}"))
}
