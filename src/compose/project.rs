//! The merged tree as a whole: its sections, which services take part, and their resolution.

use std::collections::BTreeMap;

use crate::yaml::{Node, nearest};

use super::model::{MountKind, Project, ServiceName, Volume};
use super::mounts::Files;
use super::networks;
use super::reader::At;
use super::scope::Scope;
use super::service::service;

/// Resolves the merged tree. What is wrong is in the scope; the result is then of no use.
pub(super) fn resolve(root: &Node, scope: &Scope<'_>) -> Option<Project> {
    let at = At {
        scope,
        node: root,
        path: String::new(),
    };
    let fields = at.fields()?;
    let request = scope.request;
    // Compose itself only warns of it.
    fields.ignore("version");
    if let Some(at) = fields.get("name")
        && let Some(name) = at.text()
        && name != request.project_name
    {
        at.refuse_with(
            format!(
                "the project is called `{name}` here and `{}` in deploy.yml",
                request.project_name
            ),
            "leave `name` out of the Compose file, or write the same one",
        );
    }
    let secrets = files(fields.get("secrets"), "secrets");
    let configs = files(fields.get("configs"), "configs");
    let mut networks = networks::declared(fields.get("networks"), &request.project_name);
    let volumes = volumes(fields.get("volumes"), &request.project_name);
    let mut services = BTreeMap::new();
    match fields.get("services") {
        Some(at) => {
            for (name, mark, at) in at.named() {
                match ServiceName::new(name) {
                    Err(error) => scope.report(mark, &at.path, error.to_string(), None),
                    Ok(_) if !takes_part(&at) => scope.forget_under(&at.path),
                    Ok(name) => {
                        if let Some(service) = service(&at, name.clone(), &secrets, &configs) {
                            services.insert(name, service);
                        }
                    }
                }
            }
            if services.is_empty() && !scope.has_errors() {
                at.refuse("no service takes part");
            }
        }
        None => at.refuse("no `services`"),
    }
    fields.finish(&[
        ("include", "name the file under `compose` in deploy.yml"),
        ("models", ""),
    ]);
    for service in services.values() {
        if service.networks.contains_key("default") {
            networks
                .entry("default".to_owned())
                .or_insert_with(|| networks::implicit("default", &request.project_name));
        }
    }
    Some(Project {
        name: request.project_name.clone(),
        directory: request.project_directory.clone(),
        files: request
            .sources
            .iter()
            .map(|source| request.project_directory.join(&source.path))
            .collect(),
        services,
        networks,
        volumes,
        env_files: scope.env_files(),
        interpolated_secrets: scope.secrets(),
    })
}

/// A service without `profiles` always takes part; others only if one of theirs is asked for.
fn takes_part(at: &At<'_>) -> bool {
    let Some(profiles) = at.node.as_mapping().and_then(|mapping| mapping.get("profiles")) else {
        return true;
    };
    if profiles.is_null() {
        return true;
    }
    let profiles = at.child("profiles", profiles).texts();
    let asked = &at.scope.request.profiles;
    profiles.is_empty() || asked.iter().any(|name| name == "*" || profiles.contains(name))
}

/// Reads the top-level `volumes`.
fn volumes(at: Option<At<'_>>, project: &str) -> BTreeMap<String, Volume> {
    let mut volumes = BTreeMap::new();
    for (key, _, at) in at.iter().flat_map(At::named) {
        let mut volume = Volume {
            key: key.to_owned(),
            name: format!("{project}_{key}"),
            external: false,
            driver: None,
            driver_opts: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        if !at.node.is_null()
            && let Some(fields) = at.fields()
        {
            let (external, external_name) = networks::external(&fields);
            volume.external = external;
            volume.name = match fields.text("name").or(external_name) {
                Some(name) => name,
                None if external => key.to_owned(),
                None => volume.name,
            };
            volume.driver = fields.text("driver");
            volume.driver_opts = fields.text_map("driver_opts");
            volume.labels = fields.text_map("labels");
            make_device_absolute(&mut volume, at.scope);
            fields.finish(&[]);
        }
        volumes.insert(key.to_owned(), volume);
    }
    volumes
}

/// A "local" volume that binds a folder of the host: its folder is a path like any other.
fn make_device_absolute(volume: &mut Volume, scope: &Scope<'_>) {
    let local = volume.driver.as_deref().is_none_or(|driver| driver == "local");
    let binds = volume
        .driver_opts
        .get("o")
        .is_some_and(|options| options.split(',').any(|option| option == "bind"));
    if local
        && binds
        && let Some(device) = volume.driver_opts.get_mut("device")
    {
        *device = scope.absolute(device).display().to_string();
    }
}

/// Reads the top-level `secrets` or `configs`: only those that are files on the host.
fn files(at: Option<At<'_>>, section: &str) -> Files {
    let mut files = Files::new();
    for (key, _, at) in at.iter().flat_map(At::named) {
        let Some(fields) = at.fields() else { continue };
        let file = fields.text("file");
        // A name on the engine has no meaning for a file.
        fields.ignore("name");
        let hint = "only files of the host are supported: `file: <path>`";
        let missing = file.is_none();
        // One that is refused below is there all the same: its users are not at fault.
        files.insert(
            key.to_owned(),
            at.scope.absolute(file.as_deref().unwrap_or_default()),
        );
        let others = ["external", "environment", "content"];
        let says_other = at
            .node
            .as_mapping()
            .is_some_and(|mapping| others.iter().any(|key| mapping.get(key).is_some()));
        fields.finish(&[
            ("external", hint),
            ("environment", hint),
            ("content", hint),
            ("driver", ""),
            ("driver_opts", ""),
            ("labels", ""),
            ("template_driver", ""),
        ]);
        if missing && !says_other {
            at.refuse_with(format!("missing key `file` in `{section}`"), hint);
        }
    }
    files
}

/// `; did you mean …?`, or nothing.
pub(super) fn suggestion<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, known)
        .map(|word| format!("; did you mean `{word}`?"))
        .unwrap_or_default()
}

/// The volume key that a mount names, if it names one.
pub(super) const fn volume_key(kind: &MountKind) -> Option<&String> {
    match kind {
        MountKind::Volume { key, .. } => Some(key),
        MountKind::AnonymousVolume | MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
    }
}
