//! pip-audit: known vulnerabilities of Python requirements. It ends with 1 for a finding and for an error alike, and with
//! 0 where it could not look something up.

use serde::Deserialize;

use super::finding::{first_line, parsed};
use super::{Call, Finding, Grave, Report, Unread, text, texts, unexplained, words};
use crate::config::{Scanners, Severity};

pub(super) fn call(scanners: &Scanners) -> Option<Call> {
    let audit = scanners.pip_audit.as_ref()?;
    let ours = texts(&["-f", "json", "--progress-spinner", "off"]);
    let files = audit
        .requirements
        .iter()
        .flat_map(|file| ["-r".to_owned(), text(file)]);
    Some(Call {
        name: "pip-audit".to_owned(),
        words: words(&audit.run, &["pip-audit"], ours.into_iter().chain(files)),
        timeout: audit.timeout.0,
        fail_on: Severity::Low,
        block_unfixed: true,
        codes: &[0, 1],
        explain: unexplained,
        read,
        install: "install pip-audit: pip install pip-audit",
    })
}

#[derive(Deserialize)]
struct Written {
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    version: Option<String>,
    skip_reason: Option<String>,
    #[serde(default)]
    vulns: Vec<Vulnerability>,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    #[serde(default)]
    fix_versions: Vec<String>,
    #[serde(default)]
    aliases: Vec<String>,
    description: Option<String>,
}

fn read(bytes: &[u8]) -> Result<Report, String> {
    let written: Written = parsed(bytes)?;
    if written.dependencies.is_empty() {
        return Err("it looked at no dependency".to_owned());
    }
    let mut report = Report {
        looked_at: format!("{} dependencies, nothing found", written.dependencies.len()),
        ..Report::default()
    };
    for dependency in written.dependencies {
        let name = dependency.name;
        if let Some(why) = dependency.skip_reason {
            report.unread.push(Unread {
                key: format!("skipped:{name}"),
                why: format!("{name} was left out: {}", first_line(&why)),
            });
        }
        let version = dependency.version.unwrap_or_default();
        for found in dependency.vulns {
            let mut aliases = found.aliases;
            aliases.push(format!("{}:{name}", found.id));
            let about = first_line(&found.description.unwrap_or_default());
            let title = format!("{name} {version} has {}: {about}", found.id);
            report.findings.push(Finding {
                aliases,
                fixed_in: (!found.fix_versions.is_empty()).then(|| found.fix_versions.join(", ")),
                ..Finding::new(found.id, Grave::Unknown, title.trim_end_matches(": "))
            });
        }
    }
    Ok(report)
}
