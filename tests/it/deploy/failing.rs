//! New containers that do not come up, at each service: what serves then, and what the operator is shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use viatique_deploy::engine::{ContainerState, EngineErrorKind, labels};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult, UnwindResult};

use crate::support::{FOREVER, FakeOutput, Fault, ImageBehaviour, PROJECT, Seen, Stack};

/// A service, and the image it has alone.
const SERVICES: [(&str, &str); 4] = [
    ("backend", "viatique-backend"),
    ("frontend", "viatique-frontend"),
    ("celery_worker", "viatique-worker"),
    ("celery_beat", "viatique-beat"),
];

/// Containers made from the same stand as before, each under its name, and nothing else does. What holds data was never
/// touched: it is the very same container.
#[track_caller]
fn as_before(seen: &Seen, before: &Seen) {
    assert_eq!(seen.names(), before.names());
    for old in &before.containers {
        let now = seen.container(&old.name);
        assert_eq!(
            (&now.image, &now.labels),
            (&old.image, &old.labels),
            "{}",
            old.name
        );
        assert_eq!(now.state, old.state, "{}", old.name);
        if old.name.contains("-db-") || old.name.contains("-redis-") {
            assert_eq!(now.id, old.id, "{}", old.name);
        }
    }
    assert_eq!(seen.networks, before.networks);
}

/// v1 serves, v2 has an image that behaves so: v1 must serve afterwards, and the output must show why.
async fn taken_back(behaviour: &ImageBehaviour, says: &str, shows: &[&str]) {
    for (service, image) in SERVICES {
        let stack = Stack::viatique();
        stack.run("v1").await.succeeded();
        let before = stack.engine.peek();
        stack.image_is(&format!("{image}:v2"), behaviour.clone());
        let ended = stack.run("v2").await;
        ended
            .ended(Outcome::RolledBack, ExitCode::RolledBack)
            .says(&format!("deploying {service}"))
            .says(says);
        for text in shows {
            ended.shows(text);
        }
        assert_eq!(ended.serves.as_deref(), Some("v1"));
        assert_eq!(ended.step(StepId::Deploy), StepResult::Failed);
        assert_eq!(ended.step(StepId::Health), StepResult::NotRun);
        as_before(&stack.engine.peek(), &before);
        assert_eq!(stack.releases().await.all().len(), 1);
        // Mended, it goes through.
        stack.image_is(&format!("{image}:v2"), ImageBehaviour::running());
        stack.run("v2").await.succeeded();
    }
}

