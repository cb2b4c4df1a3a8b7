//! Commands of the operator's own, before and after steps.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use crate::support::{CommandKind, Ended, FakeOutput, ImageBehaviour, Stack};

/// One service, so that little has to be waited for: a process of this machine runs in its own time.
fn with_hooks(hooks: &str) -> Stack {
    let compose = "services:\n  web:\n    image: web:${RELEASE_TAG}\n";
    let deploy_yml = format!("project: viatique\ncompose: [docker-compose.yml]\nhooks:\n{hooks}\n");
    let stack = Stack::of(compose, &deploy_yml);
    for tag in ["v1", "v2"] {
        let engine = stack.engine.clone();
        let _ = engine.with_image(&format!("web:{tag}"), ImageBehaviour::running());
    }
    stack
}

async fn deploy(stack: &Stack, tag: &str) -> Ended {
    stack.command(Chosen::deploy(), tag).await
}

/// What a hook on this machine wrote into a file beside `deploy.yml`.
fn written(stack: &Stack, file: &str) -> Option<String> {
    std::fs::read_to_string(stack.directory.path().join(file)).ok()
}

const TELL: &str = "  - before: deploy\n    run: [sh, -c, \"echo told; echo $VIATIQUE_DEPLOY_PROJECT $VIATIQUE_DEPLOY_RELEASE \
                    after $VIATIQUE_DEPLOY_RELEASE_BEFORE at $VIATIQUE_DEPLOY_STEP >> facts\"]";

#[tokio::test]
async fn one_on_this_machine_knows_what_is_deployed() {
    let stack = with_hooks(TELL);
    deploy(&stack, "v1").await.succeeded();
    assert_eq!(
        written(&stack, "facts").as_deref(),
        Some("viatique v1 after at deploy\n")
    );
    let ended = deploy(&stack, "v2").await;
    ended.succeeded();
    assert!(
        written(&stack, "facts")
            .unwrap()
            .ends_with("viatique v2 after v1 at deploy\n")
    );
    let line = &TELL[TELL.find("echo").unwrap()..TELL.len() - 2];
    let name = format!("hook sh -c {line}");
    assert_eq!(ended.task_output(StepId::Deploy, &name), ["told"]);
}

#[tokio::test]
async fn a_dry_run_plans_it_and_runs_none() {
    let stack = with_hooks(TELL);
    let planned = stack.dry_run(Chosen::deploy(), "v1").await;
    let changes = planned.planned(StepId::Deploy);
    let hook = changes.iter().find(|change| change.target.starts_with("hook sh"));
    assert_eq!(hook.unwrap().detail, "before the step, on this machine");
    assert_eq!(written(&stack, "facts"), None);
}

#[tokio::test]
async fn one_that_fails_before_a_step_keeps_it_from_beginning() {
    let stack = with_hooks("  - before: deploy\n    run: [sh, -c, \"echo not today >&2; exit 3\"]");
    let ended = deploy(&stack, "v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("the hook `sh -c echo not today >&2; exit 3`, before deploy")
        .says("exit status: 3")
        .shows("not today");
    assert_eq!(ended.step(StepId::Deploy), StepResult::Failed);
    assert!(stack.engine.peek().running("web").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_after_a_step_takes_it_back() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.edit_deploy_yml(
        "health:",
        "hooks:\n  - after: deploy\n    run: [warm, up]\n    in: backend\nhealth:",
    );
    stack.answer(|command| {
        let hook = command.kind == CommandKind::Exec && command.line() == "warm up";
        hook.then(|| {
            assert_eq!(command.environment["VIATIQUE_DEPLOY_RELEASE"], "v2");
            FakeOutput::stdout("cold\n").exits(4)
        })
    });
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("the hook `warm up` in backend, after deploy")
        .says("exit code 4")
        .shows("cold");
    let seen = stack.engine.peek();
    assert_eq!(seen.releases("backend"), ["v1"]);
    assert_eq!(seen.names(), before.names());
    // In the new container, not in the one that is kept for the way back.
    let heard = stack
        .engine
        .commands()
        .into_iter()
        .find(|command| command.line() == "warm up");
    assert_ne!(heard.unwrap().image, before.container("viatique-backend-1").image);
}

#[tokio::test]
async fn one_that_takes_too_long_is_not_waited_for() {
    let stack = with_hooks("  - before: deploy\n    run: [sleep, \"60\"]\n    timeout: 50ms");
    deploy(&stack, "v1")
        .await
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("it was not done after 0 s")
        .hints_at("`timeout` beside its `run`");
}
