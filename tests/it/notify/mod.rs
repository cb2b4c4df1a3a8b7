//! Notices: what each service is sent, that it is tried until it is got, and what a run tells of itself. The receivers are
//! real sockets of this machine, so that no time is paused where one of them is asked.

mod command;
mod delivery;
mod formats;
mod mail;
mod mail_tls;
mod refusals;
mod told;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use time::macros::datetime;
use viatique_deploy::app::courier::Courier;
use viatique_deploy::config;
use viatique_deploy::notify::delivery::{Delivered, deliver};
use viatique_deploy::notify::notice::Commit;
use viatique_deploy::notify::{Mask, Notice, Target, What, target};
use viatique_deploy::secret::Secret;

/// What is secret in every address here, and no output may tell.
pub(crate) const CANARY: &str = "canary-4f1d2c77";

/// The targets of these entries, in a folder.
fn targets_in(folder: &Path, notify: &str, variables: &[(&str, &str)]) -> Vec<Target> {
    let text = format!("project: viatique\ncompose: a.yml\nnotify:\n{notify}");
    let config = config::parse(&folder.join("deploy.yml"), &text).unwrap_or_else(|error| panic!("{error}"));
    let variables: BTreeMap<String, Secret<String>> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())))
        .collect();
    target::resolve(&config, &variables).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The one target of this entry.
fn target(notify: &str, variables: &[(&str, &str)]) -> Target {
    let mut targets = targets_in(Path::new("/nowhere"), notify, variables);
    assert_eq!(targets.len(), 1);
    targets.remove(0)
}

/// Sends it, and says how that went.
async fn sent(target: &Target, notice: &Notice) -> Delivered {
    let mask = Mask::of(&[Secret::new(CANARY.to_owned())]).and(&target.mask());
    let notice = notice.clone().told(&mask);
    let port = Courier::new().unwrap();
    deliver(&port, &target.parcels(&notice), &mask, target.timeout).await
}

#[track_caller]
fn got(delivered: &Delivered) {
    assert_eq!(delivered.why_not, None);
}

/// A run of v42 that failed at backend, with text of others in every place that would break markup, call everybody, tell a
/// secret, or be too long.
fn failed() -> Notice {
    let mut evidence: Vec<String> = (0..30)
        .map(|line| format!("line {line} {}", "x".repeat(1000)))
        .collect();
    evidence.push("\u{1b}[31m<!channel> @everyone @channel <@U1> </b> & ```".to_owned());
    evidence.push(format!(
        "password={CANARY} **bold** [x](http://evil.test) | \"quoted\" \\"
    ));
    Notice {
        what: What::RolledBack,
        is_test: false,
        project: "viatique".to_owned(),
        command: "run".to_owned(),
        run: "20260301-030405-k7".to_owned(),
        release: "v42".to_owned(),
        before: Some("v41".to_owned()),
        serves: Some("v41".to_owned()),
        by: "ada@host`1".to_owned(),
        started: datetime!(2026-03-01 03:04:05 UTC),
        elapsed: Duration::from_millis(92_500),
        exit_code: Some(6),
        step: Some("deploy".to_owned()),
        service: Some("backend".to_owned()),
        error: Some("deploying backend: it exited with code 1".to_owned()),
        evidence,
        warnings: vec!["two schedulers <!here>".to_owned()],
        changes: (0..40)
            .map(|line| ("commits".to_owned(), format!("abc{line} fix @all `this`")))
            .collect(),
        next: vec!["once the cause is mended: viatique-deploy run --tag v42".to_owned()],
        commit: Some(Commit {
            now: "b".repeat(40),
            before: Some("a".repeat(40)),
        }),
    }
}

/// The same release, well.
fn succeeded() -> Notice {
    Notice {
        what: What::Succeeded,
        serves: Some("v42".to_owned()),
        exit_code: Some(0),
        step: None,
        service: None,
        error: None,
        evidence: Vec::new(),
        warnings: Vec::new(),
        next: vec!["to take it back: viatique-deploy rollback".to_owned()],
        ..failed()
    }
}

fn started() -> Notice {
    Notice {
        what: What::Started,
        serves: None,
        exit_code: None,
        elapsed: Duration::ZERO,
        ..succeeded()
    }
}
