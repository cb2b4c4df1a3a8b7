//! What stands on the engine of one project, and the backups in its folder: taken before and after, and compared.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::docker::{docker, docker_bytes, filters};
use super::secrets::no_secret_in;

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) state: String,
    pub(crate) started: String,
    pub(crate) restarts: u64,
    pub(crate) service: Option<String>,
    pub(crate) release: Option<String>,
}

/// Everything of a project, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) containers: BTreeMap<String, Container>,
    /// With their ids.
    pub(crate) networks: BTreeMap<String, String>,
    /// With their labels, which name the run that made them. The time that the engine gives is their content's.
    pub(crate) volumes: BTreeMap<String, String>,
    /// By reference, with their ids.
    pub(crate) images: BTreeMap<String, String>,
    /// Every file of the ledger with what it holds.
    pub(crate) ledger: BTreeMap<String, String>,
    /// Every file of the backups with its length.
    pub(crate) backups: BTreeMap<String, u64>,
}

impl Snapshot {
    pub(super) fn take(project: &str, backups: &Path) -> Self {
        let containers = listed(project, &["ps", "--all", "--no-trunc"], "container");
        let containers = containers.iter().map(|found| (name(found), container(found)));
        let networks = listed(project, &["network", "ls", "--no-trunc"], "network");
        let networks = networks.iter().map(|found| (name(found), text(&found["Id"])));
        let volumes = listed(project, &["volume", "ls"], "volume");
        let volumes = volumes
            .iter()
            .map(|found| (name(found), found["Labels"].to_string()));
        let mut snapshot = Self {
            containers: containers.collect(),
            networks: networks.collect(),
            volumes: volumes.collect(),
            images: images(project),
            ledger: BTreeMap::new(),
            backups: BTreeMap::new(),
        };
        let ledger = format!("viatique-deploy-ledger-{project}");
        if snapshot.containers.contains_key(&ledger) {
            snapshot.ledger = ledger_files(&ledger);
        }
        backup_files(backups, backups, &mut snapshot.backups);
        no_secret_in("the ledger, a name or a label", &format!("{snapshot:?}"));
        snapshot
    }

    /// What serves and what it stands on, whenever it was started: not images, backups and records, which a run that
    /// failed may leave behind. A container that was put back may be a twin of the one that had served; one that no
    /// release replaces is the very same.
    pub(crate) fn standing(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let containers: BTreeMap<String, [Option<String>; 4]> = self
            .containers
            .iter()
            .map(|(name, container)| {
                let stays = matches!(
                    container.service.as_deref(),
                    None | Some("db" | "redis" | "nginx")
                );
                let seen = [
                    stays.then(|| container.id.clone()),
                    Some(container.image.clone()),
                    Some(container.state.clone()),
                    container.release.clone(),
                ];
                (name.clone(), seen)
            })
            .collect();
        (containers, self.networks.clone(), self.volumes.clone())
    }

    /// The only container of a service.
    #[track_caller]
    pub(crate) fn service(&self, service: &str) -> &Container {
        let found: Vec<&Container> = self
            .containers
            .values()
            .filter(|container| container.service.as_deref() == Some(service))
            .collect();
        assert_eq!(found.len(), 1, "{service}: {self:#?}");
        found[0]
    }

    /// Whether nothing of the project is on the engine.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty()
            && self.networks.is_empty()
            && self.volumes.is_empty()
            && self.images.is_empty()
            && self.backups.is_empty()
    }
}

/// Every object that a label or its name gives to the project, inspected.
fn listed(project: &str, list: &[&str], kind: &str) -> Vec<Value> {
    let mut ids: Vec<String> = filters(project)
        .iter()
        .flat_map(|filter| {
            let ids = docker([list, &["--quiet", "--filter", filter]].concat());
            ids.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
        })
        .collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() {
        return Vec::new();
    }
    let words = [kind, "inspect"].map(ToOwned::to_owned).into_iter().chain(ids);
    let found: Vec<Value> = serde_json::from_str(&docker(words)).unwrap();
    for one in &found {
        no_secret_in("a label", &one["Labels"].to_string());
    }
    found
}

fn container(found: &Value) -> Container {
    // A container's environment holds what it was given; everything else about it is for all to see.
    for shown in [
        &found["Config"]["Labels"],
        &found["Path"],
        &found["Args"],
        &found["Config"]["Cmd"],
    ] {
        no_secret_in("a label or the arguments of a container", &shown.to_string());
    }
    let label = |name: &str| found["Config"]["Labels"][name].as_str().map(ToOwned::to_owned);
    Container {
        id: text(&found["Id"]),
        image: text(&found["Image"]),
        state: text(&found["State"]["Status"]),
        started: text(&found["State"]["StartedAt"]),
        restarts: found["RestartCount"].as_u64().unwrap(),
        service: label("com.docker.compose.service"),
        release: label("viatique-deploy.release"),
    }
}

fn images(project: &str) -> BTreeMap<String, String> {
    let own = format!("reference={project}-*");
    let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
    let listed = docker(["images", "--no-trunc", "--filter", &own, "--format", format]);
    listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(reference, id)| (reference.to_owned(), id.to_owned()))
        .collect()
}

fn ledger_files(container: &str) -> BTreeMap<String, String> {
    let archive = docker_bytes(["cp", &format!("{container}:/data"), "-"]);
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = String::new();
        // No secret may hide in what is compressed.
        if path.ends_with(".gz") && entry.size() > 0 {
            let mut unpacked = flate2::read::GzDecoder::new(entry);
            unpacked.read_to_string(&mut content).unwrap();
        } else {
            entry.read_to_string(&mut content).unwrap();
        }
        files.insert(path, content);
    }
    files
}

fn backup_files(root: &Path, folder: &Path, files: &mut BTreeMap<String, u64>) {
    // No backup yet.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            backup_files(root, &path, files);
        } else {
            let shown = path.strip_prefix(root).unwrap().display().to_string();
            files.insert(shown, fs::metadata(&path).unwrap().len());
        }
    }
}

fn name(found: &Value) -> String {
    text(&found["Name"]).trim_start_matches('/').to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
