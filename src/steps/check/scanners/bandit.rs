//! bandit: what is dangerous in Python code. It ends with 0 on a file that it cannot read, and on a folder without one.

use serde::Deserialize;

use super::finding::parsed;
use super::{Call, Finding, Grave, Report, Unread, text, texts, unexplained, words};
use crate::config::Scanners;

/// Where these find a password in the code, they repeat it.
const TELL_A_SECRET: [&str; 3] = ["B105", "B106", "B107"];

pub(super) fn call(scanners: &Scanners) -> Option<Call> {
    let bandit = scanners.bandit.as_ref()?;
    let ours = texts(&["-r", "-q", "-f", "json"]);
    let paths = bandit.paths.iter().map(|path| text(path));
    Some(Call {
        name: "bandit".to_owned(),
        words: words(&bandit.run, &["bandit"], ours.into_iter().chain(paths)),
        timeout: bandit.timeout.0,
        fail_on: bandit.fail_on,
        block_unfixed: true,
        codes: &[0, 1],
        explain: unexplained,
        read,
        install: "install bandit: pip install bandit",
    })
}

#[derive(Deserialize)]
struct Written {
    errors: Vec<Unreadable>,
    metrics: std::collections::BTreeMap<String, Metrics>,
    results: Vec<Found>,
}

#[derive(Deserialize)]
struct Unreadable {
    filename: String,
    reason: String,
}

#[derive(Deserialize)]
struct Metrics {
    loc: u64,
}

#[derive(Deserialize)]
struct Found {
    filename: String,
    issue_confidence: String,
    issue_severity: String,
    issue_text: String,
    line_number: u64,
    test_id: String,
}

fn read(bytes: &[u8]) -> Result<Report, String> {
    let written: Written = parsed(bytes)?;
    let lines = written.metrics.get("_totals").map_or(0, |totals| totals.loc);
    let unread: Vec<Unread> = written
        .errors
        .into_iter()
        .map(|error| {
            let file = plain(&error.filename);
            Unread {
                why: format!("{file}: {}", error.reason),
                key: format!("unread:{file}"),
            }
        })
        .collect();
    if lines == 0 && unread.is_empty() {
        return Err("it found no line of Python to look at".to_owned());
    }
    let findings = written.results.into_iter().map(|found| {
        let file = plain(&found.filename).to_owned();
        let title = if TELL_A_SECRET.contains(&found.test_id.as_str()) {
            found.issue_text.split(": '").next().unwrap_or_default()
        } else {
            &found.issue_text
        };
        let sure = matches!(found.issue_confidence.as_str(), "HIGH" | "MEDIUM");
        Finding {
            aliases: vec![found.test_id.clone()],
            place: Some(format!("{file}:{}", found.line_number)),
            only_warns: !sure,
            ..Finding::new(
                format!("{}:{file}", found.test_id),
                Grave::named(&found.issue_severity),
                title,
            )
        }
    });
    Ok(Report {
        findings: findings.collect(),
        unread,
        accepted: 0,
        looked_at: format!("{lines} lines, nothing found"),
    })
}

fn plain(file: &str) -> &str {
    file.strip_prefix("./").unwrap_or(file)
}
