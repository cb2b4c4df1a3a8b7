//! How long a verified backup takes beside a bare `pg_dump -Fc` of the same database, and how long one of a media volume
//! takes of which nothing has changed; how long a restore refuses writes; what memory it takes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::process::{self, bounded};
use super::stage::Stage;
use super::statistics::median;
use super::table::Table;

const PROGRAM: &str = env!("CARGO_BIN_EXE_viatique-deploy");
/// Some 196 bytes each with what PostgreSQL puts around them, of which a good half can be compressed away.
const ROWS: &str = "SELECT g AS id, md5(g::text) || md5((g * 7)::text) AS a, repeat(md5((g / 50)::text), 3) AS b, \
                    now() AS c FROM generate_series(1, ROWS) g";
const BYTES_OF_A_ROW: usize = 196;
/// Of 5 to 45 kB, which no compression makes smaller, in 200 folders.
const FILES: &str = "
import os, random
for number in range(FILES):
    folder = '/srv/viatique/media/scans/%03d' % (number % 200)
    os.makedirs(folder, exist_ok=True)
    with open('%s/%06d' % (folder, number), 'wb') as file:
        file.write(os.urandom(random.randint(5000, 45000)))
";

/// Measures a database of so many megabytes and a volume of so many files, so many times; seconds.
pub(crate) fn run(megabytes: usize, files: usize, rounds: usize, say: &dyn Fn(&str)) -> Result<Table> {
    let stage = Stage::new(false)?;
    say("deploying the example");
    ours(&stage, &["run", "--tag", "v1", "--yes"])?;
    say(&format!("filling in {megabytes} MB of rows and {files} files"));
    let rows = megabytes * 1_000_000 / BYTES_OF_A_ROW;
    let rows = ROWS.replace("ROWS", &rows.to_string());
    let database = format!("{}-db-1", stage.project);
    let fill = format!("CREATE TABLE large AS {rows}; CREATE TABLE writes (at timestamptz); CHECKPOINT");
    for sql in fill.split("; ") {
        let psql = [
            "exec",
            &database,
            "psql",
            "-q",
            "-U",
            "viatique",
            "-d",
            "viatique_prod",
            "-c",
        ];
        process::text("docker", &[&psql[..], &[sql]].concat())?;
    }
    let backend = format!("{}-backend-1", stage.project);
    let script = FILES.replace("FILES", &files.to_string());
    process::text("docker", &["exec", &backend, "python3", "-c", &script])?;

    let mut times = Times::default();
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}"));
        times.bare.push(bare(&stage, &database)?);
        let backups = stage.file("backups");
        if backups.exists() {
            fs::remove_dir_all(&backups)?;
        }
        let first = backup(&stage)?;
        times.whole.push(first.seconds);
        times.database.push(first.of("database")?);
        times.first.push(first.of("media")?);
        let again = backup(&stage)?;
        times.again.push(again.of("media")?);
        times.memory = times.memory.max(first.memory).max(again.memory);
    }
    say("restoring while somebody writes");
    let writer = Writer::start(&backend)?;
    let restored = measured(
        &stage,
        &["backup", "restore", "--skip-backup", "--yes", "--accept-loss"],
    )?;
    times.refused = writer.stop()?;
    times.restore.push(restored.seconds);
    times.swap.push(restored.of("swap")?);
    times.memory = times.memory.max(restored.memory);
    Ok(times.table())
}

/// Writes row after row through Django, each on a connection of its own, until it is told to stop.
struct Writer<'a> {
    backend: &'a str,
    process: Child,
}

const WRITES: &str = "
import os, time
from django.db import connection
longest, last = 0.0, None
while not os.path.exists('/tmp/enough'):
    try:
        with connection.cursor() as cursor:
            cursor.execute('INSERT INTO writes VALUES (now())')
        now = time.monotonic()
        longest = max(longest, now - (last or now))
        last = now
    except Exception:
        pass
    connection.close()
print('longest', longest)
";

impl<'a> Writer<'a> {
    fn start(backend: &'a str) -> Result<Self> {
        let words = ["exec", backend, "python3", "manage.py", "shell", "-c", WRITES];
        let process = bounded("docker").args(words).stdout(Stdio::piped()).spawn()?;
        Ok(Self { backend, process })
    }

