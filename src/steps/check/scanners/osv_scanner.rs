//! osv-scanner: known vulnerabilities of what lock files install. It ends with 128 where it found no lock file, which is
//! no pass.

use serde::Deserialize;

use super::finding::{first_line, parsed};
use super::{Call, Finding, Grave, Report, text, texts, words};
use crate::config::Scanners;

pub(super) fn call(scanners: &Scanners) -> Option<Call> {
    let osv = scanners.osv_scanner.as_ref()?;
    let ours = texts(&["--recursive", "--format", "json"]);
    let paths = osv.paths.iter().map(|path| text(path));
    Some(Call {
        name: "osv-scanner".to_owned(),
        words: words(
            &osv.run,
            &["osv-scanner", "scan", "source"],
            ours.into_iter().chain(paths),
        ),
        timeout: osv.timeout.0,
        fail_on: osv.fail_on,
        block_unfixed: true,
        codes: &[0, 1],
        explain: |code| match code {
            127 => Some("it failed"),
            128 => Some("it found no lock file to look at"),
            _ => None,
        },
        read,
        install: "install osv-scanner, version 2, or say in `run` how yours is called",
    })
}

#[derive(Deserialize)]
struct Written {
    results: Vec<Source>,
}

#[derive(Deserialize)]
struct Source {
    source: Place,
    packages: Vec<Affected>,
}

#[derive(Deserialize)]
struct Place {
    path: String,
}

#[derive(Deserialize)]
struct Affected {
    package: Package,
    #[serde(default)]
    vulnerabilities: Vec<Vulnerability>,
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    database_specific: serde_json::Value,
    #[serde(default)]
    affected: serde_json::Value,
}

#[derive(Deserialize)]
struct Group {
    ids: Vec<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    max_severity: String,
}

fn read(bytes: &[u8]) -> Result<Report, String> {
    let written: Written = parsed(bytes)?;
    let mut report = Report {
        looked_at: "nothing found".to_owned(),
        ..Report::default()
    };
    for source in written.results {
        for affected in source.packages {
            let Package { name, version } = affected.package;
            for group in affected.groups {
                let known = affected.vulnerabilities.iter();
                let about = known.into_iter().find(|one| group.ids.contains(&one.id));
                let key = group.ids.first().cloned().unwrap_or_default();
                let grave = match Grave::scored(&group.max_severity) {
                    Grave::Known(severity) => Grave::Known(severity),
                    Grave::Unknown => about
                        .and_then(|one| one.database_specific.get("severity")?.as_str())
                        .map_or(Grave::Unknown, Grave::named),
                };
                let summary = first_line(about.map_or("", |one| &one.summary));
                let title = format!("{name} {version} has {key}: {summary}");
                let mut aliases = group.ids;
                aliases.extend(group.aliases);
                aliases.push(format!("{key}:{name}"));
                report.findings.push(Finding {
                    aliases,
                    place: Some(source.source.path.clone()),
                    fixed_in: about.and_then(|one| fixed(&one.affected, &name)),
                    ..Finding::new(key, grave, title.trim_end_matches(": "))
                });
            }
        }
    }
    Ok(report)
}

/// The versions in which it is mended.
fn fixed(affected: &serde_json::Value, package: &str) -> Option<String> {
    let of_it = affected
        .as_array()?
        .iter()
        .filter(|one| one["package"]["name"] == package);
    let ranges = of_it.filter_map(|one| one["ranges"].as_array()).flatten();
    let events = ranges.filter_map(|range| range["events"].as_array()).flatten();
    let fixed: Vec<&str> = events.filter_map(|event| event["fixed"].as_str()).collect();
    (!fixed.is_empty()).then(|| fixed.join(", "))
}
