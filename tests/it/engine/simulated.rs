//! What the simulated engine offers beyond the contract: faults, behaviours in time, builds and pulls by script.

use std::time::Duration;

use viatique_deploy::app::{App, Request};
use viatique_deploy::engine::{
    BuildEvent, BuildRequest, BuildSink, Captured, ContainerState, Engine, EngineErrorKind, ExecSpec, Health,
    Inspect,
};

use crate::contract::{kind, specs};
use crate::engine::build_context::build_of;
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
    let exit = engine
        .exec(
            &id,
            &ExecSpec::command(&["big"]),
            Some(&mut &b"in"[..]),
            &mut Captured::default(),
        )
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