/// The same on an empty engine: nothing may be left but the data's volumes and the ledger.
async fn cleared_away(behaviour: &ImageBehaviour) {
    for (_, image) in SERVICES {
        let stack = Stack::viatique();
        stack.image_is(&format!("{image}:v1"), behaviour.clone());
        let ended = stack.run("v1").await;
        ended.ended(Outcome::Failed, ExitCode::Failed);
        assert_eq!(ended.serves, None);
        let seen = stack.engine.peek();
        let names: Vec<_> = seen.names().into_iter().collect();
        assert_eq!(names, ["viatique-deploy-ledger-viatique"]);
        assert!(seen.networks.is_empty(), "{:?}", seen.networks);
        assert!(stack.releases().await.all().is_empty());
        stack.image_is(&format!("{image}:v1"), ImageBehaviour::running());
        stack.run("v1").await.succeeded();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_exits_is_taken_back() {
    let behaviour = ImageBehaviour::exits(3).logging(&["Traceback", "ImproperlyConfigured: SECRET_KEY"]);
    taken_back(
        &behaviour,
        "ended with exit code 3",
        &["last log lines of", "ImproperlyConfigured: SECRET_KEY"],
    )
    .await;
    cleared_away(&behaviour).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_crash_loops_is_taken_back() {
    let behaviour = ImageBehaviour::crash_loops(1).logging(&["cannot connect"]);
    taken_back(&behaviour, "keeps ending", &["cannot connect"]).await;
    cleared_away(&behaviour).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_never_healthy_is_taken_back() {
    let behaviour = ImageBehaviour::never_healthy("database: refused").logging(&["listening"]);
    taken_back(
        &behaviour,
        "is unhealthy",
        &["health test of", "exit code 1", "database: refused", "listening"],
    )
    .await;
    cleared_away(&behaviour).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_start_is_taken_back() {
    let behaviour = ImageBehaviour::cannot_start("exec: gunicorn: not found");
    taken_back(&behaviour, "exec: gunicorn: not found", &[]).await;
    cleared_away(&behaviour).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_is_taken_back_and_the_key_that_waits_longer_is_named() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.image_is(
        "viatique-backend:v2",
        ImageBehaviour::healthy_after(Duration::from_secs(180)),
    );
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("is not healthy after 120 s")
        .hints_at("health_timeout");
    as_before(&stack.engine.peek(), &before);
    stack.edit_deploy_yml(
        "django:",
        "services: { backend: { health_timeout: 5m } }\ndjango:",
    );
    stack.run("v2").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_is_waited_for() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.image_is(
        "viatique-backend:v2",
        ImageBehaviour::healthy_after(Duration::from_secs(90)),
    );
    stack.engine.watch();
    stack.run("v2").await.succeeded();
    for (call, seen) in stack.engine.watched() {
        let v1 = seen.releases("backend").contains(&"v1");
        let ready = seen.running("backend").iter().any(|container| {
            container.label(labels::RELEASE) == Some("v2")
                && container.health == Some(viatique_deploy::engine::Health::Healthy)
        });
        assert!(v1 || ready, "nobody answers at {call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_nginx_image_gives_the_old_nginx_back() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let _ = stack.engine.clone().with_image(
        "nginx:broken",
        ImageBehaviour::exits(1).logging(&["bind() failed"]),
    );
    stack.edit_compose("nginx:1.28", "nginx:broken");
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .shows("bind() failed");
    as_before(&stack.engine.peek(), &before);
}

/// The endpoint fails though every container is well: the release is taken back all the same.
#[tokio::test(start_paused = true)]
async fn a_release_that_fails_its_health_check_is_taken_back() {
    let mut stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.app = crate::support::FakeApp::answering(|_, _| Ok((503, "database: gone".to_owned())));
    stack.engine.watch();
    let ended = stack.run("v2").await;
    for (call, seen) in stack.engine.watched() {
        for service in ["backend", "frontend", "celery_worker", "nginx", "db", "redis"] {
            assert!(
                !seen.running(service).is_empty(),
                "nothing runs for {service} at {call:?}"
            );
        }
    }
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("answers 503")
        .shows("database: gone");
    let (result, message) = ended.undo(StepId::Deploy).unwrap();
    assert_eq!(result, UnwindResult::Reverted);
    assert!(message.contains("put back: "), "{message}");
    as_before(&stack.engine.peek(), &before);
}

/// What was stopped by hand before the run is not started by the way back.
#[tokio::test(start_paused = true)]
async fn what_did_not_run_before_does_not_run_after_the_way_back() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.engine.kill("viatique-frontend-1", 143);
    stack.image_is("viatique-worker:v2", ImageBehaviour::exits(1));
    stack
        .run("v2")
        .await
        .ended(Outcome::RolledBack, ExitCode::RolledBack);
    let seen = stack.engine.peek();
    assert!(seen.running("frontend").is_empty(), "{:?}", seen.names());
    assert!(
        seen.containers.iter().any(|container| {
            container.label(labels::COMPOSE_SERVICE) == Some("frontend")
                && matches!(container.state, ContainerState::Exited(_))
        }),
        "it is kept: {:?}",
        seen.names()
    );
    assert_eq!(seen.releases("backend"), ["v1"]);
}

/// Both errors are said, the first one first, and the person is told what to look at.
#[tokio::test(start_paused = true)]
async fn where_the_way_back_fails_too_a_person_is_asked() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.image_is(
        "viatique-worker:v2",
        ImageBehaviour::exits(1).logging(&["no module named tasks"]),
    );
    // The old beat cannot be started again, and nothing made from its image either.
    let beat = stack.engine.peek().container("viatique-celery_beat-1").clone();
    stack.engine.break_start(&beat.id, "no space left on device");
    stack.engine.image_behaves(
        &beat.image,
        ImageBehaviour::cannot_start("no space left on device"),
    );
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Stuck, ExitCode::Stuck)
        .says("deploying celery_worker")
        .shows("no module named tasks")
        .shows("taking deploy back failed too")
        .shows("no space left on device")
        .hints_at("viatique-deploy status");
    let chain = &ended.error.as_ref().unwrap().chain;
    assert!(chain[0].contains("celery_worker"), "{chain:?}");
    assert!(stack.engine.peek().running("celery_beat").len() <= 1);
    // Neither of the two can serve: a release in which it is mended finishes it.
    stack.image_is("viatique-worker:v3", ImageBehaviour::running());
    stack
        .run("v3")
        .await
        .ended(Outcome::Failed, ExitCode::Locked)
        .hints_at("viatique-deploy resume --tag <TAG>");
    let next = stack.resume_with(Some("v3")).await.unwrap().unwrap();
    next.succeeded();
    assert!(
        next.warnings()
            .contains("stopped at deploy and never finished; what it left is brought to v3"),
        "{}",
        next.warnings()
    );
    let seen = stack.engine.peek();
    for (service, _) in SERVICES {
        assert_eq!(seen.releases(service), ["v3"]);
    }
    assert_eq!(seen.containers.len(), 8, "{:?}", seen.names());
    assert!(seen.names().contains(format!("{PROJECT}-celery_beat-1").as_str()));
}

/// A replica whose old container was being stopped when the engine failed: all replicas must serve again.
#[tokio::test(start_paused = true)]
async fn a_failure_amid_the_replicas_brings_every_one_of_them_back() {
    let compose = "services:\n  web:\n    image: web:${RELEASE_TAG}\n    deploy: { replicas: 3 }\n";
    let prepared = Stack::of(compose, "project: viatique\ncompose: [docker-compose.yml]\n");
    let engine = prepared.engine.clone();
    let _ = engine
        .with_image("web:v1", ImageBehaviour::running())
        .with_image("web:v2", ImageBehaviour::running());
    prepared.run("v1").await.succeeded();
    let before = prepared.engine.peek();
    for strategy in ["rolling", "recreate"] {
        prepared.edit_deploy_yml(
            "compose: [docker-compose.yml]\n",
            &format!("compose: [docker-compose.yml]\nservices: {{ web: {{ strategy: {strategy} }} }}\n"),
        );
        // Rolling, the old ones run on until the run has succeeded: then a stop that fails takes nothing back.
        let stops = if strategy == "rolling" { 0 } else { 3 };
        for (name, times) in [
            ("stop", stops),
            ("rename", 6),
            ("start", 3),
            ("create_container", 3),
        ] {
            for nth in 1..=times {
                for fault in [
                    Fault::Fail(EngineErrorKind::Other),
                    Fault::LoseReply(EngineErrorKind::TimedOut),
                ] {
                    let stack = prepared.fork();
                    stack.engine.fault_on(name, nth, fault);
                    let ended = stack.run("v2").await;
                    assert_eq!(ended.serves.as_deref(), Some("v1"), "{name} {nth} {fault:?}");
                    assert_ne!(ended.outcome, Outcome::Stuck, "{:?}", ended.error);
                    as_before(&stack.engine.peek(), &before);
                }
            }
        }
        prepared.edit_deploy_yml(&format!("services: {{ web: {{ strategy: {strategy} }} }}\n"), "");
    }
}

/// Its predecessor runs on until the run has succeeded, and must not be taken for it.
#[tokio::test(start_paused = true)]
async fn a_new_worker_that_ends_after_the_deploy_is_found_by_health() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let engine = stack.engine.clone();
    let ends = AtomicBool::new(true);
    stack.answer(move |command| {
        // The last thing that a deploy does.
        if command.line() == "nginx -s reload" && ends.swap(false, Ordering::Relaxed) {
            engine.kill(&format!("{PROJECT}-celery_worker-1"), 1);
        }
        None
    });
    let ended = stack.run("v2").await;
    stack.answer(|_| None);
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("celery_worker: 0 of 1 replicas are well");
    assert_eq!(ended.step(StepId::Health), StepResult::Failed);
    as_before(&stack.engine.peek(), &before);
}

/// The list of hashed files is one for all releases: a process of v1 that starts anew must not find that of v2.
#[tokio::test(start_paused = true)]
async fn what_serves_collects_its_static_files_again() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let v1 = before.container(&format!("{PROJECT}-backend-1")).image.clone();
    let collected: Arc<Mutex<Vec<bool>>> = Arc::default();
    let heard = Arc::clone(&collected);
    stack.answer(move |command| {
        if command.collects_static_files() {
            heard.lock().unwrap().push(command.image == v1);
        }
        None
    });
    stack.image_is("viatique-beat:v2", ImageBehaviour::exits(1));
    let ended = stack.run("v2").await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(*collected.lock().unwrap(), [false, true]);
    let message = "what serves has collected its own again: 3 static files copied";
    assert_eq!(
        ended.undo(StepId::Collectstatic),
        Some((UnwindResult::Reverted, message.to_owned()))
    );
    as_before(&stack.engine.peek(), &before);
}

#[tokio::test(start_paused = true)]
async fn static_files_that_cannot_be_collected_again_are_said_and_stop_nothing() {
    for hangs in [false, true] {
        let stack = Stack::viatique();
        stack.run("v1").await.succeeded();
        let before = stack.engine.peek();
        let v1 = before.container(&format!("{PROJECT}-backend-1")).image.clone();
        stack.answer(move |command| {
            let again = command.image == v1 && command.collects_static_files();
            again.then(|| {
                let output = FakeOutput::silent().and_stderr("no room\n").exits(1);
                if hangs { output.taking(FOREVER) } else { output }
            })
        });
        stack.image_is("viatique-beat:v2", ImageBehaviour::exits(1));
        let ended = stack.run("v2").await;
        ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
        let why = if hangs {
            "not done after 120 s"
        } else {
            "it failed (exit code 1)"
        };
        let warning = format!("what serves could not collect its static files again: {why}");
        assert!(ended.warnings().contains(&warning), "{}", ended.warnings());
        as_before(&stack.engine.peek(), &before);
    }
}