    /// The longest time between two rows, in seconds.
    fn stop(self) -> Result<f64> {
        process::text("docker", &["exec", self.backend, "touch", "/tmp/enough"])?;
        let ended = self.process.wait_with_output()?;
        let text = String::from_utf8_lossy(&ended.stdout);
        let longest = text.lines().find_map(|line| line.strip_prefix("longest "));
        longest
            .and_then(|seconds| seconds.parse().ok())
            .with_context(|| format!("the writer said: {text}"))
    }
}

#[derive(Default)]
struct Times {
    bare: Vec<f64>,
    whole: Vec<f64>,
    database: Vec<f64>,
    first: Vec<f64>,
    again: Vec<f64>,
    restore: Vec<f64>,
    swap: Vec<f64>,
    /// How long nobody could write, in seconds.
    refused: f64,
    /// Kibibytes.
    memory: u64,
}

impl Times {
    fn table(&self) -> Table {
        let mut table = Table::new(&["", "s", "ratio"]);
        let bare = median(&self.bare);
        let first = median(&self.first);
        for (what, times, beside) in [
            ("pg_dump -Fc > file", &self.bare, None),
            ("a whole backup, verified", &self.whole, bare),
            ("its database", &self.database, bare),
            ("its media, for the first time", &self.first, None),
            ("its media, unchanged", &self.again, first),
            ("a restore, counted", &self.restore, bare),
            ("its swap", &self.swap, None),
        ] {
            let time = median(times);
            let ratio = time.zip(beside).map(|(time, beside)| time / beside);
            let show =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            table.row(vec![what.to_owned(), show(time), show(ratio)]);
        }
        let refused = format!("{:.2}", self.refused);
        table.row(vec!["no write for so long".to_owned(), refused]);
        let memory = self.memory as f64 / 1024.0;
        table.row(vec!["the tool's memory, MiB".to_owned(), format!("{memory:.0}")]);
        table
    }
}

/// What a person would type who has no such tool.
fn bare(stage: &Stage, database: &str) -> Result<f64> {
    let path = stage.file("bare.dump");
    let file = File::create(&path)?;
    let began = Instant::now();
    let status = bounded("docker")
        .args([
            "exec",
            database,
            "pg_dump",
            "-Fc",
            "-U",
            "viatique",
            "-d",
            "viatique_prod",
        ])
        .stdout(file)
        .status()?;
    let took = began.elapsed().as_secs_f64();
    ensure!(status.success(), "pg_dump: {status}");
    fs::remove_file(path)?;
    Ok(took)
}

struct Backup {
    seconds: f64,
    events: Vec<Value>,
    memory: u64,
}

impl Backup {
    /// How long a task of it took.
    fn of(&self, task: &str) -> Result<f64> {
        let mut events = self.events.iter();
        let ended = events.find(|event| event["event"] == "task_finished" && event["task"] == task);
        let seconds = ended.and_then(|event| event["seconds"].as_f64());
        seconds.with_context(|| format!("the backup has no task {task}"))
    }
}

fn backup(stage: &Stage) -> Result<Backup> {
    measured(stage, &["backup"])
}

fn measured(stage: &Stage, words: &[&str]) -> Result<Backup> {
    let mut memory = 0;
    let mut events = Vec::new();
    let mut command = stage.command("timeout", "v1");
    command
        .args(["900", PROGRAM])
        .args(words)
        .args(["--output", "json"]);
    let began = Instant::now();
    let ended = process::run(&mut command, |line| {
        memory = memory.max(high_water_mark());
        events.extend(serde_json::from_str::<Value>(line));
    })?;
    let seconds = began.elapsed().as_secs_f64();
    ended.expect(0, &words.join(" "))?;
    Ok(Backup {
        seconds,
        events,
        memory,
    })
}

fn ours(stage: &Stage, words: &[&str]) -> Result<()> {
    let ended = process::run(stage.command(PROGRAM, "v1").args(words), |_| {})?;
    ended.expect(0, &words.join(" ")).map(|_| ())
}

/// The most memory that a running process of ours has held so far, in kibibytes, by the kernel's own count.
fn high_water_mark() -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = processes.filter(|process| {
        let program = fs::read_link(process.path().join("exe"));
        program.is_ok_and(|program| program == Path::new(PROGRAM))
    });
    let marks = ours.filter_map(|process| {
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    });
    marks.max().unwrap_or_default()
}
