//! The stage: a copy of `examples/viatique` under a project name, port and folder of its own, and the demo in it.

use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::clear::Cleared;
use super::process::{self, bounded};

/// Pupils to upload for, and copies to annotate: made by the application's own models.
const SEED: &str = r#"
import datetime, json
from accounts.models import User
from papers.models import Copy, Exam
date = datetime.date(2026, 1, 16)
teacher = User.objects.get(username="teacher")
pupils = User.objects.bulk_create(
    User(username=f"pupil{number}", password="!", role="pupil") for number in range(3000))
exam = Exam.objects.create(title="Annotated", held_on=date)
copies = Copy.objects.bulk_create(
    Copy(exam=exam, pupil=pupil, teacher=teacher, scan="scans/none.png") for pupil in pupils[:50])
exam = Exam.objects.create(title="Uploaded", held_on=date)
print(json.dumps({"exam": exam.pk, "copies": [c.pk for c in copies], "pupils": [p.pk for p in pupils]}))
"#;

/// The copy of the example. What was deployed from it, and its folder, go when it is dropped.
pub(crate) struct Stage {
    pub(crate) project: String,
    pub(crate) port: u16,
    /// Whether nginx hands a request on while its body comes in.
    unbuffered: bool,
    // In this order: the containers mount what is in the folder.
    _cleared: Cleared,
    folder: TempDir,
}

impl Stage {
    pub(crate) fn new(unbuffered: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("vdbench-").tempdir()?;
        let project = project_name();
        let stage = Self {
            port: free_port()?,
            unbuffered,
            _cleared: Cleared::at_the_end(&project, folder.path().to_owned()),
            project,
            folder,
        };
        stage.mend()?;
        Ok(stage)
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Puts every file of the example back as it was copied.
    pub(crate) fn mend(&self) -> Result<()> {
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/viatique");
        copy_folder(&original, self.folder.path())?;
        let project = &self.project;
        self.replace(
            "docker-compose.prod.yml",
            "image: viatique-",
            &format!("image: {project}-"),
        )?;
        self.replace(
            "deploy.yml",
            "project: viatique\n",
            &format!("project: {project}\n"),
        )?;
        self.replace(
            "deploy.yml",
            "127.0.0.1:8080",
            &format!("127.0.0.1:{}", self.port),
        )?;
        // What the script is held against does not rehearse.
        self.replace("deploy.yml", ", rehearse: true", "")?;
        // Nor does it play users.
        let file = self.file("deploy.yml");
        let text = fs::read_to_string(&file).context("reading deploy.yml")?;
        let (before, _) = text
            .split_once("\nsmoke:\n")
            .context("the example's deploy.yml no longer has `smoke`")?;
        fs::write(&file, format!("{before}\n")).context("writing deploy.yml")?;
        if self.unbuffered {
            let line = "    proxy_http_version 1.1;\n";
            let both = format!("{line}    proxy_request_buffering off;\n");
            self.replace("nginx/conf.d/viatique.conf", line, &both)?;
        }
        Ok(())
    }

    /// Replaces a text in a file, wherever it stands; it must stand there.
    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) -> Result<()> {
        let file = self.file(path);
        let text = fs::read_to_string(&file).with_context(|| format!("reading {path}"))?;
        ensure!(text.contains(old), "the example's {path} no longer has `{old}`");
        fs::write(&file, text.replace(old, new)).with_context(|| format!("writing {path}"))
    }

    /// A program in the copy's folder, for this release, with nothing else in its environment than what finds the
    /// engine and its plugins.
    pub(crate) fn command(&self, program: &str, tag: &str) -> Command {
        let mut command = bounded(program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("HTTP_PORT", self.port.to_string())
            .env("HEALTH_URL", format!("http://127.0.0.1:{}/health/", self.port))
            .env("RELEASE_TAG", tag)
            .env("COMPOSE_PROJECT_NAME", &self.project);
        for kept in ["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }

    /// Fills in the demo, and what the load writes to. Returns the numbers of what was made.
    pub(crate) fn seed(&self) -> Result<Value> {
        let listed = process::text(
            "docker",
            &[
                "ps",
                "--quiet",
                "--filter",
                &format!("label=com.docker.compose.project={}", self.project),
                "--filter",
                "label=com.docker.compose.service=backend",
            ],
        )?;
        let backend = listed.lines().next().context("no backend is running")?;
        let manage = ["exec", backend, "python3", "manage.py"];
        process::text("docker", &[&manage, &["seed_demo"][..]].concat())?;
        let printed = process::text("docker", &[&manage, &["shell", "-c", SEED][..]].concat())?;
        let last = printed.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("seeding printed:\n{printed}"))
    }
}

/// A project's name that no other benchmark uses.
pub(crate) fn project_name() -> String {
    let random = std::hash::RandomState::new().build_hasher().finish() & 0xff_ffff;
    format!("vdbench-{random:06x}")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What a deploy and Python leave in the original stays there.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "backups" || name == "__pycache__" {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if from.is_dir() {
            fs::create_dir_all(&to)?;
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
