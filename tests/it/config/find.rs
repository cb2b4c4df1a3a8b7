//! Where deploy.yml is looked for.

use std::path::Path;

use viatique_deploy::config;

#[test]
fn it_is_looked_for_upwards_to_the_repositorys_root() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("repository/backend/core");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir(root.path().join("repository/.git")).unwrap();
    std::fs::write(root.path().join("deploy.yml"), "").unwrap();
    let error = config::find(None, &deep).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "deploy.yml: no deploy.yml in {} or above it in the repository",
            deep.display()
        )
    );
    assert!(error.hint.unwrap().contains("deploy.example.yml"));
    let file = root.path().join("repository/deploy.yml");
    std::fs::write(&file, "").unwrap();
    assert_eq!(config::find(None, &deep).unwrap(), file);
}

#[test]
fn an_explicit_one_must_be_there() {
    let root = tempfile::tempdir().unwrap();
    let error = config::find(Some(Path::new("other.yml")), root.path()).unwrap_err();
    let path = root.path().join("other.yml");
    assert_eq!(
        error.to_string(),
        format!("{}: no such configuration file", path.display())
    );
    std::fs::write(&path, "").unwrap();
    assert_eq!(
        config::find(Some(Path::new("other.yml")), root.path()).unwrap(),
        path
    );
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let error = config::load(Path::new("/nowhere/deploy.yml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/deploy.yml: cannot read the configuration: no such file"
    );
}
