//! What of a build context is sent.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use viatique_deploy::compose::Build;
use viatique_deploy::engine::build_context::{BuildContext, Counted, IgnorePatterns};

use crate::contract::specs::build_of;

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn sent(build: &Build) -> Vec<String> {
    let context = BuildContext::collect(build).unwrap();
    context
        .paths()
        .iter()
        .map(|path| path.display().to_string())
        .collect()
}

#[test]
fn patterns_mean_what_the_docker_builder_means() {
    // Pattern lines, then paths that stay behind, then paths that are sent.
    let table: &[(&str, &[&str], &[&str])] = &[
        ("*.log", &["a.log"], &["sub/a.log", "a.logs"]),
        ("**/*.log", &["a.log", "sub/a.log", "a/b/c.log"], &["a.txt"]),
        (
            "node_modules",
            &["node_modules", "node_modules/x/y"],
            &["sub/node_modules", "node_modules2"],
        ),
        ("/build", &["build", "build/x"], &["sub/build"]),
        ("build/", &["build", "build/x"], &[]),
        ("docs\n!docs/keep.md", &["docs", "docs/a.md"], &["docs/keep.md"]),
        (
            "docs\n!docs/keep\ndocs/keep/not",
            &["docs/a", "docs/keep/not"],
            &["docs/keep/b"],
        ),
        ("*\n!src", &["a", "b/c"], &["src", "src/a/b"]),
        ("*\n!**/*.py", &["a.txt", "a"], &["a.py", "a/b.py"]),
        ("!a\na", &["a"], &[]),
        (
            "# a comment\n\n  spaced  \n#b",
            &["spaced"],
            &["# a comment", "#b"],
        ),
        (" #hash", &["#hash"], &[]),
        ("a?c", &["abc"], &["ac", "a/c"]),
        ("[a-c]x", &["ax", "cx"], &["dx"]),
        ("[^a]x", &["bx"], &["ax"]),
        (r"\*", &["*"], &["a"]),
        ("a/**", &["a/b", "a/b/c"], &["a", "b"]),
        ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["az", "a/zz"]),
        ("**", &["a", "a/b"], &[]),
        ("**/tmp", &["tmp", "a/tmp", "a/tmp/b"], &["atmp"]),
        ("./a/../b", &["b", "b/c"], &["a"]),
        ("a+(b)|c", &["a+(b)|c"], &["aab"]),
        (".git", &[".git", ".git/config"], &[".gitignore"]),
        ("\u{feff}a", &["a"], &[]),
        ("a\r\nb\r\n", &["a", "b"], &[]),
        (".", &[], &["a"]),
        ("/", &[], &["a"]),
        ("*/x", &["a/x", "b/x/y"], &["x", "a/b/x"]),
    ];
    for (lines, behind, sent) in table {
        let patterns = IgnorePatterns::parse(lines).unwrap();
        for path in *behind {
            assert!(patterns.excludes(path), "{lines:?} leaves {path} behind");
        }
        for path in *sent {
            assert!(!patterns.excludes(path), "{lines:?} sends {path}");
        }
    }
}

#[test]
fn a_pattern_that_means_nothing_is_named() {
    for lines in ["a\n!", "a\n[b", "a\n[]", "a\n[b-]", "a\nb\\"] {
        let error = IgnorePatterns::parse(lines).unwrap_err();
        assert_eq!(error.line, 2, "{lines:?}");
    }
}

#[test]
fn a_pathological_pattern_takes_no_time() {
    let patterns = IgnorePatterns::parse(&format!("{}b", "*a".repeat(50))).unwrap();
    assert!(!patterns.excludes(&"a".repeat(5000)));
}

#[test]
fn the_builders_own_files_are_sent_always() {
    let folder = folder_with(&[
        ("Dockerfile", "FROM x"),
        (".dockerignore", "*\n!src"),
        ("src/a", ""),
        ("b", ""),
    ]);
    assert_eq!(
        sent(&build_of(folder.path())),
        [".dockerignore", "Dockerfile", "src", "src/a"]
    );
}

#[test]
fn what_is_taken_back_is_found_below_what_stays_behind() {
    let folder = folder_with(&[
        ("Dockerfile", ""),
        (".dockerignore", "docs\n!docs/deep/keep.md\nother\n!**/keep.me"),
        ("docs/deep/keep.md", ""),
        ("docs/deep/drop.md", ""),
        ("other/a/keep.me", ""),
        ("other/a/drop", ""),
    ]);
    let paths = sent(&build_of(folder.path()));
    assert_eq!(
        paths,
        [
            ".dockerignore",
            "Dockerfile",
            "docs/deep/keep.md",
            "other/a/keep.me"
        ]
    );
}

