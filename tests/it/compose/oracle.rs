//! Each case of tests/fixtures/compose, read by us and by Docker Compose (`regenerate` there made `expected.json`).

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use viatique_deploy::compose::{self, LoadRequest, Project};
use viatique_deploy::secret::Secret;

use super::normalisation::normalised;
use super::projection;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compose")
}

fn load(folder: &Path) -> Project {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("compose.") && name.ends_with(".yml") && name != "compose.yml"
        })
        .collect();
    files.sort();
    files.insert(0, folder.join("compose.yml"));
    let sources = compose::read_sources(&files)
        .unwrap()
        .into_iter()
        .map(|mut source| {
            source.path = Path::new("/project").join(source.path.file_name().unwrap());
            source
        })
        .collect();
    let mut variables = compose::read_variables(&[folder.join("variables.env")], []).unwrap();
    variables.insert("HOME".to_owned(), Secret::new("/home/deploy".to_owned()));
    let profiles = std::fs::read_to_string(folder.join("profiles")).unwrap_or_default();
    let read_file = |path: &Path| {
        let path = path
            .strip_prefix("/project")
            .map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        std::fs::read_to_string(folder.join(path))
    };
    compose::load(&LoadRequest {
        project_name: "project".to_owned(),
        project_directory: PathBuf::from("/project"),
        sources,
        variables,
        variable_places: Default::default(),
        public_variables: Default::default(),
        profiles: profiles.lines().map(str::to_owned).collect(),
        read_file: &read_file,
    })
    .unwrap_or_else(|errors| panic!("{}: {errors}", folder.display()))
}

#[test]
fn we_read_what_docker_compose_reads() {
    let mut cases = 0;
    let mut differences = Vec::new();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let case = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let project = load(&folder);
        let expected: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
        let services = expected["services"].as_object().unwrap();
        let ours: Vec<&str> = project.services.keys().map(|name| name.as_str()).collect();
        let theirs: Vec<&String> = services.keys().collect();
        assert_eq!(ours, theirs, "the services of {case}");
        for (name, service) in &project.services {
            let theirs = normalised(&services[name.as_str()]);
            compare(
                projection::service(service),
                theirs,
                &format!("{case}: services.{name}"),
                &mut differences,
            );
        }
        for (section, ours) in [
            ("networks", projection::networks(&project)),
            ("volumes", projection::volumes(&project)),
        ] {
            for (key, theirs) in expected[section].as_object().into_iter().flatten() {
                assert_eq!(ours[key], normalised(theirs), "{section}.{key} of {case}");
            }
        }
        cases += 1;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(cases >= 15, "only {cases} cases");
}

/// Notes each key whose value differs.
fn compare(ours: Value, theirs: Value, path: &str, differences: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(mut ours), Value::Object(theirs)) => {
            for (key, theirs) in theirs {
                let ours = ours.remove(&key).unwrap_or_default();
                compare(ours, theirs, &format!("{path}.{key}"), differences);
            }
            for (key, ours) in ours {
                compare(ours, Value::Null, &format!("{path}.{key}"), differences);
            }
        }
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => differences.push(format!("{path}: ours {ours}, theirs {theirs}")),
    }
}
