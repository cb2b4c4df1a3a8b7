//! What the host must not do: show its databases to the network, or tell another time than ours.

use viatique_deploy::cli::BuildArgs;
use viatique_deploy::commands::steps::{Chosen, Rehearsing};
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, Fault, Stack};

async fn check(stack: &Stack, id: &str) -> Ended {
    let selection = Selection::of(&[id.to_owned()], &[]).unwrap();
    stack.command(Chosen::check_with(selection), "v1").await
}

/// The database, published so.
fn publishing(port: &str) -> Stack {
    let stack = Stack::viatique();
    stack.edit_compose(
        "    image: postgres:17\n",
        &format!("    image: postgres:17\n    ports: [\"{port}\"]\n"),
    );
    stack
}

#[tokio::test(start_paused = true)]
async fn a_database_on_every_address_stops() {
    for port in ["5432:5432", "0.0.0.0:5432:5432", "[::]:5432:5432"] {
        check(&publishing(port), "published-ports")
            .await
            .ended(Outcome::Failed, ExitCode::Configuration)
            .says("docker-compose.yml:5: services.db.ports: PostgreSQL's port is published on every address of this machine")
            .says("[published-ports: db]")
            .hints_at("127.0.0.1:5432:5432");
    }
    check(&publishing("203.0.113.7:6000:5432"), "published-ports")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("PostgreSQL's port is published on 203.0.113.7 as 6000");
    let stack = publishing("5432:5432");
    stack
        .run("v1")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("PostgreSQL's port");
}

#[tokio::test(start_paused = true)]
async fn a_database_is_known_by_its_port_and_by_its_image() {
    let stack = Stack::viatique();
    // Another name of the image, and the port that gives it away.
    stack.edit_compose(
        "    build: ./frontend\n",
        "    build: ./frontend\n    ports: [\"7000:6379\"]\n",
    );
    check(&stack, "published-ports")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("services.frontend.ports: Redis's port is published on every address of this machine as 7000");
    let stack = Stack::viatique();
    // Another port, and the image that gives it away.
    stack.edit_compose(
        "    image: redis:7\n",
        "    image: redis:7\n    ports: [\"7000:7000\"]\n",
    );
    check(&stack, "published-ports")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("services.redis.ports: port 7000 of a database or broker is published");
    // The web server is meant to be.
    let stack = Stack::viatique();
    stack.edit_compose("127.0.0.1:8080:80", "80:80");
    check(&stack, "published-ports").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_database_on_this_machine_alone_passes_and_a_private_address_is_told() {
    let ended = check(&publishing("127.0.0.1:5432:5432"), "published-ports").await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "published-ports").unwrap(),
        "no database or broker is published beyond this machine"
    );
    let ended = check(&publishing("10.0.0.5:5432:5432"), "published-ports").await;
    ended.succeeded();
    assert!(
        ended
            .warnings()
            .contains("PostgreSQL's port is published on 10.0.0.5 as 5432"),
        "{}",
        ended.warnings()
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_that_still_publishes_one_stops_until_it_is_made_anew() {
    let stack = publishing("0.0.0.0:5432:5432");
    let skip = Selection::of(&[], &["published-ports".to_owned()]).unwrap();
    let run = Chosen::run_with(BuildArgs::default(), Rehearsing::Not, skip);
    stack.command(run, "v1").await.succeeded();
    // The files are mended; a deploy leaves a database as it is.
    stack.edit_compose("0.0.0.0:5432:5432", "127.0.0.1:5432:5432");
    check(&stack, "published-ports")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("container viatique-db-1 publishes port 5432 on every address of this machine")
        .hints_at("viatique-deploy run --replace db");
    stack.run_replacing("v2", &["db"]).await.unwrap().succeeded();
    check(&stack, "published-ports").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn what_is_published_is_not_known_where_the_engine_does_not_answer() {
    let stack = Stack::viatique();
    stack
        .engine
        .fault_on("containers", 1, Fault::Fail(EngineErrorKind::Unreachable));
    let ended = check(&stack, "published-ports").await;
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(
        ended.task_result(StepId::Check, "published-ports"),
        Some(StepResult::Failed)
    );
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_are_told_and_stop_where_ages_are_judged_wrongly() {
    let stack = Stack::viatique();
    let ended = check(&stack, "clock").await;
    ended.succeeded();
    assert_eq!(
        ended.task_result(StepId::Check, "clock"),
        Some(StepResult::Succeeded)
    );
    stack.engine.is_off_by(time::Duration::seconds(-30));
    let ended = check(&stack, "clock").await;
    ended.succeeded();
    let warnings = ended.warnings();
    assert!(
        warnings.contains("s behind this machine's") && warnings.contains("timedatectl"),
        "{warnings}"
    );
    stack.engine.is_off_by(time::Duration::seconds(300));
    check(&stack, "clock")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("s ahead of this machine's")
        .hints_at("timedatectl set-ntp true");
    let stack = Stack::viatique();
    stack
        .engine
        .fault_on("time", 1, Fault::Fail(EngineErrorKind::Other));
    let ended = check(&stack, "clock").await;
    ended.succeeded();
    assert_eq!(
        ended.task_result(StepId::Check, "clock"),
        Some(StepResult::NotVerified)
    );
}
