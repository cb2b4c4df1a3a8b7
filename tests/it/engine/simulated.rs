//! What the simulated engine offers beyond the contract: faults, behaviours in time, builds and pulls by script.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use viatique_deploy::app::{App, Request};
use viatique_deploy::compose::RestartPolicy;
use viatique_deploy::engine::{
    BuildEvent, BuildRequest, BuildSink, Captured, ContainerEventKind, ContainerEvents, ContainerFilter,
    ContainerState, Engine, EngineErrorKind, ExecSpec, Health, Inspect, labels,
};

use crate::contract::specs::build_of;
use crate::contract::{kind, specs};
use crate::support::{CommandKind, FakeApp, FakeEngine, FakeOutput, Fault, ImageBehaviour};

struct Unheard;

impl BuildSink for Unheard {
    fn event(&self, _event: BuildEvent) {}
}

fn engine() -> FakeEngine {
    FakeEngine::new().with_image("web:1", ImageBehaviour::running())
}

fn web(name: &str) -> viatique_deploy::engine::ContainerSpec {
    specs::container("project", name, &FakeEngine::image_id("web:1"))
}

#[tokio::test]
async fn a_call_fails_loses_its_reply_or_never_returns() {
    for (fault, done, outcome) in [
        (
            Fault::Fail(EngineErrorKind::Other),
            false,
            Some(EngineErrorKind::Other),
        ),
        (
            Fault::LoseReply(EngineErrorKind::TimedOut),
            true,
            Some(EngineErrorKind::TimedOut),
        ),
        (Fault::HangBefore, false, None),
        (Fault::HangAfter, true, None),
    ] {
        let engine = engine();
        engine.fault_on("create_container", 1, fault);
        let answer =
            tokio::time::timeout(Duration::from_millis(20), engine.create_container(&web("a"))).await;
        assert_eq!(answer.ok().map(kind), outcome, "{fault:?}");
        assert_eq!(engine.container("a").await.unwrap().is_some(), done, "{fault:?}");
        engine.heal();
        assert_eq!(
            engine.create_container(&web("a")).await.is_err(),
            done,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn faults_are_counted_over_all_calls_and_calls_are_recorded() {
    let engine = engine();
    engine.fault_at(2, Fault::Fail(EngineErrorKind::ConnectionLost));
    let id = engine.create_container(&web("a")).await.unwrap();
    assert_eq!(kind(engine.start(&id).await), EngineErrorKind::ConnectionLost);
    engine.start(&id).await.unwrap();
    let names: Vec<_> = engine.calls().iter().map(|call| call.name).collect();
    assert_eq!(names, ["create_container", "start", "start"]);
    assert_eq!(engine.calls()[0].target, "a");
}

#[tokio::test(start_paused = true)]
async fn health_comes_with_looking_or_with_time() {
    let engine = FakeEngine::new()
        .with_image("at-once:1", ImageBehaviour::healthy())
        .with_image("later:1", ImageBehaviour::healthy_after(Duration::from_secs(30)));
    for (image, before, after) in [
        ("at-once:1", Health::Healthy, Health::Healthy),
        (
            "later:1",
            Health::Starting { probes: Vec::new() },
            Health::Healthy,
        ),
    ] {
        let spec = specs::container("project", &image.replace(':', "-"), &FakeEngine::image_id(image));
        let id = engine.create_container(&spec).await.unwrap();
        engine.start(&id).await.unwrap();
        assert_eq!(
            engine.container(&id.0).await.unwrap().unwrap().health,
            Some(before)
        );
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(
            engine.container(&id.0).await.unwrap().unwrap().health,
            Some(after)
        );
    }
}

#[tokio::test]
async fn a_container_cannot_be_started_or_ends_by_itself() {
    let engine = engine().with_image("broken:1", ImageBehaviour::cannot_start("bad mount"));
    let spec = specs::container("project", "broken", &FakeEngine::image_id("broken:1"));
    let id = engine.create_container(&spec).await.unwrap();
    assert_eq!(kind(engine.start(&id).await), EngineErrorKind::StartFailed);

    let id = engine.create_container(&web("a")).await.unwrap();
    engine.start(&id).await.unwrap();
    let waiting = tokio::spawn({
        let (engine, id) = (engine.clone(), id.clone());
        async move { engine.wait(&id).await.unwrap() }
    });
    tokio::task::yield_now().await;
    engine.kill("a", 137);
    assert_eq!(waiting.await.unwrap().code, 137);
    let state = engine.container("a").await.unwrap().unwrap().state;
    assert!(matches!(state, ContainerState::Exited(_)));
}

fn all() -> ContainerFilter {
    ContainerFilter::labelled(labels::PROJECT, "project")
}

/// What is told within a time, and after how many milliseconds each.
async fn told_within(events: &mut ContainerEvents, time: Duration) -> Vec<(ContainerEventKind, u128)> {
    let began = Instant::now();
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout_at(began + time, events.next()).await {
        told.push((event.unwrap().kind, began.elapsed().as_millis()));
    }
    told
}

#[tokio::test(start_paused = true)]
async fn events_come_in_time_or_with_looking() {
    use ContainerEventKind::{Died, HealthChanged, Started};
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let standing = FakeEngine::new();
    for (behaviour, wanted, after_looks) in [
        (ImageBehaviour::running(), vec![(Started, 0)], vec![]),
        (
            ImageBehaviour::healthy_after(Duration::from_secs(30)),
            vec![(Started, 0), (HealthChanged, 30_000)],
            vec![],
        ),
        (
            ImageBehaviour::never_healthy("ill"),
            vec![(Started, 0), (HealthChanged, 0)],
            vec![],
        ),
        (
            ImageBehaviour::healthy_after_inspections(2),
            vec![(Started, 0)],
            vec![(HealthChanged, 0)],
        ),
        (ImageBehaviour::exits(1), vec![(Started, 0), (Died, 0)], vec![]),
        (
            ImageBehaviour::crash_loops(1),
            vec![(Started, 0), (Died, 0)],
            // Two looks are two tries.
            vec![(Started, 100), (Died, 100), (Started, 200), (Died, 200)],
        ),
    ] {
        let engine = standing.fork().with_image("web:1", behaviour.clone());
        let mut events = engine.container_events(&all()).await.unwrap();
        let mut spec = web("a");
        spec.service.restart = Some(RestartPolicy::Always);
        let id = engine.create_container(&spec).await.unwrap();
        engine.start(&id).await.unwrap();
        assert_eq!(told_within(&mut events, DAY).await, wanted, "{behaviour:?}");
        for _ in 0..2 {
            engine.container("a").await.unwrap();
        }
        assert_eq!(told_within(&mut events, DAY).await, after_looks, "{behaviour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_are_overtaken_are_not_told_and_a_fork_has_its_own() {
    use ContainerEventKind::{Died, HealthChanged, Started};
    let behaviour = ImageBehaviour::healthy_after(Duration::from_secs(30));
    let engine = FakeEngine::new().with_image("web:1", behaviour);
    let mut events = engine.container_events(&all()).await.unwrap();
    let id = engine.create_container(&web("a")).await.unwrap();
    engine.start(&id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let fork = engine.fork();
    let mut of_fork = fork.container_events(&all()).await.unwrap();
    engine.stop(&id, None).await.unwrap();
    engine.start(&id).await.unwrap();
    let minute = Duration::from_secs(60);
    assert_eq!(
        told_within(&mut events, minute).await,
        [(Started, 0), (Died, 0), (Started, 0), (HealthChanged, 30_000)]
    );
    // A minute has gone by.
    assert_eq!(told_within(&mut of_fork, minute).await, [(HealthChanged, 0)]);

    engine.lose_listeners();
    assert!(events.next().await.is_none());
    let mut events = engine.container_events(&all()).await.unwrap();
    engine.kill("a", 1);
    assert_eq!(told_within(&mut events, minute).await, [(Died, 0)]);
}

#[tokio::test]
async fn signals_are_remembered_and_some_are_lived_through() {
    let engine = engine();
    let id = engine.create_container(&web("a")).await.unwrap();
    Engine::kill(&engine, &id, "SIGTERM").await.unwrap();
    engine.start(&id).await.unwrap();
    let workers = engine.processes(&id).await.unwrap();
    Engine::kill(&engine, &id, "SIGHUP").await.unwrap();
    assert_ne!(engine.processes(&id).await.unwrap(), workers);
    Engine::kill(&engine, &id, "SIGQUIT").await.unwrap();
    let state = engine.container("a").await.unwrap().unwrap().state;
    assert!(state.has_succeeded(), "{state:?}");
    assert_eq!(engine.signals("a"), ["SIGHUP", "SIGQUIT"]);
}

#[tokio::test(start_paused = true)]
async fn commands_are_scripted_and_remembered() {
    let engine = engine().with_commands(|command| match command.line().as_str() {
        "slow" => FakeOutput::silent().taking(Duration::from_secs(60)),
        _ => FakeOutput::out_of_memory(),
    });
    let one_off = specs::one_off("project", "once", &FakeEngine::image_id("web:1"), &["slow"]);
    let before = tokio::time::Instant::now();
    assert!(
        engine
            .run_one_off(&one_off, &mut Captured::default())
            .await
            .unwrap()
            .success()
    );
    assert_eq!(before.elapsed().as_secs(), 60);
    let id = engine.create_container(&web("a")).await.unwrap();
    engine.start(&id).await.unwrap();
    let privileged = ExecSpec {
        privileged: true,
        ..ExecSpec::command(&["big"])
    };
    let exit = engine
        .exec(&id, &privileged, Some(&mut &b"in"[..]), &mut Captured::default())
        .await
        .unwrap();
    assert!(exit.out_of_memory);
    let commands = engine.commands();
    assert_eq!(commands[0].kind, CommandKind::OneOff);
    assert_eq!(commands[0].service, "web");
    assert_eq!(
        (commands[1].kind, commands[1].input.as_slice()),
        (CommandKind::Exec, &b"in"[..])
    );
    assert_eq!(commands[1].container, "a");
    assert!(commands[1].privileged);
    assert_eq!(commands[1].image, FakeEngine::image_id("web:1"));
}

#[tokio::test]
async fn builds_and_pulls_follow_the_script() {
    let engine = FakeEngine::new().with_registry_image("redis:7", ImageBehaviour::running());
    let request = |tag: &str| BuildRequest {
        title: "backend".to_owned(),
        build: build_of(std::path::Path::new("/nowhere")),
        tags: vec![tag.to_owned()],
        labels: specs::project_label("project"),
    };
    let first = engine.build(&request("backend:1"), &Unheard).await.unwrap();
    assert_eq!(
        engine.build(&request("backend:2"), &Unheard).await.unwrap(),
        first
    );
    engine.change_sources("backend", ImageBehaviour::healthy());
    let changed = engine.build(&request("backend:2"), &Unheard).await.unwrap();
    assert_ne!(changed, first);
    assert_eq!(engine.image("backend:1").await.unwrap().unwrap().id, first);
    assert_eq!(engine.image("backend:2").await.unwrap().unwrap().id, changed);
    engine.break_sources("backend", "step failed");
    assert_eq!(
        kind(engine.build(&request("backend:3"), &Unheard).await),
        EngineErrorKind::BuildFailed
    );

    assert!(engine.image_in_registry("redis:7").await.unwrap());
    let pulled = engine.pull("redis:7", &Unheard).await.unwrap();
    assert_eq!(engine.image("redis:7").await.unwrap().unwrap().id, pulled);
    assert_eq!(
        kind(engine.pull("redis:8", &Unheard).await),
        EngineErrorKind::NotFound
    );
    assert_eq!(engine.identity().await.unwrap().api_version, "1.41");
}

#[tokio::test]
async fn the_app_answers_as_scripted() {
    let request = Request {
        url: "http://app/health/".to_owned(),
        host: None,
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
    };
    let app = FakeApp::answering(|_, before| {
        if before == 0 {
            Ok((503, String::new()))
        } else {
            Ok((200, "ok".to_owned()))
        }
    });
    assert_eq!(app.get(&request).await.unwrap().status, 503);
    assert_eq!(app.get(&request).await.unwrap().body, "ok");
    assert_eq!(app.asked(), [request.clone(), request.clone()]);
    assert_eq!(FakeApp::healthy().get(&request).await.unwrap().status, 200);
    assert!(FakeApp::unreachable().get(&request).await.is_err());
}
