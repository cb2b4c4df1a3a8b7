//! Whether files with secrets are, or ever were, in git. Which files those are stands in `deploy.yml` and in the Compose
//! files; what is in them is not read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::super::verdict::{Level, Problem, Verdict};
use super::{git, not_said};
use crate::git::Git;
use crate::pipeline::Settings;
use crate::yaml::{self, Node, Value};

pub(super) async fn in_git(settings: &Settings) -> Verdict {
    held_against_history(settings)
        .await
        .unwrap_or_else(|error| not_said(&error))
}

async fn held_against_history(settings: &Settings) -> Result<Verdict> {
    let top = git(settings)
        .says(&["rev-parse", "--show-toplevel", "--is-shallow-repository"], &[])
        .await?;
    let (top, shallow) = top
        .trim_end()
        .rsplit_once('\n')
        .ok_or_else(|| anyhow::anyhow!("git does not say where the work tree begins"))?;
    let top = Path::new(top);
    let files = files(settings);
    let below: BTreeSet<PathBuf> = files.iter().filter_map(|file| below(top, file)).collect();
    let below: Vec<PathBuf> = below.into_iter().collect();
    if below.is_empty() {
        return Ok(Verdict::Passed(format!(
            "{} files, none of them in the work tree",
            files.len()
        )));
    }
    let git = Git::at(top);
    let tracked = git
        .says(&["--literal-pathspecs", "ls-files", "-z"], &below)
        .await?;
    let tracked: BTreeSet<&str> = tracked.split('\0').collect();
    let mut problems = Vec::new();
    for path in &below {
        let name = path.display().to_string();
        let commits = git
            .says(
                &[
                    "--literal-pathspecs",
                    "log",
                    "--all",
                    "--full-history",
                    "--format=%h",
                ],
                std::slice::from_ref(path),
            )
            .await?;
        problems.extend(problem(
            &name,
            tracked.contains(name.as_str()),
            commits.lines().last(),
        ));
    }
    if shallow.trim() == "true" {
        problems.push(
            Problem::unverified("the checkout is shallow: what stood in git before it is not known")
                .key("shallow")
                // CI checks out one commit unless told otherwise; what that holds was looked at.
                .level(Level::Warns)
                .hint("git fetch --unshallow; in CI: fetch-depth: 0"),
        );
    }
    Ok(Verdict::of(
        problems,
        format!("{} files, none of them in git or its history", below.len()),
    ))
}

fn problem(name: &str, is_tracked: bool, first: Option<&str>) -> Option<Problem> {
    let (message, out) = match (is_tracked, first) {
        (false, None) => return None,
        (true, None) => ("is in git's index".to_owned(), true),
        (true, Some(commit)) => (
            format!("is in git, and stands in its history since {commit}"),
            true,
        ),
        (false, Some(commit)) => (
            format!("stands in git's history since {commit}, though it is in git no more"),
            false,
        ),
    };
    let mut problem = Problem::wrong(message).key(name).at(name);
    if first.is_some() {
        problem = problem.hint("what is in it is known to whoever has a clone: give out new secrets");
    }
    if out {
        problem = problem.hint(format!("git rm --cached {name}, and write it to .gitignore"));
    }
    Some(problem.hint("where there is no secret in it that is still good: checks.waivers"))
}

/// From the top of the work tree; `None` where it is not in it. A link is where it leads: of itself it holds nothing.
fn below(top: &Path, file: &Path) -> Option<PathBuf> {
    let real = std::fs::canonicalize(file).or_else(|_| {
        let folder = file.parent().unwrap_or(Path::new("."));
        let folder = std::fs::canonicalize(folder)?;
        Ok::<_, std::io::Error>(file.file_name().map_or(folder.clone(), |name| folder.join(name)))
    });
    Some(real.ok()?.strip_prefix(top).ok()?.to_owned())
}

/// Every file that may hold a secret.
fn files(settings: &Settings) -> BTreeSet<PathBuf> {
    let config = &settings.config;
    let here = config.directory();
    let mut files: BTreeSet<PathBuf> = config.env_files().into_iter().collect();
    files.extend(config.backup_identity());
    let credentials = config
        .backup
        .copies
        .iter()
        .filter_map(|copy| copy.credentials.as_ref());
    files.extend(credentials.map(|file| here.join(file)));
    for (number, source) in settings.sources.iter().enumerate() {
        // It was read before: one that is no YAML does not come so far.
        if let Ok(root) = yaml::parse(&source.text, number) {
            files.extend(
                written(&root)
                    .iter()
                    .map(|file| settings.project.directory.join(file)),
            );
        }
    }
    files
}

/// The services' `env_file` and the files of `secrets` in a Compose file, as written; those named by a variable are not
/// known here.
fn written(root: &Node) -> Vec<String> {
    let mut found = Vec::new();
    for service in values(root, "services") {
        match service.as_mapping().and_then(|service| service.get("env_file")) {
            Some(Node {
                value: Value::Sequence(entries),
                ..
            }) => entries.iter().for_each(|entry| found.extend(path(entry, "path"))),
            Some(entry) => found.extend(path(entry, "path")),
            None => {}
        }
    }
    for secret in values(root, "secrets") {
        found.extend(path(secret, "file").filter(|_| secret.as_mapping().is_some()));
    }
    found.retain(|path| !path.contains('$'));
    found
}

fn values<'a>(root: &'a Node, section: &str) -> Vec<&'a Node> {
    let section = root.as_mapping().and_then(|root| root.get(section));
    let entries = section.and_then(Node::as_mapping).map(|section| &section.entries);
    entries
        .into_iter()
        .flat_map(|entries| entries.values().map(|entry| &entry.value))
        .collect()
}

/// A text, or what stands under this key.
fn path(node: &Node, key: &str) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) => (!scalar.is_null()).then(|| scalar.text.clone()),
        Value::Mapping(mapping) => path(mapping.get(key)?, key),
        Value::Sequence(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_services_and_secrets_are_found_as_they_may_be_written() {
        let root = yaml::parse(
            "services:\n  a: { env_file: .one }\n  b: { env_file: [.two, { path: .three, required: false }] }\n  \
             c: { env_file: \"${OTHER}\" }\n  d: { image: x }\nsecrets:\n  key: { file: ./key.txt }\n  e: { external: true }\n",
            0,
        )
        .unwrap();
        assert_eq!(written(&root), [".one", ".two", ".three", "./key.txt"]);
    }
}
