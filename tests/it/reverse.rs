//! `rollback --reverse-migrations`: exactly what was applied since goes, by the newer code, and before or after the
//! earlier code serves.

use viatique_deploy::commands::reversing::{order, serves_already};
use viatique_deploy::commands::rollback;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::error::Failure;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::ledger::Memory;
use viatique_deploy::pipeline::{Outcome, Reversal, ReversalOrder, StepId, StepResult, UnwindResult};
use viatique_deploy::release::schema::{Fit, fit, since};
use viatique_deploy::release::{Release, Tag};
use viatique_deploy::steps::reverse::Reverse;

use crate::support::{Ended, FOREVER, FakeOutput, Fault, ImageBehaviour, Stack};

/// What the earlier release's code cannot bear.
const BREAKS: &str = "Remove field note from copy: what runs still reads it";

/// `v1`, and `v2` with a migration that only adds.
async fn two_releases() -> Stack {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    stack.run("v2").await.succeeded();
    stack
}

/// `v1`, and `v2` with a migration that `v1` cannot bear.
async fn two_that_do_not_fit() -> Stack {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    stack.run("v1").await.succeeded();
    stack.bring_migration_that("copies", "0002_without_note", "breaks", BREAKS);
    let mut settings = stack.settings("v2");
    settings.allow_incompatible = true;
    stack.command_with(Chosen::run(), settings).await.succeeded();
    stack
}

fn applied(stack: &Stack) -> Vec<String> {
    let database = stack.database.lock().unwrap();
    database.applied.iter().map(|(_, name)| name.clone()).collect()
}

fn target<'a>(memory: &'a Memory, tag: &str) -> &'a Release {
    rollback::target(memory, Some(tag)).unwrap()
}

/// The half that takes migrations back, as the command starts it once everybody has agreed.
async fn reversing(
    stack: &Stack,
    tag: &str,
    order: ReversalOrder,
    with: Option<&str>,
) -> Result<Option<Ended>, Failure> {
    let memory = stack.memory().await;
    let target = target(&memory, tag);
    let with = with.map(|tag| Tag::new(tag).unwrap());
    let reversal = Reversal { order, with };
    let settings_of = |newer: viatique_deploy::steps::reverse::Newer<'_>| Ok(stack.settings_of(newer));
    let Some(reverse) = Reverse::to(&memory.releases, target, &reversal, settings_of)? else {
        return Ok(None);
    };
    let mut settings = stack.recorded_settings(target);
    settings.reverses = Some(reversal);
    let chosen = Chosen::reversing(target, reverse);
    Ok(Some(stack.command_with(chosen, settings).await))
}

