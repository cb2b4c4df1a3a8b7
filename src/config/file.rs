//! Finding and reading `deploy.yml`.

use std::io;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Origin, smoke};
use crate::yaml;

/// What the file is called.
pub const FILE_NAME: &str = "deploy.yml";

/// The path of the configuration: `explicit` if given, else `deploy.yml` in `start` or in a folder above it, up to
/// the git repository's root.
///
/// # Errors
/// None was found, or the explicit one is not there.
pub fn find(explicit: Option<&Path>, start: &Path) -> Result<PathBuf, ConfigError> {
    if let Some(path) = explicit {
        let path = start.join(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(ConfigError::whole(
                &path,
                "no such configuration file".to_owned(),
                None,
            ))
        };
    }
    for folder in start.ancestors() {
        let candidate = folder.join(FILE_NAME);
        if candidate.is_file() {
            return Ok(candidate);
        }
        // `.git` is a file in a worktree.
        if folder.join(".git").exists() {
            break;
        }
    }
    Err(ConfigError::whole(
        Path::new(FILE_NAME),
        format!(
            "no {FILE_NAME} in {} or above it in the repository",
            start.display()
        ),
        Some(format!(
            "write one (deploy.example.yml shows every key), or name it with `--config <path>/{FILE_NAME}`"
        )),
    ))
}

/// Reads and checks the configuration.
///
/// # Errors
/// The file cannot be read, or the first thing wrong in it, with its line and column.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = (error.kind() == io::ErrorKind::NotFound)
            .then(|| "deploy.example.yml shows every key".to_owned());
        let why = if error.kind() == io::ErrorKind::NotFound {
            "no such file".to_owned()
        } else {
            error.to_string()
        };
        ConfigError::whole(path, format!("cannot read the configuration: {why}"), hint)
    })?;
    parse(path, &text)
}

/// Checks the text of a configuration that would stand at `path`.
///
/// # Errors
/// The first thing wrong in it, with its line and column.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let document = yaml::parse(text, 0).map_err(|error| ConfigError::from_yaml(path, &error))?;
    let mut config: Config =
        yaml::from_node(&document).map_err(|error| ConfigError::from_yaml(path, &error))?;
    smoke::checked(&config, &document).map_err(|error| ConfigError::from_yaml(path, &error))?;
    config.origin = Origin {
        path: path.to_owned(),
        document: Some(document),
    };
    Ok(config)
}
