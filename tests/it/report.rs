//! The report of a run: what it says after the run, what `report` makes of the ledger on another machine, and where it is
//! written.

use std::path::{Path, PathBuf};

use viatique_deploy::clock::Clock as _;
use viatique_deploy::commands::reported::{ReportPlace, Subject};
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::error::FailureKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::ledger::Memory;
use viatique_deploy::pipeline::{Event, Outcome};
use viatique_deploy::report::{BEGINNING, Report, Told, page};

use crate::support::{Ended, ImageBehaviour, PROJECT, Stack};

#[path = "../browser/sample.rs"]
mod sample;

use sample::{FOREIGN, checklist, good, release, tag, taken_back};

/// What somebody reads, with the markup taken out.
fn text_of(html: &str) -> String {
    let (_, body) = html.split_once("<body>").unwrap();
    let mut text = String::new();
    let mut is_markup = false;
    for character in body.chars() {
        match character {
            '<' => is_markup = true,
            '>' => {
                is_markup = false;
                text.push(' ');
            }
            other if !is_markup => text.push(other),
            _ => {}
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

#[track_caller]
fn says(html: &str, expected: &str) {
    let text = text_of(html);
    assert!(text.contains(expected), "no {expected:?} in {text}");
}

fn made(stack: &Stack, memory: &Memory, asked: Option<&str>) -> String {
    let asked = asked.map(tag);
    let subject = Subject::of_release(memory, asked.as_ref()).unwrap();
    subject.page(PROJECT, memory, stack.engine.now())
}

fn written(ended: &Ended) -> Option<PathBuf> {
    ended.events.iter().find_map(|event| {
        let Event::Reported { file } = event else {
            return None;
        };
        Some(PathBuf::from(file))
    })
}

fn reports(stack: &Stack) -> PathBuf {
    stack.directory.path().join("reports")
}

#[tokio::test(start_paused = true)]
async fn every_run_that_deploys_leaves_a_page_and_says_where() {
    let mut stack = Stack::viatique();
    stack.report = Some(ReportPlace::Folder(reports(&stack)));
    let ended = stack.run("v1").await;
    let file = written(ended.succeeded()).expect("it says where");
    assert_eq!(
        file,
        reports(&stack).join(format!("report-viatique-v1-{}.html", ended.run))
    );
    let html = std::fs::read_to_string(&file).unwrap();
    says(&html, "Release v1 was deployed");
    says(&html, "v1 serves.");
    says(&html, "The first release: there is none to hold it against.");
    says(&html, "deploy.yml has no section monitor, so nothing was watched");
    let last_but_one = &ended.events[ended.events.len() - 2];
    assert!(matches!(last_but_one, Event::Reported { .. }), "{last_but_one:?}");
    // It is nothing that git should see.
    assert_eq!(
        std::fs::read_to_string(reports(&stack).join(".gitignore")).unwrap(),
        "*\n"
    );
    let ended = stack.command(Chosen::backup(), "v1").await;
    assert_eq!(written(ended.succeeded()), None, "nothing was deployed");
    let ended = stack.dry_run(Chosen::run(), "v2").await;
    assert_eq!(written(ended.succeeded()), None, "nothing was done");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_failed_says_why_and_what_serves() {
    let mut stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.image_is(
        "viatique-backend:v2",
        ImageBehaviour::exits(3).logging(&["ImportError: <b>no module</b>"]),
    );
    stack.bring_migration("papers", "0002_note");
    stack.report = Some(ReportPlace::File(stack.directory.path().join("page.html")));
    let ended = stack.run("v2").await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    let html = std::fs::read_to_string(written(&ended).unwrap()).unwrap();
    says(&html, "Release v2 failed at deploy and was taken back");
    says(&html, "v1 serves again.");
    says(&html, "6: deployed, then taken back by itself");
    says(&html, "ImportError: &lt;b&gt;no module&lt;/b&gt;");
    says(&html, "papers.0002_note");
    says(&html, "undo deploy");
    says(&html, "deploy.yml has no section monitor, so nothing was watched");

    // And on another machine, where only the ledger is known.
    let memory = stack.memory().await;
    let elsewhere = made(&stack, &memory, Some("v2"));
    says(&elsewhere, "Release v2 failed at deploy and was taken back");
    says(&elsewhere, "papers.0002_note");
    let serves = made(&stack, &memory, None);
    says(&serves, "Release v1 was deployed");
    says(&serves, "failed and was taken back (exit code 6)");
    says(&serves, &ended.run.0);
    let by_run = Subject::of_run(&memory, &ended.run.0[..16]).unwrap();
    assert_eq!(by_run.tag, tag("v2"));
}

#[tokio::test(start_paused = true)]
async fn the_run_that_made_a_release_serve_is_told_and_others_are_listed() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.image_is("viatique-backend:v2", ImageBehaviour::exits(3));
    let failed = stack.run("v2").await;
    assert_eq!(failed.outcome, Outcome::RolledBack);
    stack.image_is("viatique-backend:v2", ImageBehaviour::healthy());
    let migrated = stack.command(Chosen::migrate(), "v2").await;
    migrated.succeeded();
    let deployed = stack.run("v2").await;
    deployed.succeeded();
    let html = made(&stack, &stack.memory().await, Some("v2"));
    says(&html, "Release v2 was deployed");
    says(&html, &format!("Run {}", deployed.run));
    for other in [&failed, &migrated] {
        says(&html, &other.run.0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_said_in_its_section() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let mut memory = stack.memory().await;
    memory.accounts.clear();
    let html = made(&stack, &memory, None);
    says(&html, "Release v1 was deployed");
    for what in [
        "How the run went is not known",
        "What it changes is not known",
        "What the run did, step by step, is not known",
        "How the site did is not known",
        "Which scenarios were played is not known",
        "Who was told is not known",
        "Which checks passed, and the lines that show what the others found, are not known",
    ] {
        says(&html, what);
    }
    says(&html, "the ledger keeps no account of its run");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_release_or_run_is_refused_with_the_known_ones() {
    let stack = Stack::viatique();
    let nothing = Subject::of_release(&stack.memory().await, None).unwrap_err();
    assert_eq!(nothing.error.to_string(), "nothing has been deployed yet");
    let ended = stack.run("v1").await;
    let memory = stack.memory().await;
    let unknown = Subject::of_release(&memory, Some(&tag("v9"))).unwrap_err();
    assert_eq!(unknown.kind, FailureKind::Configuration);
    assert_eq!(
        unknown.error.to_string(),
        "there is no release v9, and no run of it is remembered; known: v1"
    );
    let unknown = Subject::of_run(&memory, "1999").unwrap_err();
    assert_eq!(
        unknown.error.to_string(),
        format!("there is no run 1999; the newest: {}", ended.run)
    );
}

#[tokio::test(start_paused = true)]
async fn where_it_cannot_be_written_the_run_is_as_it_is() {
    let mut stack = Stack::viatique();
    let file = stack.directory.path().join("notes.txt");
    std::fs::write(&file, "not to be lost").unwrap();
    stack.report = Some(ReportPlace::File(file.clone()));
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(written(&ended), None);
    let warnings = ended.warnings();
    assert!(
        warnings.contains("the report of this run could not be written"),
        "{warnings}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not to be lost");
}

#[test]
fn a_report_is_written_over_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let place = ReportPlace::typed(&file);
    assert_eq!(place, ReportPlace::File(file.clone()));
    for page in ["first", "second"] {
        place.put("unused", &format!("{BEGINNING}{page}")).unwrap();
        let content = std::fs::read_to_string(&file).unwrap();
        assert!(content.ends_with(page), "{content}");
    }
    std::fs::write(&file, "<!doctype html><p>mine").unwrap();
    let refused = place.put("unused", BEGINNING).unwrap_err();
    assert!(format!("{refused:#}").contains("no report"), "{refused:#}");
    let typed = ReportPlace::typed(folder.path());
    assert_eq!(typed, ReportPlace::Folder(folder.path().to_owned()));
    let new = ReportPlace::typed(Path::new("new/"));
    assert_eq!(new, ReportPlace::Folder(PathBuf::from("new/")));
}

#[test]
fn what_others_wrote_is_never_markup() {
    let release = release();
    for account in [good(), taken_back()] {
        let html = page(&Report {
            project: FOREIGN,
            tag: &account.release,
            run: Some(&account.run),
            told: Told::Known(&account),
            release: Some(&release),
            checklist: Ok(Some(checklist())),
            serves: Some(&release),
            others: Vec::new(),
            made_at: FOREIGN.to_owned(),
        });
        for markup in ["<script", "<img", "onerror='", "<iframe", "<link", "javascript:"] {
            assert!(!html.contains(markup), "{markup}");
        }
        assert!(html.matches("&lt;script&gt;").count() > 8);
        // Nothing but a place on the page itself is referred to.
        for address in html.split("href=\"").skip(1) {
            assert!(address.starts_with('#'), "{}", &address[..40]);
        }
        assert!(!html.contains(" src=\"") && !html.contains("url(") && !html.contains("@import"));
    }
}

/// Headings in order: what stands where.
#[test]
fn a_page_has_its_parts_in_this_order() {
    let account = taken_back();
    let html = page(&Report {
        project: "viatique",
        tag: &account.release,
        run: Some(&account.run),
        told: Told::Known(&account),
        release: None,
        checklist: Ok(None),
        serves: None,
        others: Vec::new(),
        made_at: "2026-11-29T22:14:50Z".to_owned(),
    });
    let headings: Vec<String> = html
        .split("<h")
        .skip(1)
        .filter(|part| part.starts_with(['1', '2', '3']))
        .map(|part| {
            let (level, rest) = part.split_once('>').unwrap();
            let heading = rest.split_once(&format!("</h{}", &level[..1])).unwrap().0;
            let text = text_of(&format!("<body>{heading}"));
            format!("{} {text}", &level[..1])
        })
        .collect();
    insta::assert_snapshot!(headings.join("\n"), @"
    1 ↩ Release v42 failed at monitor and was taken back
    2 Why it failed
    2 Warnings
    2 What changed
    2 Steps
    2 Requests around the switch
    3 Found bad by
    2 Migrations and backup
    3 Tried on a copy of the data
    3 Backup
    2 Checks
    2 Scenarios
    2 Checklist
    2 Notices
    2 Other runs
    ");
}
