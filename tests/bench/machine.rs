//! On what was measured, in one line: figures mean nothing without it.

use std::fs;

use super::process;

/// `2 cores, 24 GiB, Linux 6.1.0, Docker Engine 20.10.24`.
pub(crate) fn line() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: f64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let engine = process::text("docker", &["version", "--format", "{{.Server.Version}}"]);
    format!(
        "{cores} cores, {:.0} GiB, Linux {}, Docker Engine {}",
        kibibytes / 1024.0 / 1024.0,
        kernel.trim(),
        engine.unwrap_or_else(|_| "?".to_owned())
    )
}
