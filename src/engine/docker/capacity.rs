//! How much room the engine's host has, and how much its containers take. The engine tells its memory and where it
//! keeps its data; what is free is read here, on this machine, and only where this machine is the engine's host.

use std::time::Duration;

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse, SystemInfo};
use bollard::query_parameters::StatsOptions;
use futures_util::StreamExt;

use super::DockerEngine;
use super::environment::Transport;
use super::names::checked_name;
use crate::engine::{Capacity, ContainerId, NetworkUse, Result, Usage};

impl DockerEngine {
    pub(super) async fn ask_capacity(&self) -> Result<Capacity> {
        let answer = self
            .short(
                "asking for the capacity of",
                &self.endpoint.address,
                self.client.info(),
            )
            .await?;
        let memory = Memory::of_this_machine().await;
        let here = memory.filter(|memory| self.is_on_this_machine(&answer, memory));
        let data_root = answer.docker_root_dir.unwrap_or_default();
        let space = here.as_ref().and_then(|_| space(&data_root));
        Ok(Capacity {
            memory_total: answer
                .mem_total
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or_default(),
            memory_available: here.as_ref().and_then(|memory| memory.available),
            disk_available: space.map(|(free, _)| free),
            disk_total: space.map(|(_, total)| total),
            data_root,
        })
    }

    /// A socket may be forwarded from another host: what the engine says of its kernel, its name and its memory must
    /// be true of this machine, too. In a container the name differs, and nothing is known.
    fn is_on_this_machine(&self, engine: &SystemInfo, memory: &Memory) -> bool {
        let by_socket = match &self.endpoint.transport {
            Transport::Unix { .. } => true,
            Transport::Plain { .. } | Transport::Tls { .. } => false,
        };
        let machine = rustix::system::uname();
        by_socket
            && engine.name.as_deref() == machine.nodename().to_str().ok()
            && engine.kernel_version.as_deref() == machine.release().to_str().ok()
            && engine.mem_total.and_then(|bytes| u64::try_from(bytes).ok()) == Some(memory.total)
    }

    pub(super) async fn usage_of(&self, id: &ContainerId) -> Result<Option<Usage>> {
        let operation = "asking what is used by container";
        let name = checked_name(operation, &id.0)?;
        // Without `one_shot` the engine takes two samples, a second apart.
        let options = StatsOptions {
            stream: false,
            one_shot: true,
        };
        let mut answers = Box::pin(self.client.stats(name, Some(options)));
        let call = async {
            match answers.next().await {
                Some(answer) => answer.map(Some),
                None => Ok(None),
            }
        };
        let answer = self.short(operation, name, call).await?;
        Ok(answer.as_ref().and_then(usage))
    }
}

fn usage(stats: &ContainerStatsResponse) -> Option<Usage> {
    let memory = stats.memory_stats.as_ref()?;
    let nanoseconds = stats
        .cpu_stats
        .as_ref()
        .and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
    Some(Usage {
        memory: working_set(memory)?,
        memory_limit: memory.limit.filter(|bytes| *bytes > 0),
        processor: Duration::from_nanos(nanoseconds.unwrap_or_default()),
        network: stats.networks.as_ref().map(|networks| {
            networks
                .values()
                .fold(NetworkUse::default(), |all, one| NetworkUse {
                    received: all.received + one.rx_bytes.unwrap_or_default(),
                    sent: all.sent + one.tx_bytes.unwrap_or_default(),
                })
        }),
    })
}

/// What the `docker stats` command shows: the use without the inactive file cache, under the name that either
/// generation of control groups gives it. A container that does not run has no use.
fn working_set(stats: &ContainerMemoryStats) -> Option<u64> {
    let usage = stats.usage.filter(|bytes| *bytes > 0)?;
    let cache = stats.stats.as_ref().and_then(|fields| {
        fields
            .get("total_inactive_file")
            .or_else(|| fields.get("inactive_file"))
            .copied()
    });
    Some(usage.checked_sub(cache.unwrap_or_default()).unwrap_or(usage))
}

/// Bytes free for an unprivileged process where the folder is, and all of them; `None` where it is not seen from here.
fn space(folder: &str) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some((bytes(found.f_bavail), bytes(found.f_blocks)))
}

/// Bytes, from `/proc/meminfo`.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: Option<u64>,
}

impl Memory {
    async fn of_this_machine() -> Option<Self> {
        let text = tokio::fs::read_to_string("/proc/meminfo").await.ok()?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kilobytes * 1024)
        };
        Some(Self {
            total: field("MemTotal:")?,
            available: field("MemAvailable:"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn stats(usage: u64, fields: &[(&str, u64)]) -> ContainerMemoryStats {
        let fields: HashMap<String, u64> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        ContainerMemoryStats {
            usage: Some(usage),
            stats: Some(fields),
            ..ContainerMemoryStats::default()
        }
    }

    #[test]
    fn cache_that_can_be_dropped_is_no_use() {
        assert_eq!(working_set(&stats(100, &[("inactive_file", 40)])), Some(60));
        let first = [("total_inactive_file", 30), ("inactive_file", 10)];
        assert_eq!(working_set(&stats(100, &first)), Some(70));
        assert_eq!(working_set(&stats(100, &[("inactive_file", 400)])), Some(100));
        assert_eq!(working_set(&stats(0, &[])), None);
        assert_eq!(working_set(&ContainerMemoryStats::default()), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let memory = Memory::parse("MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:    8 kB\n");
        assert_eq!(
            memory,
            Some(Memory {
                total: 16 * 1024,
                available: Some(8 * 1024)
            })
        );
        assert_eq!(Memory::parse("MemFree: 1 kB"), None);
    }
}
