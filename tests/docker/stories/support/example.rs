//! A copy of `examples/viatique` that a story may change: another project name, images and health address, and
//! whatever the story breaks in it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where the example's smoke test begins, the last section.
const SMOKE: &str = "# Played through nginx after each deploy";

/// The copy. Its folder goes when it is dropped.
pub(crate) struct Example {
    folder: TempDir,
    project: String,
    port: u16,
}

impl Example {
    /// Copies the example for this project and port.
    pub(super) fn copy(project: &str, port: u16) -> Self {
        let example = Self {
            folder: tempfile::tempdir().unwrap(),
            project: project.to_owned(),
            port,
        };
        example.mend();
        example
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of it.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    /// Changes a file; the change must change something.
    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&str) -> String) {
        let file = self.file(path);
        let before = fs::read_to_string(&file).unwrap();
        let after = change(&before);
        assert_ne!(before, after, "the story changes nothing in {path}");
        fs::write(file, after).unwrap();
    }

    /// Replaces a text that stands in a file exactly once.
    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) {
        self.edit(path, |text| {
            assert_eq!(text.matches(old).count(), 1, "`{old}` in {path}:\n{text}");
            text.replace(old, new)
        });
    }

    /// Adds to the end of a file, or makes it.
    pub(crate) fn append(&self, path: &str, text: &str) {
        let file = self.file(path);
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, before + text).unwrap();
    }

    /// Takes these services out of the Compose file.
    pub(crate) fn without(&self, services: &[&str]) {
        self.edit("docker-compose.prod.yml", |text| {
            let is_gone = |paragraph: &&str| {
                let mut lines = paragraph.lines();
                lines.any(|line| services.iter().any(|name| line == format!("  {name}:")))
            };
            let kept: Vec<&str> = text
                .split("\n\n")
                .filter(|paragraph| !is_gone(paragraph))
                .collect();
            kept.join("\n\n")
        });
    }

    /// With the example's smoke test, which other stories go without.
    pub(crate) fn with_smoke(&self) {
        let original = fs::read_to_string(original().join("deploy.yml")).unwrap();
        let (_, section) = original.split_once(SMOKE).unwrap();
        self.append("deploy.yml", &format!("{SMOKE}{section}"));
    }

    /// Makes it as it was copied: what was changed is mended, what was added is gone. Backups stay.
    pub(crate) fn mend(&self) {
        for entry in fs::read_dir(self.folder()).unwrap() {
            let entry = entry.unwrap();
            // nginx's configuration is mounted into a container as a folder, which must stay the same one.
            if entry.file_name() != "backups" && entry.file_name() != "nginx" {
                remove(&entry.path());
            }
        }
        copy_folder(&original(), self.folder());
        let images = format!("image: {}-", self.project);
        self.edit("docker-compose.prod.yml", |text| {
            text.replace("image: viatique-", &images)
        });
        let address = format!("http://127.0.0.1:{}/", self.port);
        self.replace("deploy.yml", "http://127.0.0.1:8080/", &address);
        self.edit("docker-compose.staging.yml", |text| {
            text.replace("image: viatique-", &images)
        });
        // A story of its own, which brings it back: most stories are quicker without, and some break what it plays with.
        self.edit("deploy.yml", |text| match text.split_once(SMOKE) {
            Some((before, _)) => before.to_owned(),
            None => text.to_owned(),
        });
        // A story of its own: it takes as long as a restore.
        self.replace("deploy.yml", ", rehearse: true", "");
        // Another one, which takes half a minute more.
        self.edit("deploy.yml", |text| {
            let (before, _) = text.split_once("# How a release is watched").unwrap();
            before.to_owned()
        });
        // The migrations that stories bring come without their models.
        let waiver = "    - { check: model-changes, reason: a story, owner: the story, until: 2099-12-31 }\n";
        self.replace("deploy.yml", "  waivers:\n", &format!("  waivers:\n{waiver}"));
        let project = format!("project: {}\n", self.project);
        self.replace("deploy.yml", "project: viatique\n", &project);
    }
}

fn original() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/viatique")
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// What a deploy and Python leave in the original stays there.
fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "backups" || name == "__pycache__" {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
