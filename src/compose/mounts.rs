//! `volumes`, `tmpfs`, and the file-based `secrets` and `configs`: everything mounted into a container.

use std::collections::BTreeMap;

use crate::yaml::Value;

use super::model::{Mount, MountKind};
use super::reader::{At, Fields};

/// Files that the project declares under `secrets` or `configs`: where each lies on the host.
pub(super) type Files = BTreeMap<String, std::path::PathBuf>;

/// Reads everything that is mounted; a later mount of a path replaces an earlier one.
pub(super) fn mounts(fields: &Fields<'_>, secrets: &Files, configs: &Files) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut add = |mount: Mount| match mounts.iter_mut().find(|earlier| earlier.target == mount.target) {
        Some(earlier) => *earlier = mount,
        None => mounts.push(mount),
    };
    if let Some(at) = fields.get("volumes") {
        for at in at.items() {
            let mount = match &at.node.value {
                Value::Mapping(_) => long(&at),
                Value::Scalar(_) | Value::Sequence(_) => short(&at),
            };
            mount.into_iter().for_each(&mut add);
        }
    }
    if let Some(at) = fields.get("tmpfs") {
        for at in at.one_or_many() {
            tmpfs(&at).into_iter().for_each(&mut add);
        }
    }
    for (key, files, folder) in [("secrets", secrets, "/run/secrets/"), ("configs", configs, "/")] {
        if let Some(at) = fields.get(key) {
            for at in at.items() {
                file(&at, key, files, folder).into_iter().for_each(&mut add);
            }
        }
    }
    mounts
}

/// `[source:]target[:options]`.
fn short(at: &At<'_>) -> Option<Mount> {
    let text = at.text()?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, None),
        [source, target] => (Some(*source), *target, None),
        [source, target, options] => (Some(*source), *target, Some(*options)),
        _ => {
            at.expected("`source:target` or `source:target:options`");
            return None;
        }
    };
    let target = absolute_target(at, target)?;
    let mut mount = Mount {
        target,
        read_only: false,
        kind: match source {
            None => MountKind::AnonymousVolume,
            Some("") => {
                at.expected("`source:target`");
                return None;
            }
            Some(source) if is_path(source) => MountKind::Bind {
                source: at.scope.absolute(source),
                create_host_path: true,
                propagation: None,
                selinux: None,
            },
            Some(source) => MountKind::Volume {
                key: source.to_owned(),
                nocopy: false,
                subpath: None,
            },
        },
    };
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        if !apply(option, &mut mount) {
            at.refuse_with(
                format!("unknown mount option in {}", at.node.describe()),
                "options are `ro`, `rw`, `z`, `Z`, `nocopy` and the propagations `private`, `rprivate`, `shared`, \
                 `rshared`, `slave`, `rslave`",
            );
        }
    }
    Some(mount)
}

fn apply(option: &str, mount: &mut Mount) -> bool {
    match (option, &mut mount.kind) {
        ("ro", _) => mount.read_only = true,
        // The last three say how macOS may cache; they mean nothing on the engine's own host.
        ("rw" | "cached" | "delegated" | "consistent", _) => {}
        ("z" | "Z", MountKind::Bind { selinux, .. }) => *selinux = Some(option.to_owned()),
        // Compose takes these on volumes too and the engine then relabels nothing.
        ("z" | "Z", MountKind::Volume { .. }) => {}
        ("nocopy", MountKind::Volume { nocopy, .. }) => *nocopy = true,
        (
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave",
            MountKind::Bind { propagation, .. },
        ) => *propagation = Some(option.to_owned()),
        _ => return false,
    }
    true
}

/// Compose takes for a path what begins as one.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
}

fn absolute_target(at: &At<'_>, target: &str) -> Option<String> {
    if target.starts_with('/') {
        // The engine drops a slash at the end; so do we, so that two spellings are one target.
        let trimmed = target.trim_end_matches('/');
        return Some(if trimmed.is_empty() { "/" } else { trimmed }.to_owned());
    }
    at.refuse_with(
        "the path in the container is not absolute",
        "write a target that begins with `/`",
    );
    None
}

