//! Problems that somebody answers for until a day, and checks that somebody names or leaves out: what passes, what is
//! said of it, and what stands in the release's record.

use std::path::Path;

use viatique_deploy::cli::BuildArgs;
use viatique_deploy::commands::steps::{Chosen, Rehearsing};
use viatique_deploy::config;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{ChangeKind, Outcome, StepId, StepResult};
use viatique_deploy::release::checks::{CheckOutcome, CheckVerdict, ChecksRecord, WaivedBy};
use viatique_deploy::steps::check::Selection;

use crate::support::{FakeOutput, Fault, Stack};

/// The first day of the stack's clock, and the one before.
const TODAY: &str = "2026-01-01";
const YESTERDAY: &str = "2025-12-31";

/// What pgBackRest says of a backup of long ago.
const STALE: &str =
    r#"[{"backup":[{"error":false,"timestamp":{"start":1,"stop":1700000000}}],"name":"viatique"}]"#;
const TOO_OLD: &str =
    "the newest of pgBackRest is of 2023-11-14T22:13:20Z, which is too old (backup.max_age)";

/// Something runs, and its repository of backups is too old: that stops a deploy, and nothing else depends on it.
async fn stale_repository(waivers: &str) -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.edit_deploy_yml(
        "  media: { volume: media }\n",
        "  media: { volume: media }\n  repository: { tool: pgbackrest, service: db }\n",
    );
    stack.answer(|command| {
        let asks = command.words.first().is_some_and(|word| word == "pgbackrest");
        asks.then(|| FakeOutput::stdout(STALE))
    });
    waived(&stack, waivers);
    stack
}

/// A warning of the lint, which has a name of its own.
fn behind_a_shell(waivers: &str) -> Stack {
    let stack = Stack::viatique();
    stack.edit_compose(
        "command: [celery, -A, viatique, worker]",
        "command: [sh, -c, \"python warm_up.py && celery -A viatique worker\"]",
    );
    waived(&stack, waivers);
    stack
}

/// An image that is nowhere.
fn without_image(waivers: &str) -> Stack {
    let stack = Stack::viatique();
    stack.edit_compose("image: redis:7\n", "image: redis:77\n");
    waived(&stack, waivers);
    stack
}

fn waived(stack: &Stack, waivers: &str) {
    let checks = format!("checks:\n  timeout: 7s\n  waivers: [{waivers}]\nbackup:\n");
    stack.edit_deploy_yml("backup:\n", &checks);
}

fn waiver(check: &str, until: &str) -> String {
    format!("{{check: {check}, reason: moving house, owner: ada, until: {until}}}")
}

fn ids(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn record(stack: &Stack) -> ChecksRecord {
    let releases = stack.releases().await;
    releases.current().unwrap().checks.clone().unwrap()
}

fn of<'r>(record: &'r ChecksRecord, check: &str) -> &'r CheckOutcome {
    let found = record.others.iter().find(|one| one.check == check);
    found.unwrap_or_else(|| panic!("no {check} in {record:#?}"))
}

