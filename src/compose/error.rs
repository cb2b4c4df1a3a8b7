//! What is wrong with the Compose files, where, and what to do. Values of variables are never in here.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong with the Compose files or what they read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeError {
    /// As the person named it: relative to the project's folder where it is inside.
    pub file: PathBuf,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// From 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// `services.backend.ports[0]`; empty where the file as a whole is meant.
    pub path: String,
    pub message: String,
    /// What to do; printed after `hint:`, not part of `Display`.
    pub hint: Option<String>,
}

/// `docker-compose.prod.yml:31:7: services.backend.ports[0]: expected a port`, without the hint.
impl fmt::Display for ComposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for ComposeError {}

/// Why a file cannot be read, in the same words on every platform where it is only missing.
pub(super) fn why_unreadable(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        "no such file".to_owned()
    } else {
        error.to_string()
    }
}

/// Everything found wrong, in the order of files and lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeErrors(pub Vec<ComposeError>);

/// One error a line, each followed by its hint.
impl fmt::Display for ComposeErrors {
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

impl std::error::Error for ComposeErrors {}

impl From<ComposeError> for ComposeErrors {
    fn from(error: ComposeError) -> Self {
        Self(vec![error])
    }
}
