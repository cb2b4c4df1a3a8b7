//! nginx: its configuration is tested before anything is switched, it is told to read it again, and it is replaced
//! only where it must be.

use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{ChangeKind, Outcome, StepId};

use super::steered;
use crate::support::{CommandKind, FakeApp, FakeCommand, FakeOutput, ImageBehaviour, Stack};

fn is_test(command: &FakeCommand) -> bool {
    command.line() == "nginx -t"
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_does_not_pass_stops_before_anything_is_switched() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.answer(|command| {
        is_test(command).then(|| {
            FakeOutput::silent()
                .and_stderr("nginx: [emerg] unexpected \"}\" in default.conf:12\n")
                .exits(1)
        })
    });
    stack.engine.watch();
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("nginx does not accept its configuration (exit code 1)")
        .shows("unexpected \"}\" in default.conf:12");
    assert_eq!(stack.engine.peek().containers, before.containers);
    for (call, seen) in stack.engine.watched() {
        assert_eq!(seen.releases("backend"), ["v1"], "switched at {call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_fails_takes_the_release_back() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let failed = std::sync::atomic::AtomicBool::new(false);
    stack.answer(move |command| {
        let fails =
            command.line() == "nginx -s reload" && !failed.swap(true, std::sync::atomic::Ordering::Relaxed);
        fails.then(|| FakeOutput::silent().and_stderr("no such process\n").exits(1))
    });
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("nginx could not be reloaded")
        .shows("no such process");
    let seen = stack.engine.peek();
    assert_eq!(seen.names(), before.names());
    for service in ["backend", "frontend", "celery_worker", "celery_beat"] {
        assert_eq!(seen.releases(service), ["v1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_image_is_tested_with_the_configuration_before_the_old_one_stops() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.edit_compose("nginx:1.28", "nginx:1.29");
    stack.answer(|command| {
        (is_test(command) && command.kind == CommandKind::OneOff)
            .then(|| FakeOutput::silent().and_stderr("unknown directive\n").exits(1))
    });
    stack.engine.watch();
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("nginx does not accept its configuration")
        .shows("unknown directive");
    let seen = stack.engine.peek();
    assert_eq!(seen.names(), before.names());
    let nginx = before.container("viatique-nginx-1");
    assert_eq!(seen.container("viatique-nginx-1").id, nginx.id);
    for (call, seen) in stack.engine.watched() {
        assert_eq!(seen.running("nginx").len(), 1, "no nginx at {call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_image_replaces_it_with_a_gap_which_the_plan_announces() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.edit_compose("nginx:1.28", "nginx:1.29");
    let plan = stack
        .dry_run(viatique_deploy::commands::steps::Chosen::run(), "v2")
        .await;
    let change = plan
        .planned(StepId::Deploy)
        .into_iter()
        .find(|change| change.target == "nginx")
        .unwrap();
    assert_eq!(change.kind, ChangeKind::ReplaceWithGap, "{change:?}");
    stack.run("v2").await.succeeded();
    let seen = stack.engine.peek();
    assert_ne!(
        seen.container("viatique-nginx-1").id,
        before.container("viatique-nginx-1").id
    );
    assert_eq!(seen.names(), before.names());
}

#[tokio::test(start_paused = true)]
async fn commands_of_deploy_yml_are_used_instead_of_nginx_s_own() {
    let stack = Stack::viatique();
    stack.edit_deploy_yml(
        "django:",
        "services: { nginx: { strategy: reload, test: [proxy, check], reload: [proxy, reload] } }\ndjango:",
    );
    stack.answer(|command| (command.words.first()? == "proxy").then(FakeOutput::silent));
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    let lines: Vec<String> = stack.engine.commands().iter().map(FakeCommand::line).collect();
    assert!(lines.contains(&"proxy check".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("nginx")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_proxy_there_is_nothing_to_reload() {
    let compose = "services:\n  web:\n    image: web:1\n";
    let stack = Stack::of(compose, "project: viatique\ncompose: [docker-compose.yml]\n");
    let _ = stack
        .engine
        .clone()
        .with_image("web:1", ImageBehaviour::running());
    stack.run("v1").await.succeeded();
    assert!(stack.engine.commands().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_proxy_comes_back_with_the_services_that_it_leads_to() {
    let mut stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.edit_compose("nginx:1.28", "nginx:1.29");
    stack.app = FakeApp::unreachable();
    let ended = stack.run("v2").await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(ended.warnings(), "");
    let seen = stack.engine.peek();
    assert_eq!(seen.names(), before.names());
    let image = |seen: &crate::support::Seen| seen.container("viatique-nginx-1").image.clone();
    assert_eq!(image(&seen), image(&before));
    for service in ["backend", "frontend", "celery_worker", "celery_beat"] {
        assert_eq!(seen.releases(service), ["v1"]);
    }
    assert!(
        steered(&stack, seen.container("viatique-nginx-1")),
        "led back elsewhere"
    );
}

/// Old containers run on until the run has succeeded: the new proxy finds them in DNS too.
#[tokio::test(start_paused = true)]
async fn a_new_proxy_comes_last_and_leads_to_the_new_containers_only() {
    for dependencies in [false, true] {
        let stack = Stack::viatique();
        if !dependencies {
            stack.edit_compose("    depends_on: [backend, frontend]\n", "");
        }
        stack.run("v1").await.succeeded();
        stack.edit_compose("nginx:1.28", "nginx:1.29");
        stack.engine.watch();
        let ended = stack.run("v2").await;
        ended.succeeded();
        assert_eq!(ended.warnings(), "");
        assert!(steered(&stack, stack.engine.peek().container("viatique-nginx-1")));
        for (call, seen) in stack.engine.watched() {
            if call.name == "kill" {
                for service in ["backend", "frontend"] {
                    assert!(seen.releases(service).contains(&"v2"), "{service} at {call:?}");
                }
            }
        }
    }
}
