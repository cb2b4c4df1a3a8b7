//! `checks.scanners`: programs that look for known vulnerabilities in the code, its dependencies and the images. Each
//! that is written is asked for.

use std::path::PathBuf;
use std::time::Duration;

use super::one_or_many;
use super::quantity::HumanDuration;
use crate::compose::ServiceName;

const TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(600));

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// The `checks.scanners` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scanners {
    pub bandit: Option<Bandit>,
    pub pip_audit: Option<PipAudit>,
    pub osv_scanner: Option<OsvScanner>,
    pub trivy: Option<ImageScanner>,
    pub grype: Option<ImageScanner>,
    pub safety: Option<Safety>,
    /// Whatever else writes SARIF.
    pub sarif: Vec<SarifScanner>,
}

/// bandit: what is dangerous in Python code.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bandit {
    /// What is looked at, from the folder of `deploy.yml`.
    #[serde(deserialize_with = "one_or_many::paths")]
    pub paths: Vec<PathBuf>,
    /// How it is called; what it looks at and the form of its report are added.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// A finding as grave as this blocks, and a lesser one warns.
    pub fail_on: Severity,
    /// How long it may take: 10m by default.
    pub timeout: HumanDuration,
}

impl Default for Bandit {
    fn default() -> Self {
        Self {
            paths: vec![PathBuf::from(".")],
            run: Vec::new(),
            fail_on: Severity::High,
            timeout: TIMEOUT,
        }
    }
}

/// osv-scanner: known vulnerabilities of what is installed by the lock files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OsvScanner {
    /// What is looked at, from the folder of `deploy.yml`.
    #[serde(deserialize_with = "one_or_many::paths")]
    pub paths: Vec<PathBuf>,
    /// How it is called; what it looks at and the form of its report are added.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// A finding as grave as this blocks, and a lesser one warns.
    pub fail_on: Severity,
    /// How long it may take: 10m by default.
    pub timeout: HumanDuration,
}

impl Default for OsvScanner {
    fn default() -> Self {
        Self {
            paths: vec![PathBuf::from(".")],
            run: Vec::new(),
            fail_on: Severity::Critical,
            timeout: TIMEOUT,
        }
    }
}

/// trivy, grype: known vulnerabilities of what is in an image, or in a folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageScanner {
    /// Services whose images are looked at; those of every service where neither `images` nor `paths` is written.
    pub images: Vec<ServiceName>,
    /// What is looked at, from the folder of `deploy.yml`.
    #[serde(deserialize_with = "one_or_many::paths")]
    pub paths: Vec<PathBuf>,
    /// How it is called; what it looks at and the form of its report are added.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// A finding as grave as this blocks, and a lesser one warns.
    pub fail_on: Severity,
    /// Whether what cannot be mended yet by an upgrade blocks too.
    pub block_unfixed: bool,
    /// How long it may take: 10m by default.
    pub timeout: HumanDuration,
}

impl Default for ImageScanner {
    fn default() -> Self {
        Self {
            images: Vec::new(),
            paths: Vec::new(),
            run: Vec::new(),
            fail_on: Severity::Critical,
            block_unfixed: false,
            timeout: TIMEOUT,
        }
    }
}

/// safety: `safety check` of the requirements; without them `safety scan`, which wants an account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Safety {
    /// Files of requirements.
    #[serde(deserialize_with = "one_or_many::paths")]
    pub requirements: Vec<PathBuf>,
    /// How it is called; what it looks at and the form of its report are added.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// How long it may take: 10m by default.
    pub timeout: HumanDuration,
}

impl Default for Safety {
    fn default() -> Self {
        Self {
            requirements: Vec::new(),
            run: Vec::new(),
            timeout: TIMEOUT,
        }
    }
}

/// pip-audit: known vulnerabilities of what Python requirements ask for. It knows no severities.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipAudit {
    /// Files of requirements: without one it would look at what is installed beside itself.
    #[serde(deserialize_with = "one_or_many::at_least_one_path")]
    pub requirements: Vec<PathBuf>,
    /// How it is called; what it looks at and the form of its report are added.
    #[serde(default, deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// How long it may take: 10m by default.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
}

/// One entry of `checks.scanners.sarif`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SarifScanner {
    /// How it is called in messages.
    pub name: String,
    /// The whole command, which writes its report on standard output.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// A finding as grave as this blocks, and a lesser one warns: `high` by default, which is an error in SARIF.
    #[serde(default = "high")]
    pub fail_on: Severity,
    /// How long it may take: 10m by default.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
}

const fn high() -> Severity {
    Severity::High
}

const fn timeout() -> HumanDuration {
    TIMEOUT
}
