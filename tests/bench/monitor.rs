//! What watching costs: `monitor` on the example while requests come in, and while its logs grow by 500 lines a second.
//! Processor time and memory are the kernel's own count of the process.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::process::{self, bounded};
use super::stage::Stage;
use super::table::Table;

const PROGRAM: &str = env!("CARGO_BIN_EXE_viatique-deploy");
/// What the watch begins with (the logs of before) is left away, in seconds.
const BEGINNING: f64 = 10.0;
/// Half of the lines: requests of pages that are always others, as the example's nginx writes them.
const REQUESTS: &str = r#"
i=0
while [ $i -lt LINES ]; do
    n=0
    while [ $n -lt 25 ]; do
        i=$((i + 1)); n=$((n + 1))
        echo "10.0.0.9 \"GET /page$(printf %x $i | tr 0-9 g-p)/$i/ HTTP/1.1\" 200 12 0.0$((i % 90 + 10)) s upstream=10.0.0.2:80 200 0.010"
    done
    sleep 0.09
done > /proc/1/fd/1
"#;
/// The other half: errors whose words are always others, with numbers in them.
const ERRORS: &str = r#"
import sys, time
with open("/proc/1/fd/2", "w") as log:
    begun = time.monotonic()
    for i in range(1, LINES):
        word = "".join(chr(97 + int(digit)) for digit in str(i // 3))
        log.write("2026-01-01 06:00:00,000 ERROR app: %s number %d of pupil%d@example.com\n" % (word, i, i))
        if i % 25 == 0:
            log.flush()
            time.sleep(max(0.0, begun + i / 250 - time.monotonic()))
"#;

/// Watches for so many seconds under each load.
pub(crate) fn run(seconds: u64, say: &dyn Fn(&str)) -> Result<Table> {
    let stage = Stage::new(false)?;
    say("deploying the example");
    let deployed = process::run(
        stage.command(PROGRAM, "v1").args(["run", "--tag", "v1", "--yes"]),
        |_| {},
    )?;
    deployed.expect(0, "run")?;
    let mut table = Table::new(&[
        "",
        "cpu % of a core",
        "memory MiB",
        "after half",
        "at the end",
        "most",
    ]);
    say(&format!("watching for {seconds} s, 20 requests/s"));
    let visitors = Visitors::start(stage.port);
    let visited = watch(&stage, seconds)?;
    visitors.stop();
    let visited = visited.row("20 requests/s");
    say(&visited.join(", "));
    table.row(visited);
    // The flood's errors are new ones, which would end the watch at once.
    stage.replace("deploy.yml", "  for: 30s\n", "  for: 30s\n  new_errors: warn\n")?;
    say(&format!("watching for {seconds} s, 500 lines/s in its logs"));
    let floods = flood(&stage.project, seconds)?;
    let flooded = watch(&stage, seconds)?;
    for mut flood in floods {
        flood.wait()?;
    }
    table.row(flooded.row("500 lines/s"));
    Ok(table)
}

/// Twenty requests a second, one after the other.
struct Visitors {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Visitors {
    fn start(port: u16) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let thread = thread::spawn(move || {
            let began = Instant::now();
            for number in 0_u32.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let page = ["/health/", "/", "/admin/login/", "/api/session/"][number as usize % 4];
                // One that fails is the example's affair.
                let _ = visit(port, page);
                let due = Duration::from_millis(50) * number;
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
        });
        Self { enough, thread }
    }

    fn stop(self) {
        self.enough.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

fn visit(port: u16, page: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!("GET {page} HTTP/1.1\r\nHost: viatique.example.com\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.read_to_end(&mut Vec::new()).map(|_| ())
}

/// Writes to the logs of nginx and of the backend for so long.
fn flood(project: &str, seconds: u64) -> Result<[Child; 2]> {
    let lines = (250 * seconds).to_string();
    let started = |service: &str, words: [&str; 3]| {
        let container = format!("{project}-{service}-1");
        bounded("docker")
            .args(["exec", &container])
            .args(words)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("flooding the log of {container}"))
    };
    Ok([
        started("nginx", ["sh", "-c", &REQUESTS.replace("LINES", &lines)])?,
        started("backend", ["python3", "-c", &ERRORS.replace("LINES", &lines)])?,
    ])
}

/// One look at the process, at each look that it took itself.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Of its watch.
    elapsed: f64,
    at: Instant,
    /// Seconds.
    processor: f64,
    /// Kibibytes.
    memory: u64,
    most: u64,
}

struct Watched(Vec<Look>);

impl Watched {
    fn row(&self, what: &str) -> Vec<String> {
        let of = |position: usize| self.0.get(position.min(self.0.len() - 1));
        let mebibytes = |look: Option<&Look>| {
            look.map_or_else(
                || "-".to_owned(),
                |look| format!("{:.1}", look.memory as f64 / 1024.0),
            )
        };
        let settled = self
            .0
            .iter()
            .position(|look| look.elapsed >= BEGINNING)
            .unwrap_or_default();
        let (first, last) = (of(settled), of(self.0.len() - 1));
        let share = first.zip(last).map(|(first, last)| {
            let passed = last.at.duration_since(first.at).as_secs_f64();
            100.0 * (last.processor - first.processor) / passed
        });
        vec![
            what.to_owned(),
            share.map_or_else(|| "-".to_owned(), |share| format!("{share:.2}")),
            mebibytes(first),
            mebibytes(of(self.0.len() / 2)),
            mebibytes(last),
            last.map_or_else(
                || "-".to_owned(),
                |look| format!("{:.1}", look.most as f64 / 1024.0),
            ),
        ]
    }
}

fn watch(stage: &Stage, seconds: u64) -> Result<Watched> {
    let mut looks = Vec::new();
    let mut command = stage.command("timeout", "v1");
    command.args([
        "900",
        PROGRAM,
        "monitor",
        "--output",
        "json",
        "--for",
        &format!("{seconds}s"),
    ]);
    let ended = process::run(&mut command, |line| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        if event["event"] == "measured"
            && let Some((processor, memory, most)) = counted()
        {
            looks.push(Look {
                elapsed: event["elapsed"].as_f64().unwrap_or_default(),
                at: Instant::now(),
                processor,
                memory,
                most,
            });
        }
    })?;
    ended.expect(0, "monitor")?;
    ensure!(
        looks.len() > 2,
        "monitor took {} looks in {seconds} s",
        looks.len()
    );
    Ok(Watched(looks))
}

/// What the kernel counts of our process: seconds of processor, kibibytes now, and at most.
fn counted() -> Option<(f64, u64, u64)> {
    /// Clock ticks a second: the same on every Linux that Docker runs on.
    const TICKS: f64 = 100.0;
    let mut processes = fs::read_dir("/proc").ok()?.flatten();
    let ours = processes.find(|process| {
        let program = fs::read_link(process.path().join("exe"));
        program.is_ok_and(|program| program == Path::new(PROGRAM))
    })?;
    let stat = fs::read_to_string(ours.path().join("stat")).ok()?;
    // Behind the name, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |position: usize| fields.get(position)?.parse::<f64>().ok();
    let status = fs::read_to_string(ours.path().join("status")).ok()?;
    let kibibytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some((
        (ticks(11)? + ticks(12)?) / TICKS,
        kibibytes("VmRSS:")?,
        kibibytes("VmHWM:")?,
    ))
}
