//! safety: known vulnerabilities of Python requirements, as its version 2 writes them (`check --json`) and its version 3
//! (`scan --output json`).

use serde::Deserialize;

use super::finding::{first_line, parsed};
use super::{Call, Finding, Grave, Report, text, texts, words};
use crate::config::{Scanners, Severity};

pub(super) fn call(scanners: &Scanners) -> Option<Call> {
    let safety = scanners.safety.as_ref()?;
    let mut ours = if safety.requirements.is_empty() {
        texts(&["scan", "--output", "json"])
    } else {
        texts(&["check", "--json"])
    };
    for file in &safety.requirements {
        ours.extend(["-r".to_owned(), text(file)]);
    }
    Some(Call {
        name: "safety".to_owned(),
        words: words(&safety.run, &["safety"], ours),
        timeout: safety.timeout.0,
        fail_on: Severity::Low,
        block_unfixed: true,
        codes: &[0, 64],
        explain: |code| match code {
            65..=75 => Some("it could not run"),
            _ => None,
        },
        read,
        install: "install safety: pip install safety",
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Check {
        report_meta: Meta,
        vulnerabilities: Vec<Vulnerability>,
        #[serde(default)]
        ignored_vulnerabilities: Vec<serde_json::Value>,
    },
    Scan {
        scan_results: ScanResults,
    },
}

#[derive(Deserialize)]
struct Meta {
    packages_found: u64,
}

#[derive(Deserialize)]
struct Vulnerability {
    vulnerability_id: String,
    package_name: String,
    #[serde(default)]
    analyzed_version: String,
    advisory: Option<String>,
    #[serde(rename = "CVE")]
    cve: Option<String>,
    #[serde(default)]
    fixed_versions: Vec<String>,
}

#[derive(Deserialize)]
struct ScanResults {
    #[serde(default)]
    files: Vec<File>,
    #[serde(default)]
    projects: Vec<Project>,
}

#[derive(Deserialize)]
struct Project {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    location: String,
    results: Results,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    specifications: Vec<Specification>,
}

#[derive(Deserialize)]
struct Specification {
    raw: String,
    vulnerabilities: Known,
}

#[derive(Deserialize)]
struct Known {
    known_vulnerabilities: Vec<KnownVulnerability>,
    remediation: Option<Remediation>,
}

#[derive(Deserialize)]
struct KnownVulnerability {
    id: String,
    ignored: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Remediation {
    recommended: Option<String>,
}

fn read(bytes: &[u8]) -> Result<Report, String> {
    match parsed(bytes)? {
        Written::Check {
            report_meta,
            vulnerabilities,
            ignored_vulnerabilities,
        } => of_check(
            report_meta.packages_found,
            vulnerabilities,
            ignored_vulnerabilities.len(),
        ),
        Written::Scan { scan_results } => of_scan(scan_results),
    }
}

fn of_check(packages: u64, found: Vec<Vulnerability>, accepted: usize) -> Result<Report, String> {
    if packages == 0 {
        return Err("it looked at no package".to_owned());
    }
    let findings = found.into_iter().map(|found| {
        let id = found.vulnerability_id;
        let name = found.package_name;
        let about = first_line(&found.advisory.unwrap_or_default());
        let title = format!("{name} {} has {id}: {about}", found.analyzed_version);
        Finding {
            aliases: found.cve.into_iter().chain([format!("{id}:{name}")]).collect(),
            fixed_in: (!found.fixed_versions.is_empty()).then(|| found.fixed_versions.join(", ")),
            ..Finding::new(id, Grave::Unknown, title.trim_end_matches(": "))
        }
    });
    Ok(Report {
        findings: findings.collect(),
        accepted,
        looked_at: format!("{packages} packages, nothing found"),
        ..Report::default()
    })
}

fn of_scan(results: ScanResults) -> Result<Report, String> {
    let mut report = Report::default();
    let mut packages = 0;
    let of_projects = results.projects.into_iter().flat_map(|project| project.files);
    for file in results.files.into_iter().chain(of_projects) {
        for dependency in file.results.dependencies {
            packages += 1;
            for specification in dependency.specifications {
                let known = specification.vulnerabilities;
                let recommended = known.remediation.and_then(|remediation| remediation.recommended);
                for found in known.known_vulnerabilities {
                    if found.ignored.is_some() {
                        report.accepted += 1;
                        continue;
                    }
                    let title = format!("{} has {}", specification.raw, found.id);
                    report.findings.push(Finding {
                        aliases: vec![format!("{}:{}", found.id, dependency.name)],
                        place: Some(file.location.clone()),
                        fixed_in: recommended.clone(),
                        ..Finding::new(found.id, Grave::Unknown, title)
                    });
                }
            }
        }
    }
    if packages == 0 {
        return Err("it looked at no package".to_owned());
    }
    report.looked_at = format!("{packages} packages, nothing found");
    Ok(report)
}
