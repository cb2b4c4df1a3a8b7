//! `check`: what is wrong is said before anything is touched, not even the lock.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::{EngineErrorKind, labels};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use crate::support::{Ended, FakeOutput, Fault, ImageBehaviour, Stack};

/// Both commands refuse, and nothing was changed by either.
async fn refused(stack: &Stack, code: ExitCode) -> Ended {
    let before = stack.engine.peek();
    let check = stack.command(Chosen::check(), "v1").await;
    check.ended(Outcome::Failed, code);
    let run = stack.run("v1").await;
    run.ended(Outcome::Failed, code);
    assert_eq!(run.message(), check.message());
    assert_eq!(run.step(StepId::Backup), StepResult::NotRun);
    assert_eq!(stack.engine.peek(), before);
    run
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_well_passes_and_nothing_is_changed() {
    let stack = Stack::viatique();
    let before = stack.engine.peek();
    let ended = stack.command(Chosen::check(), "v1").await;
    ended.succeeded();
    assert_eq!(ended.step(StepId::Check), StepResult::Unchanged);
    assert_eq!(stack.engine.peek(), before);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_nowhere_is_named_with_its_service() {
    let stack = Stack::viatique();
    stack.edit_compose("redis:7", "redis:77");
    refused(&stack, ExitCode::Configuration)
        .await
        .says("services.redis: no such image redis:77: neither on the engine nor in its registry");
    let _ = stack
        .engine
        .clone()
        .with_registry_image("redis:77", ImageBehaviour::running());
    stack.run("v1").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_build_context_that_is_missing_is_named() {
    let stack = Stack::viatique();
    std::fs::remove_dir_all(stack.directory.path().join("frontend")).unwrap();
    refused(&stack, ExitCode::Configuration)
        .await
        .says("services.frontend.build: the build context")
        .says("does not exist");
}

#[tokio::test(start_paused = true)]
async fn external_networks_and_volumes_must_exist() {
    let stack = Stack::viatique();
    stack.edit_compose(
        "  front:\n  back:\n",
        "  front: { external: true, name: shared }\n  back:\n",
    );
    refused(&stack, ExitCode::Configuration)
        .await
        .says("networks.front: the external network shared does not exist")
        .hints_at("docker network create shared");
    let stack = Stack::viatique();
    stack.edit_compose("  media:\n", "  media: { external: true, name: nas }\n");
    refused(&stack, ExitCode::Configuration)
        .await
        .says("volumes.media: the external volume nas does not exist")
        .hints_at("docker volume create nas");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_another_project_has_is_named_with_its_container() {
    let other = Stack::of(
        "services:\n  web:\n    image: nginx:1.28\n    ports: [\"8080:80\"]\n",
        "project: viatique\ncompose: [docker-compose.yml]\n",
    );
    other.run("v1").await.succeeded();
    other
        .engine
        .relabel("viatique-web-1", labels::COMPOSE_PROJECT, "other");
    let mut stack = Stack::viatique();
    stack.engine = other.engine.clone();
    refused(&stack, ExitCode::Configuration)
        .await
        .says("services.nginx.ports: host port 8080 is taken by container viatique-web-1")
        .hints_at("docker stop viatique-web-1");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_is_a_matter_of_configuration() {
    let stack = Stack::viatique();
    stack
        .engine
        .fault_on("identity", 1, Fault::Fail(EngineErrorKind::Unreachable));
    stack
        .run("v1")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .hints_at("docker version");
}

/// The answer of pgBackRest about a backup that was complete at this second since 1970.
fn pgbackrest(stop: i64) -> String {
    format!(r#"[{{"backup":[{{"error":false,"timestamp":{{"start":1,"stop":{stop}}}}}],"name":"viatique"}}]"#)
}

#[tokio::test(start_paused = true)]
async fn what_another_tool_saves_has_to_be_fresh() {
    let stack = Stack::viatique();
    stack.edit_deploy_yml(
        "  media: { volume: media }\n",
        "  media: { volume: media }\n  repository: { tool: pgbackrest, service: db }\n",
    );
    // A first deploy has nothing to lose.
    let ended = stack.command(Chosen::check(), "v1").await;
    ended.succeeded();
    let said = ended.task_message(StepId::Check, "backup-repository").unwrap();
    assert_eq!(said, "not verified: nothing runs yet");
    let served = Stack::viatique();
    served.run("v1").await.succeeded();
    served.command(Chosen::backup(), "v1").await.succeeded();
    let stopped = served.fork();
    served.edit_deploy_yml(
        "  media: { volume: media }\n",
        "  media: { volume: media }\n  repository: { tool: pgbackrest, service: db }\n",
    );
    let day = 24 * 60 * 60;
    // The stack's clock says about this.
    let now = 1_767_225_600;
    for (answer, passes, says) in [
        (FakeOutput::stdout(pgbackrest(now - day / 2)), true, ""),
        (
            FakeOutput::stdout(pgbackrest(now - 2 * day)),
            false,
            "the newest of pgBackRest is of 2025-12-30T00:00:00Z, which is too old (backup.max_age)",
        ),
        (
            FakeOutput::stdout(pgbackrest(now + day)),
            false,
            "which is too old",
        ),
        (
            FakeOutput::stdout("[]"),
            false,
            "the repository of pgBackRest has no backup",
        ),
        (
            FakeOutput::stdout("ERROR: unable to open"),
            false,
            "asking pgBackRest for its newest backup",
        ),
        (
            FakeOutput::silent().exits(127),
            false,
            "pgbackrest ended with exit code 127",
        ),
    ] {
        served.answer(move |command| {
            let asks = command.words.first().is_some_and(|word| word == "pgbackrest");
            asks.then(|| answer.clone())
        });
        for chosen in [Chosen::check(), Chosen::run()] {
            let ended = served.command(chosen, "v2").await;
            if passes {
                ended.succeeded();
            } else {
                ended.ended(Outcome::Failed, ExitCode::Gate);
                ended.says(says);
            }
        }
    }
    // What is not verified does not pass.
    stopped.edit_deploy_yml(
        "  media: { volume: media }\n",
        "  media: { volume: media }\n  repository: { tool: pgbackrest, service: db }\n",
    );
    stopped.engine.kill("viatique-db-1", 0);
    let ended = stopped.command(Chosen::check(), "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended.says("asking pgBackRest for its newest backup: db does not run");
}
