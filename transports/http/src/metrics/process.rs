//! What the system says of the process, under the names that every Prometheus client gives it. Where the system does not say,
//! nothing is shown.

use std::fmt::Result;

use super::Page;

pub(super) fn encode(page: &mut Page<'_>) -> Result {
    if let Some(seconds) = cpu_seconds() {
        page.seconds("process_cpu_seconds", "Time of processors that the process has used", seconds)?;
    }
    if let Some(bytes) = resident_bytes() {
        page.gauges("process_resident_memory_bytes", "Memory of the process", [(None, bytes)])?;
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        let help = "Files and sockets that the process has open";
        page.gauges("process_open_fds", help, [(None, files.count() as f64)])?;
    }
    Ok(())
}

/// Of user and system, from the fields 14 and 15 of proc_pid_stat(5). The second field, a name, may hold anything.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The second field of proc_pid_statm(5), in pages.
fn resident_bytes() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages as f64 * rustix::param::page_size() as f64)
}
