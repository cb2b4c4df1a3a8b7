//! Who runs this, on which machine, as which process: for the lock and the records.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Read as _;

use crate::lock::Holder;
use crate::release::RunId;

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

fn user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .or_else(user_of_process)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// By the process's own user id, for a CI job whose environment names nobody.
fn user_of_process() -> Option<String> {
    let status = read("/proc/self/status")?;
    let id = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .next()?
        .to_owned();
    let users = read("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    Some(name.unwrap_or_else(|| format!("uid {id}")))
}

fn host_name() -> String {
    read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// `user@host`.
pub(super) fn deployed_by() -> String {
    format!("{}@{}", user(), host_name())
}

/// Equal only for processes that see each other's process ids: same machine, same start of it, same namespace.
fn process_space() -> String {
    let boot = read("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/pid")
        .ok()
        .map(|link| link.to_string_lossy().into_owned());
    match (boot, namespace) {
        (Some(boot), Some(namespace)) => format!("{boot} {namespace}"),
        (None, _) | (_, None) => "unknown".to_owned(),
    }
}

/// What this process says of itself when it takes the lock.
pub(super) fn holder(command: &str, run: &RunId, since: String) -> Holder {
    Holder {
        owner: user(),
        host: process_space(),
        host_name: host_name(),
        process: std::process::id(),
        command: command.to_owned(),
        run: run.to_string(),
        since,
    }
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// Where the machine gives none.
pub(super) fn random_bytes() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Random bits, from the seed that the standard library gives each hash map.
pub(super) fn random() -> u32 {
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    // Truncation is meant: any 32 bits will do.
    (hasher.finish() & 0xffff_ffff) as u32
}
