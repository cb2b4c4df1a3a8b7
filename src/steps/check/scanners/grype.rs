//! grype: known vulnerabilities of what is in an image.

use serde::Deserialize;

use super::finding::{first_line, parsed};
use super::{Call, Finding, Grave, Report, Target, text, texts, unexplained, words};
use crate::config::ImageScanner;

pub(super) fn call(scanner: &ImageScanner, target: &Target) -> Call {
    let (name, what) = match target {
        Target::Image(reference) => (reference.clone(), format!("docker:{reference}")),
        Target::Folder(path) => (text(path), format!("dir:{}", text(path))),
    };
    let mut ours = texts(&["--quiet", "--output", "json"]);
    ours.push(what);
    Call {
        name: format!("grype of {name}"),
        words: words(&scanner.run, &["grype"], ours),
        timeout: scanner.timeout.0,
        fail_on: scanner.fail_on,
        block_unfixed: scanner.block_unfixed,
        // 2, and 1 before it: something as grave as its own configuration says.
        codes: &[0, 1, 2],
        explain: unexplained,
        read,
        install: "install grype, or say in `run` how yours is called",
    }
}

#[derive(Deserialize)]
struct Written {
    matches: Vec<Match>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    vulnerability: Vulnerability,
    #[serde(default)]
    related_vulnerabilities: Vec<Related>,
    artifact: Artifact,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    fix: Fix,
}

#[derive(Deserialize, Default)]
struct Fix {
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Related {
    id: String,
}

#[derive(Deserialize)]
struct Artifact {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    locations: Vec<Location>,
}

#[derive(Deserialize)]
struct Location {
    path: String,
}

fn read(bytes: &[u8]) -> Result<Report, String> {
    let written: Written = parsed(bytes)?;
    let findings = written.matches.into_iter().map(|found| {
        let Vulnerability {
            id,
            severity,
            description,
            fix,
        } = found.vulnerability;
        let artifact = found.artifact;
        let related = found
            .related_vulnerabilities
            .into_iter()
            .map(|related| related.id);
        let title = format!(
            "{} {} has {id}: {}",
            artifact.name,
            artifact.version,
            first_line(&description)
        );
        Finding {
            aliases: related.chain([format!("{id}:{}", artifact.name)]).collect(),
            place: artifact
                .locations
                .into_iter()
                .next()
                .map(|location| location.path),
            fixed_in: (!fix.versions.is_empty()).then(|| fix.versions.join(", ")),
            waits_for_a_fix: true,
            ..Finding::new(id, Grave::named(&severity), title.trim_end_matches(": "))
        }
    });
    Ok(Report {
        findings: findings.collect(),
        looked_at: "nothing found".to_owned(),
        ..Report::default()
    })
}
