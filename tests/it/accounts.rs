//! The account of a run, which is kept on the engine: what is in it, of which runs there is one, and that no run ends
//! otherwise for it.

use viatique_deploy::account::Account;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::ledger::{Ledger, REMEMBERED};
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::release::RunId;
use viatique_deploy::release::checks::CheckVerdict;

use crate::support::{Fault, ImageBehaviour, PASSWORD, PROJECT, Stack};

/// Those that are kept, the oldest first.
async fn kept(stack: &Stack) -> Vec<Account> {
    let memory = stack.memory().await;
    let accounts = memory.accounts.iter();
    accounts.map(|(run, kept)| kept.read(run).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_is_told_step_by_step() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.bring_migration("exams", "0003_marks");
    let ended = stack.run("v2").await;
    ended.succeeded();
    let accounts = kept(&stack).await;
    let [first, second] = accounts.as_slice() else {
        panic!("{accounts:?}");
    };
    assert_eq!((&first.before, first.serves.as_deref()), (&None, Some("v1")));
    assert_eq!(second.before.as_ref().unwrap().as_str(), "v1");
    assert_eq!(second.serves.as_deref(), Some("v2"));
    assert_eq!((second.outcome, second.exit_code), (Outcome::Succeeded, 0));
    assert_eq!(second.run, stack.memory().await.releases.current().unwrap().run);
    let steps: Vec<StepId> = second.steps.iter().map(|one| one.step).collect();
    let told: Vec<StepId> = ended.steps.iter().map(|one| one.0).collect();
    assert!(steps.iter().all(|step| told.contains(step)) && steps.len() == told.len());
    let migrate = second.step(StepId::Migrate).unwrap();
    assert_eq!(migrate.message, ended.step_message(StepId::Migrate));
    assert!(migrate.began.unwrap() >= second.step(StepId::Check).unwrap().seconds);
    let deploy = second.step(StepId::Deploy).unwrap();
    let backend = deploy.tasks.iter().find(|task| task.task == "backend").unwrap();
    assert_eq!(backend.result, StepResult::Succeeded);
    assert!(backend.began >= deploy.began.unwrap() && backend.seconds > 0.0);
    // Each once, as it went the last time.
    let mut ids: Vec<&str> = second
        .checks
        .iter()
        .map(|one| one.outcome.check.as_str())
        .collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(
        second
            .checks
            .iter()
            .any(|one| one.outcome.verdict == CheckVerdict::Passed)
    );
    assert!(!serde_json::to_string(second).unwrap().contains(PASSWORD));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_taken_back_says_what_failed_and_what_was_put_back() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.image_is("viatique-backend:v2", ImageBehaviour::exits(1));
    let ended = stack.run("v2").await;
    assert_ne!(ended.outcome, Outcome::Succeeded);
    let account = kept(&stack).await.pop().unwrap();
    assert_eq!((account.outcome, account.release.as_str()), (ended.outcome, "v2"));
    assert_eq!(account.serves.as_deref(), Some("v1"));
    assert_eq!(account.error.as_ref().unwrap().chain.join(": "), ended.message());
    assert_eq!(account.step(StepId::Deploy).unwrap().result, StepResult::Failed);
    let health = account.step(StepId::Health).unwrap();
    assert_eq!((health.result, health.began), (StepResult::NotRun, None));
    let undone = account
        .unwound
        .iter()
        .find(|one| one.step == StepId::Deploy)
        .unwrap();
    assert_eq!(
        Some((undone.result.unwrap(), undone.message.clone())),
        ended.undo(StepId::Deploy)
    );
}

#[tokio::test(start_paused = true)]
async fn what_deploys_nothing_has_none() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.command(Chosen::health(), "v1").await.succeeded();
    stack.dry_run(Chosen::run(), "v2").await.succeeded();
    assert_eq!(kept(&stack).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_as_it_does_where_its_account_cannot_be_kept() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let trial = stack.fork();
    trial.run("v2").await.succeeded();
    let written = |stack: &Stack| {
        let mut calls = stack.engine.calls();
        calls.retain(|call| call.name == "write_files");
        calls
    };
    let of_trial = written(&trial);
    assert!(of_trial.last().unwrap().target.contains("accounts/"));
    let last = written(&stack).len() + of_trial.len();
    stack
        .engine
        .fault_on("write_files", last, Fault::Fail(EngineErrorKind::Other));
    let ended = stack.run("v2").await;
    ended.succeeded();
    let warnings = ended.warnings();
    assert!(
        warnings.contains("the account of this run could not be kept, and no report tells of it"),
        "{warnings}"
    );
    assert_eq!(kept(&stack).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn accounts_long_past_go() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let account = kept(&stack).await.pop().unwrap();
    let ledger = Ledger::open(&stack.engine, PROJECT).await.unwrap();
    for number in 0..110 {
        let run = RunId(format!("20200101T000000Z-{number:06x}"));
        let old = Account {
            run,
            ..account.clone()
        };
        ledger.keep_account(&old).await.unwrap();
    }
    stack.run("v2").await.succeeded();
    let stay = kept(&stack).await;
    assert_eq!(stay.len(), REMEMBERED + 1);
    assert_eq!(stay.last().unwrap().release.as_str(), "v2");
}
