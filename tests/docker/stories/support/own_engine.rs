//! An engine of a story's own, whose daemon may be stopped and started: in a network namespace of its own, so that it
//! shares neither ports nor firewall rules with the machine's. Ends with the story, and with it all that ran on it.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::docker::text;

/// The engine.
pub(crate) struct OwnEngine {
    folder: TempDir,
    /// Keeps the network namespace while no daemon runs in it.
    namespace: Child,
    daemon: Child,
}

impl OwnEngine {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut namespace = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo up && exec sleep infinity",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        let stdout = namespace.stdout.as_mut().unwrap();
        std::io::Read::read_exact(stdout, &mut up).expect("a network namespace of its own, and iproute2");
        let engine = Self {
            daemon: daemon(&folder, &namespace, false),
            folder,
            namespace,
        };
        engine.wait_until_it_answers();
        engine
    }

    /// Stops the daemon and starts it again. With `live_restore` containers run on meanwhile, which the daemon must know
    /// since it was last started; without, it ends them and starts those again that have such a policy.
    pub(crate) fn restart(&mut self, live_restore: bool) {
        end(&mut self.daemon);
        self.daemon = daemon(&self.folder, &self.namespace, live_restore);
        self.wait_until_it_answers();
    }

    /// What `DOCKER_HOST` is to be.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A command in its network namespace, where its published ports are.
    pub(crate) fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        inside(&self.namespace, program)
    }

    /// Runs `docker` on it; its output, without the line's end.
    pub(crate) fn docker(&self, words: &[&str]) -> String {
        text(
            Command::new("docker")
                .args(["--host", &self.address()])
                .args(words),
        )
    }

    /// Brings images over from the machine's engine.
    pub(crate) fn load(&self, images: &[String]) {
        let mut save = Command::new("docker")
            .arg("save")
            .args(images)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let saved = save.stdout.take().unwrap();
        text(
            Command::new("docker")
                .args(["--host", &self.address(), "load"])
                .stdin(saved),
        );
        assert!(save.wait().unwrap().success());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let answers = || {
            let asked = Command::new("docker")
                .args(["--host", &self.address(), "version"])
                .output();
            asked.is_ok_and(|output| output.status.success())
        };
        while !answers() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "the engine does not answer:\n{}",
                log()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn inside(namespace: &Child, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{}/ns/net", namespace.id()))
        .arg(program);
    command
}

fn daemon(folder: &TempDir, namespace: &Child, live_restore: bool) -> Child {
    let below = |name: &str| folder.path().join(name).display().to_string();
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(below("log"))
        .unwrap();
    let storage = text(Command::new("docker").args(["info", "--format", "{{.Driver}}"]));
    let mut command = inside(namespace, "dockerd");
    command
        .args(["--data-root", &below("data"), "--exec-root", &below("exec")])
        .args([
            "--pidfile",
            &below("pid"),
            "--host",
            &format!("unix://{}", below("engine.sock")),
        ])
        // Without the machine's configuration, whatever stands there.
        .args([
            "--config-file",
            &below("daemon.json"),
            "--storage-driver",
            &storage,
        ]);
    fs::write(
        below("daemon.json"),
        format!("{{\"live-restore\":{live_restore}}}"),
    )
    .unwrap();
    // A containerd that runs for the machine's engine is shared; what is in it is not.
    command.args([
        "--containerd-namespace",
        "own",
        "--containerd-plugins-namespace",
        "own-plugins",
    ]);
    command
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// As a service manager does.
fn end(process: &mut Child) {
    let _ = Command::new("kill").arg(process.id().to_string()).status();
    let _ = process.wait();
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        // Nothing panics here: a second panic while one unwinds would end the other stories too.
        let address = self.address();
        let docker = |words: &[&str]| {
            let output = Command::new("docker")
                .args(["--host", &address])
                .args(words)
                .output();
            output
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default()
        };
        let all = docker(&["ps", "--all", "--quiet"]);
        for id in all.lines() {
            docker(&["rm", "--force", "--volumes", id]);
        }
        end(&mut self.daemon);
        end(&mut self.namespace);
    }
}