fn long(at: &At<'_>) -> Option<Mount> {
    let fields = at.fields()?;
    let kind_text = fields.text("type");
    let source = fields.text("source");
    let target_at = fields.get("target");
    let read_only = fields.flag("read_only");
    fields.ignore("consistency");
    let kind = match kind_text.as_deref() {
        Some("bind") => bind(at, &fields, source),
        Some("volume") => Some(volume(&fields, source)),
        Some("tmpfs") => Some(long_tmpfs(&fields)),
        Some(_) => {
            at.refuse_with("unknown type of mount", "types are `bind`, `volume` and `tmpfs`");
            None
        }
        None => {
            at.refuse("missing key `type`");
            None
        }
    };
    // Parts that belong to another type have no meaning here.
    fields.finish(&[
        ("bind", "`bind` goes with `type: bind`"),
        ("volume", "`volume` goes with `type: volume`"),
        ("tmpfs", "`tmpfs` goes with `type: tmpfs`"),
        ("image", ""),
    ]);
    let Some(target_at) = target_at else {
        at.refuse("missing key `target`");
        return None;
    };
    let target = absolute_target(&target_at, &target_at.text()?)?;
    Some(Mount {
        target,
        read_only,
        kind: kind?,
    })
}

/// Unlike the short form, this one does not make an empty folder of a source that is missing, unless told to; so
/// does Compose 2.40, whatever its handbook says.
fn bind(at: &At<'_>, fields: &Fields<'_>, source: Option<String>) -> Option<MountKind> {
    let mut create_host_path = false;
    let mut propagation = None;
    let mut selinux = None;
    if let Some(at) = fields.get("bind")
        && let Some(fields) = at.fields()
    {
        create_host_path = fields.flag("create_host_path");
        propagation = fields.text("propagation");
        selinux = fields.text("selinux");
        fields.finish(&[("recursive", "")]);
    }
    let Some(source) = source else {
        at.refuse("missing key `source`");
        return None;
    };
    Some(MountKind::Bind {
        source: at.scope.absolute(&source),
        create_host_path,
        propagation,
        selinux,
    })
}

fn volume(fields: &Fields<'_>, source: Option<String>) -> MountKind {
    let mut nocopy = false;
    let mut subpath = None;
    if let Some(at) = fields.get("volume")
        && let Some(fields) = at.fields()
    {
        nocopy = fields.flag("nocopy");
        subpath = fields.text("subpath");
        fields.finish(&[("labels", "")]);
    }
    match source {
        Some(key) => MountKind::Volume { key, nocopy, subpath },
        None => MountKind::AnonymousVolume,
    }
}

fn long_tmpfs(fields: &Fields<'_>) -> MountKind {
    let mut size = None;
    let mut mode = None;
    if let Some(at) = fields.get("tmpfs")
        && let Some(fields) = at.fields()
    {
        size = fields.bytes("size");
        mode = fields
            .get("mode")
            .and_then(|at| at.integer("a file mode such as `0o1777`"));
        fields.finish(&[]);
    }
    MountKind::Tmpfs {
        size,
        mode,
        options: Vec::new(),
    }
}

/// `/run:size=64m,mode=1777`.
fn tmpfs(at: &At<'_>) -> Option<Mount> {
    let text = at.text()?;
    let (target, options) = text.split_once(':').unwrap_or((&text, ""));
    let options = options
        .split(',')
        .filter(|option| !option.is_empty())
        .map(str::to_owned)
        .collect();
    Some(Mount {
        target: absolute_target(at, target)?,
        read_only: false,
        kind: MountKind::Tmpfs {
            size: None,
            mode: None,
            options,
        },
    })
}

/// One use of a secret or config: a read-only bind of its file.
fn file(at: &At<'_>, section: &str, files: &Files, folder: &str) -> Option<Mount> {
    let (source, target) = match &at.node.value {
        Value::Mapping(_) => {
            let fields = at.fields()?;
            let source = fields.text("source");
            let target = fields.text("target");
            fields.finish(&[
                ("uid", "a bind mount keeps the file's own owner"),
                ("gid", "a bind mount keeps the file's own group"),
                ("mode", "a bind mount keeps the file's own mode"),
            ]);
            if source.is_none() {
                at.refuse("missing key `source`");
            }
            (source?, target)
        }
        Value::Scalar(_) | Value::Sequence(_) => (at.text()?, None),
    };
    let Some(path) = files.get(&source) else {
        let suggestion = super::project::suggestion(&source, files.keys().map(String::as_str));
        at.refuse(format!("no `{source}` in the top-level `{section}`{suggestion}"));
        return None;
    };
    let target = match target {
        Some(target) if target.starts_with('/') => target,
        Some(target) => format!("{folder}{target}"),
        None => format!("{folder}{source}"),
    };
    Some(Mount {
        target,
        read_only: true,
        kind: MountKind::Bind {
            source: path.clone(),
            create_host_path: false,
            propagation: None,
            selinux: None,
        },
    })
}