#[tokio::test(start_paused = true)]
async fn a_waived_problem_stops_nothing_and_stands_in_the_record() {
    let unwaived = stale_repository("").await;
    let ended = unwaived.run("v2").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    assert!(
        ended
            .message()
            .ends_with(&format!("{TOO_OLD} [backup-repository]")),
        "{}",
        ended.message()
    );

    // Its last day counts.
    let stack = stale_repository(&waiver("backup-repository", TODAY)).await;
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "backup-repository").unwrap(),
        "waived by ada until 2026-01-01: moving house"
    );
    assert_eq!(
        ended.task_result(StepId::Check, "backup-repository"),
        Some(StepResult::Warned)
    );
    let record = record(&stack).await;
    let outcome = of(&record, "backup-repository");
    assert_eq!((outcome.verdict, outcome.blocks), (CheckVerdict::Waived, false));
    let [problem] = outcome.problems.as_slice() else {
        panic!("{outcome:#?}")
    };
    assert!(problem.message.ends_with(TOO_OLD), "{problem:#?}");
    assert_eq!(
        problem.waived,
        Some(WaivedBy {
            owner: "ada".to_owned(),
            reason: "moving house".to_owned(),
            until: TODAY.to_owned(),
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiver_that_is_over_waives_nothing_and_says_so() {
    let stack = stale_repository(&waiver("backup-repository", YESTERDAY)).await;
    for chosen in [Chosen::check(), Chosen::run()] {
        stack
            .command(chosen, "v2")
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(&format!(
                "{TOO_OLD} (waived by ada until 2025-12-31, which is over)"
            ));
    }
    assert_eq!(stack.engine.peek().releases("backend"), ["v1"]);
    // One that holds is enough.
    let both = [
        waiver("backup-repository", YESTERDAY),
        waiver("backup-repository", TODAY),
    ];
    stale_repository(&both.join(", "))
        .await
        .command(Chosen::check(), "v2")
        .await
        .succeeded();
    stale_repository(&waiver("backup-database", TODAY))
        .await
        .command(Chosen::check(), "v2")
        .await
        .ended(Outcome::Failed, ExitCode::Gate);
}

#[tokio::test(start_paused = true)]
async fn one_problem_of_a_check_is_waived_by_its_name() {
    let named = |problem: &str| waiver("lint", TODAY).replace("lint,", &format!("lint, problem: {problem},"));
    let ended = behind_a_shell("").command(Chosen::check(), "v1").await;
    ended.succeeded();
    assert!(
        ended.warnings().contains("[lint: shell-as-pid-1]"),
        "{}",
        ended.warnings()
    );
    assert_eq!(ended.task_message(StepId::Check, "lint").unwrap(), "1 warning");

    let ended = behind_a_shell(&named("shell-as-pid-1"))
        .command(Chosen::check(), "v1")
        .await;
    ended.succeeded();
    assert_eq!(ended.warnings(), "");
    assert_eq!(
        ended.task_message(StepId::Check, "lint").unwrap(),
        "waived by ada until 2026-01-01: moving house"
    );

    let ended = behind_a_shell(&named("no-room-on-disk"))
        .command(Chosen::check(), "v1")
        .await;
    assert_eq!(ended.task_message(StepId::Check, "lint").unwrap(), "1 warning");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_judges_waivers_by_today_too() {
    without_image(&waiver("images", YESTERDAY))
        .dry_run(Chosen::check(), "v1")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("no such image redis:77")
        .says("(waived by ada until 2025-12-31, which is over)");
    let ended = without_image(&waiver("images", TODAY))
        .dry_run(Chosen::check(), "v1")
        .await;
    ended.succeeded();
    let planned = ended.planned(StepId::Check);
    let images = planned.iter().find(|change| change.target == "images").unwrap();
    assert_eq!(images.kind, ChangeKind::Keep);
    assert_eq!(images.detail, "waived by ada until 2026-01-01: moving house");
}

#[tokio::test(start_paused = true)]
async fn a_waiver_of_no_check_is_refused_with_the_nearest() {
    let stack = Stack::viatique();
    waived(&stack, &waiver("backup-databse", TODAY));
    for ended in [
        stack.command(Chosen::check(), "v1").await,
        stack.run("v1").await,
        stack.dry_run(Chosen::run(), "v1").await,
    ] {
        ended
            .ended(Outcome::Failed, ExitCode::Configuration)
            .says("checks.waivers: there is no check `backup-databse`; did you mean `backup-database`?")
            .hints_at("viatique-deploy check --list");
    }
}

#[test]
fn a_waiver_says_why_by_whom_and_until_when() {
    for (entry, expected) in [
        (
            "{check: lint, reason: ' ', owner: ada, until: 2026-01-01}",
            "deploy.yml:3:42: `checks.waivers[0].reason`: it must not be empty",
        ),
        (
            "{check: lint, reason: why, owner: '', until: 2026-01-01}",
            "deploy.yml:3:54: `checks.waivers[0].owner`: it must not be empty",
        ),
        (
            "{check: lint, reason: why, until: 2026-01-01}",
            "deploy.yml:3:20: missing key `owner` in `checks.waivers[0]`",
        ),
        (
            "{check: lint, reason: why, owner: ada}",
            "deploy.yml:3:20: missing key `until` in `checks.waivers[0]`",
        ),
        (
            "{check: lint, reason: why, owner: ada, until: 2026-02-30}",
            "deploy.yml:3:66: `checks.waivers[0].until`: `2026-02-30` is no day; write it as 2026-12-31",
        ),
    ] {
        let text = format!("project: a\ncompose: a.yml\nchecks: {{waivers: [{entry}]}}\n");
        let error = config::parse(Path::new("deploy.yml"), &text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_named_is_looked_at() {
    let only = Selection::of(&ids(&["lint", "engine"]), &[]).unwrap();
    // The image that is missing is not among them.
    let ended = without_image("").command(Chosen::check_with(only), "v1").await;
    ended.succeeded();
    assert!(ended.task_message(StepId::Check, "lint").is_some());
    assert!(ended.task_message(StepId::Check, "engine").is_some());
    assert_eq!(ended.task_message(StepId::Check, "images"), None);
    for (only, skip, expected) in [
        (
            &["imgaes"][..],
            &[][..],
            "--only: there is no check `imgaes`; did you mean `images`?",
        ),
        (
            &[],
            &["imgaes"],
            "--skip: there is no check `imgaes`; did you mean `images`?",
        ),
        (&[], &["zzz"], "--skip: there is no check `zzz`"),
    ] {
        let refused = Selection::of(&ids(only), &ids(skip)).unwrap_err();
        assert_eq!(refused.error.to_string(), expected);
        assert_eq!(refused.hints, ["viatique-deploy check --list"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_run_left_out_stands_in_the_record() {
    let stack = stale_repository("").await;
    let skip = || Selection::of(&[], &ids(&["backup-repository"])).unwrap();
    let ended = stack.command(Chosen::check_with(skip()), "v2").await;
    ended.succeeded();
    assert!(
        ended
            .step_message(StepId::Check)
            .ends_with("1 skipped (backup-repository)"),
        "{}",
        ended.step_message(StepId::Check)
    );
    let chosen = Chosen::run_with(BuildArgs::default(), Rehearsing::Not, skip());
    stack.command(chosen, "v2").await.succeeded();
    let record = record(&stack).await;
    let outcome = of(&record, "backup-repository");
    assert_eq!(outcome.verdict, CheckVerdict::Skipped);
    assert_eq!(outcome.line, "skipped: somebody said so");
    assert!(record.passed > 0);
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_told_together() {
    let stack = stale_repository("").await;
    stack.edit_compose("image: redis:7\n", "image: redis:77\n");
    stack
        .command(Chosen::check(), "v2")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("2 problems stand in the way of a deploy")
        .shows("services.redis: no such image redis:77")
        .shows("[images]")
        .shows(&format!("{TOO_OLD} [backup-repository]"));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_takes_too_long_is_not_verified_and_stops_a_deploy() {
    let stack = without_image("");
    stack.engine.fault_on("image_in_registry", 1, Fault::HangBefore);
    let ended = stack.command(Chosen::check(), "v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("not verified: it took longer than 7 s [images]");
    assert_eq!(
        ended.task_result(StepId::Check, "images"),
        Some(StepResult::NotVerified)
    );
}