#[tokio::test(start_paused = true)]
async fn code_that_fits_goes_back_first_and_the_schema_after_it() {
    let stack = two_releases().await;
    let memory = stack.memory().await;
    let v1 = target(&memory, "v1");
    assert_eq!(
        order(&memory, v1, false).unwrap(),
        (ReversalOrder::CodeFirst, None)
    );
    assert!(!serves_already(&memory, v1));
    stack.rollback(Some("v1")).await.unwrap().succeeded();
    let memory = stack.memory().await;
    assert!(serves_already(&memory, target(&memory, "v1")));
    assert_eq!(applied(&stack), ["0001_initial", "0002_mark"]);
    let v2_image = memory.releases.all()[1]
        .images
        .values()
        .next()
        .unwrap()
        .id
        .clone();
    let ended = reversing(&stack, "v1", ReversalOrder::CodeFirst, None)
        .await
        .unwrap()
        .unwrap();
    ended.succeeded();
    assert_eq!(ended.step_message(StepId::Reverse), "took back copies.0002_mark");
    assert_eq!(applied(&stack), ["0001_initial"]);
    assert_eq!(
        ended.step(StepId::Backup),
        StepResult::Succeeded,
        "of what would go"
    );
    let commands = stack.engine.commands();
    let script = commands
        .iter()
        .find(|command| command.line().contains("\nrun(\"reverse\""))
        .unwrap();
    assert_eq!(
        script.image, v2_image,
        "the earlier code does not know the migration"
    );
    // What is recorded tells what stands.
    let releases = stack.releases().await;
    let current = releases.current().unwrap();
    assert_eq!(current.tag.as_str(), "v1");
    let removed = current.migrations.as_ref().unwrap().removed();
    assert_eq!(removed.len(), 1);
    assert_eq!(fit(&since(&releases.all()[1..])), Fit::Same);
    // `v2` needs what was taken back.
    let Fit::Breaks(why) = fit(&since(&releases.all()[2..])) else {
        panic!("v2 does not fit")
    };
    assert_eq!(why, ["copies.0002_mark: it was taken back"]);
    // And there is nothing more to take back.
    assert!(
        reversing(&stack, "v1", ReversalOrder::CodeFirst, None)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn where_neither_can_serve_in_between_it_has_to_be_asked_for() {
    let stack = two_that_do_not_fit().await;
    let memory = stack.memory().await;
    let v1 = target(&memory, "v1");
    let refused = order(&memory, v1, false).unwrap_err();
    assert_eq!(
        refused.report().hints,
        ["to take them back all the same: --allow-breaking"]
    );
    assert_eq!(
        order(&memory, v1, true).unwrap(),
        (ReversalOrder::SchemaFirst, None)
    );
    let ended = reversing(&stack, "v1", ReversalOrder::SchemaFirst, None)
        .await
        .unwrap()
        .unwrap();
    ended.succeeded();
    assert_eq!(applied(&stack), ["0001_initial"]);
    assert_eq!(ended.serves.as_deref(), Some("v1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sure_is_said() {
    let stack = two_releases().await;
    stack.bring_migration_that("copies", "0003_data", "unsure", "Run fill()");
    stack.run("v3").await.succeeded();
    let memory = stack.memory().await;
    let (first, unsure) = order(&memory, target(&memory, "v2"), false).unwrap();
    assert_eq!(first, ReversalOrder::CodeFirst);
    assert_eq!(
        unsure.unwrap(),
        "whether the code of v2 bears the migrations cannot be told, and it serves on them until they are taken back: \
         copies.0003_data: Run fill()"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_earlier_release_fails_with_puts_schema_and_code_back() {
    let stack = two_that_do_not_fit().await;
    let releases = stack.releases().await;
    let images = &releases.all()[0].images;
    let (_, backend) = images
        .iter()
        .find(|(service, _)| service.as_str() == "backend")
        .unwrap();
    stack.engine.image_behaves(&backend.id, ImageBehaviour::exits(1));
    let ended = reversing(&stack, "v1", ReversalOrder::SchemaFirst, None)
        .await
        .unwrap()
        .unwrap();
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(ended.undo(StepId::Reverse).unwrap().0, UnwindResult::Reverted);
    assert_eq!(applied(&stack), ["0001_initial", "0002_without_note"]);
    let warnings = ended.warnings();
    assert!(
        warnings.contains(&format!(
            "copies.0002_without_note were taken back and applied again: what was in their columns and tables is in \
             backup {}",
            ended.run
        )),
        "{warnings}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_back_is_refused_and_nothing_has_changed() {
    let stack = two_releases().await;
    stack.bring_migration_that("copies", "0003_fill", "irreversible", "Run fill()");
    stack.run("v3").await.succeeded();
    stack.rollback(Some("v1")).await.unwrap().succeeded();
    let ended = reversing(&stack, "v1", ReversalOrder::CodeFirst, None)
        .await
        .unwrap()
        .unwrap();
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended.says("the migrations cannot all be taken back; nothing was changed");
    assert!(ended.evidence().contains("copies.0003_fill: Run fill()"));
    assert_eq!(applied(&stack).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_is_found_out_although_django_reports_success() {
    let stack = two_releases().await;
    stack.rollback(Some("v1")).await.unwrap().succeeded();
    let database = stack.database.clone();
    stack.answer(move |command| {
        let reverses = command.line().contains("\nrun(\"reverse\"");
        reverses.then(|| {
            let state = database.lock().unwrap().answer();
            FakeOutput::stdout(format!("{state}{state}"))
        })
    });
    let ended = reversing(&stack, "v1", ReversalOrder::CodeFirst, None)
        .await
        .unwrap()
        .unwrap();
    ended.ended(Outcome::Failed, ExitCode::Failed);
    ended.says("the migrations that stand are not those of the earlier release");
    assert!(ended.evidence().contains("copies.0002_mark stands"));
    assert_eq!(ended.undo(StepId::Reverse).unwrap().0, UnwindResult::LeftInPlace);
    assert_eq!(ended.serves.as_deref(), Some("v1"));
}

#[tokio::test(start_paused = true)]
async fn what_a_run_that_failed_has_left_its_own_code_takes_back() {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    stack.image_is("viatique-backend:v2", ImageBehaviour::exits(1));
    stack
        .run("v2")
        .await
        .ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(applied(&stack).len(), 2);
    let migrates = |stack: &Stack, order: &str| {
        let commands = stack.engine.commands();
        let order = format!("\nrun(\"{order}\"");
        let last = commands.iter().rfind(|command| command.line().contains(&order));
        last.unwrap().image.clone()
    };
    assert!(
        reversing(&stack, "v1", ReversalOrder::CodeFirst, None)
            .await
            .unwrap()
            .is_none()
    );
    let ended = reversing(&stack, "v1", ReversalOrder::CodeFirst, Some("v2"))
        .await
        .unwrap()
        .unwrap();
    ended.succeeded();
    assert_eq!(applied(&stack), ["0001_initial"]);
    assert_eq!(migrates(&stack, "reverse"), migrates(&stack, "migrate"));
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_killed_resume_finishes_it() {
    let stack = two_that_do_not_fit().await;
    let clean = stack.fork();
    reversing(&clean, "v1", ReversalOrder::SchemaFirst, None)
        .await
        .unwrap()
        .unwrap()
        .succeeded();
    let calls = clean.engine.calls().len();
    let mut finished = 0;
    for number in 1..=calls {
        let stack = stack.fork();
        stack.engine.fault_at(number, Fault::HangAfter);
        let killed = tokio::time::timeout(FOREVER, reversing(&stack, "v1", ReversalOrder::SchemaFirst, None));
        let killed = killed.await;
        stack.engine.heal();
        if killed.is_ok() {
            // Something else was waited for beside it.
            continue;
        }
        stack.process_is_gone();
        let what = format!("call {number} of {calls}");
        let resumed = stack.resume().await.unwrap();
        if let Some(resumed) = resumed {
            resumed.succeeded();
            finished += 1;
            assert_eq!(applied(&stack), ["0001_initial"], "{what}");
            assert_eq!(resumed.serves.as_deref(), Some("v1"), "{what}");
        }
    }
    assert!(finished > 5, "{finished}");
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_code_and_schema_are_of_one_release() {
    let stack = two_that_do_not_fit().await;
    let clean = stack.fork();
    reversing(&clean, "v1", ReversalOrder::SchemaFirst, None)
        .await
        .unwrap()
        .unwrap()
        .succeeded();
    let calls = clean.engine.calls().len();
    for number in 1..=calls {
        for fault in [
            Fault::Fail(EngineErrorKind::Other),
            Fault::LoseReply(EngineErrorKind::ConnectionLost),
        ] {
            let stack = stack.fork();
            stack.engine.fault_at(number, fault);
            let ended = reversing(&stack, "v1", ReversalOrder::SchemaFirst, None)
                .await
                .unwrap()
                .unwrap();
            stack.engine.heal();
            let what = format!("call {number} of {calls}, {fault:?}: {}", ended.message());
            match ended.outcome {
                Outcome::Succeeded => assert_eq!(applied(&stack), ["0001_initial"], "{what}"),
                Outcome::Stuck => {}
                Outcome::Failed | Outcome::RolledBack | Outcome::Interrupted => {
                    assert_eq!(applied(&stack).len(), 2, "{what}");
                    assert_eq!(ended.serves.as_deref(), Some("v2"), "{what}");
                }
            }
        }
    }
}
