//! trivy: known vulnerabilities of what is in an image.

use serde::Deserialize;

use super::finding::{first_line, parsed};
use super::{Call, Finding, Grave, Report, Target, text, texts, unexplained, words};
use crate::config::ImageScanner;

pub(super) fn call(scanner: &ImageScanner, target: &Target) -> Call {
    let (kind, what) = match target {
        Target::Image(reference) => ("image", reference.clone()),
        Target::Folder(path) => ("fs", text(path)),
    };
    let mut ours = texts(&[kind, "--quiet", "--format", "json", "--scanners", "vuln"]);
    ours.push(what.clone());
    Call {
        name: format!("trivy of {what}"),
        words: words(&scanner.run, &["trivy"], ours),
        timeout: scanner.timeout.0,
        fail_on: scanner.fail_on,
        block_unfixed: scanner.block_unfixed,
        codes: &[0, 1],
        explain: unexplained,
        read,
        install: "install trivy, or say in `run` how yours is called",
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    /// Not written where there was nothing to look at.
    #[serde(default)]
    results: Vec<Looked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Looked {
    target: String,
    #[serde(default)]
    vulnerabilities: Vec<Vulnerability>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vulnerability {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    #[serde(default, rename = "VendorIDs")]
    vendor_ids: Vec<String>,
    pkg_name: String,
    #[serde(default)]
    installed_version: String,
    #[serde(default)]
    fixed_version: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    title: String,
}

fn read(bytes: &[u8]) -> Result<Report, String> {
    let written: Written = parsed(bytes)?;
    if written.results.is_empty() {
        return Err("it found no package to look at".to_owned());
    }
    let mut report = Report {
        looked_at: "nothing found".to_owned(),
        ..Report::default()
    };
    for looked in written.results {
        for found in looked.vulnerabilities {
            let mut aliases = found.vendor_ids;
            aliases.push(format!("{}:{}", found.id, found.pkg_name));
            let title = format!(
                "{} {} has {}: {}",
                found.pkg_name,
                found.installed_version,
                found.id,
                first_line(&found.title)
            );
            report.findings.push(Finding {
                aliases,
                place: Some(looked.target.clone()),
                fixed_in: (!found.fixed_version.is_empty()).then_some(found.fixed_version),
                waits_for_a_fix: true,
                ..Finding::new(
                    found.id,
                    Grave::named(&found.severity),
                    title.trim_end_matches(": "),
                )
            });
        }
    }
    Ok(report)
}
