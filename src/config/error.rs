//! What is wrong with `deploy.yml`, where, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::yaml;

/// One thing wrong with `deploy.yml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub file: PathBuf,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// From 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// `backup.database.service`; empty where the file as a whole is meant.
    pub path: String,
    /// One sentence that names the key.
    pub message: String,
    /// What to do; printed after `hint:`, not part of `Display`.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error about the file as a whole.
    pub(super) fn whole(file: &Path, message: String, hint: Option<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            message,
            hint,
        }
    }

    /// An error about what stands there.
    pub(super) fn at(
        file: &Path,
        mark: yaml::Mark,
        path: String,
        message: String,
        hint: Option<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line: mark.line,
            column: mark.column,
            path,
            message,
            hint,
        }
    }

    pub(super) fn from_yaml(file: &Path, error: &yaml::Error) -> Self {
        let mark = error.mark.unwrap_or_default();
        Self {
            file: file.to_owned(),
            line: mark.line,
            column: mark.column,
            path: error.path.clone(),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// `deploy.yml:12:3: unknown key `migratte` in `django`; did you mean `manage`?`, without the hint.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Several errors; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One error a line, each followed by its hint.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
            if let Some(hint) = &error.hint {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