#[test]
fn the_dockerfiles_own_ignore_file_stands_over_the_contexts() {
    let folder = folder_with(&[
        ("docker/web", "FROM x"),
        ("docker/web.dockerignore", "a"),
        (".dockerignore", "b"),
        ("a", ""),
        ("b", ""),
    ]);
    let mut build = build_of(folder.path());
    build.dockerfile = Some(folder.path().join("docker/web"));
    assert_eq!(
        sent(&build),
        [
            ".dockerignore",
            "b",
            "docker",
            "docker/web",
            "docker/web.dockerignore"
        ]
    );
    assert_eq!(BuildContext::collect(&build).unwrap().dockerfile(), "docker/web");
}

/// Kind, mode, and content or target.
type Entry = (tar::EntryType, u32, String);

fn archive(build: &Build) -> (Vec<u8>, BTreeMap<String, Entry>) {
    let context = BuildContext::collect(build).unwrap();
    let mut bytes = Vec::new();
    let counted = Counted::default();
    context.write_archive(&mut bytes, &counted).unwrap();
    let mut found = BTreeMap::new();
    let mut content_length = 0;
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!(
            (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
            (0, 0)
        );
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        content_length += content.len() as u64;
        let link = entry
            .link_name()
            .unwrap()
            .map(|target| target.display().to_string());
        let shown = entry.path().unwrap().display().to_string();
        let kind = entry.header().entry_type();
        found.insert(
            shown,
            (kind, entry.header().mode().unwrap(), link.unwrap_or(content)),
        );
    }
    assert_eq!(counted.so_far().1, content_length);
    (bytes, found)
}

#[test]
fn an_archive_is_the_same_each_time_and_keeps_modes_and_links() {
    let folder = folder_with(&[("Dockerfile", "FROM x"), ("run.sh", "#!/bin/sh\n"), ("z/a", "1")]);
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    fs::create_dir(folder.path().join("d".repeat(120))).unwrap();
    fs::write(folder.path().join(&long), "long").unwrap();
    fs::set_permissions(folder.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    symlink("/outside/of/it", folder.path().join("link")).unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    let build = build_of(folder.path());
    let (bytes, found) = archive(&build);
    assert_eq!(archive(&build).0, bytes);
    assert_eq!(
        found["run.sh"],
        (tar::EntryType::Regular, 0o755, "#!/bin/sh\n".to_owned())
    );
    assert_eq!(found["link"].0, tar::EntryType::Symlink);
    assert_eq!(found["link"].2, "/outside/of/it");
    assert_eq!(found[&long].2, "long");
    assert_eq!(found["empty"].0, tar::EntryType::Directory);
    assert!(!found.contains_key("socket"));
}

#[test]
fn a_dockerfile_from_elsewhere_travels_along() {
    let folder = folder_with(&[("a", "")]);
    let elsewhere = folder_with(&[("web.Dockerfile", "FROM outside")]);
    let mut build = build_of(folder.path());
    build.dockerfile = Some(elsewhere.path().join("web.Dockerfile"));
    let context = BuildContext::collect(&build).unwrap();
    let (_, found) = archive(&build);
    assert_eq!(found[context.dockerfile()].2, "FROM outside");
    build.dockerfile = None;
    build.dockerfile_inline = Some("FROM inline".to_owned());
    let (_, found) = archive(&build);
    assert_eq!(found[context.dockerfile()].2, "FROM inline");
    // A link out of the context cannot be followed by the builder.
    symlink(
        elsewhere.path().join("web.Dockerfile"),
        folder.path().join("Dockerfile"),
    )
    .unwrap();
    let (_, found) = archive(&build_of(folder.path()));
    assert_eq!(found[context.dockerfile()].2, "FROM outside");
}

#[test]
fn what_cannot_be_sent_is_named() {
    let folder = folder_with(&[("a", "")]);
    let error = BuildContext::collect(&build_of(folder.path())).unwrap_err();
    assert!(error.to_string().contains("Dockerfile"), "{error}");
    let error = BuildContext::collect(&build_of(&folder.path().join("missing"))).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    fs::write(folder.path().join("Dockerfile"), "").unwrap();
    let context = BuildContext::collect(&build_of(folder.path())).unwrap();
    fs::remove_file(folder.path().join("a")).unwrap();
    let error = context
        .write_archive(&mut Vec::new(), &Counted::default())
        .unwrap_err();
    assert_eq!(error.path, folder.path().join("a"));
}
