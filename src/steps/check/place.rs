//! Where in the Compose files something is written: file, line and the way to it. Says nothing of what it means.

use std::path::PathBuf;

use crate::compose::ServiceName;
use crate::pipeline::Settings;
use crate::yaml;

/// `docker-compose.yml:12: services.web.healthcheck.interval`: the file and line that has the most of the way to it;
/// of several files the last, which overrides the others.
pub(super) fn written_at(settings: &Settings, service: &ServiceName, key: &str) -> String {
    let way: Vec<&str> = ["services", service.as_str()]
        .into_iter()
        .chain(key.split('.').filter(|part| !part.is_empty()))
        .collect();
    let mut best: Option<(usize, &PathBuf, usize)> = None;
    for source in &settings.sources {
        let Ok(root) = yaml::parse(&source.text, 0) else {
            continue;
        };
        let mut node = &root;
        let mut line = root.mark.line;
        let mut depth = 0;
        for step in &way {
            let entry = node.as_mapping().and_then(|mapping| mapping.entries.get(*step));
            let Some(entry) = entry else { break };
            (node, line, depth) = (&entry.value, entry.key_mark.line, depth + 1);
        }
        if best.is_none_or(|(deepest, _, _)| depth >= deepest) {
            best = Some((depth, &source.path, line));
        }
    }
    let path = way.join(".");
    match best {
        Some((_, file, line)) => format!("{}:{line}: {path}", file.display()),
        None => path,
    }
}
