//! What an engine tells by itself, and signals.

use std::time::Duration;

use futures_util::StreamExt;
use viatique_deploy::compose::RestartPolicy;
use viatique_deploy::engine::{
    Captured, ContainerEventKind, ContainerEvents, ContainerFilter, ContainerId, ContainerSpec,
    ContainerState, EngineErrorKind, ExecSpec, labels,
};

use super::{Ground, kind};

const MOMENT: Option<Duration> = Some(Duration::from_secs(1));

async fn next(events: &mut ContainerEvents) -> (ContainerId, ContainerEventKind) {
    let event = tokio::time::timeout(Duration::from_secs(30), events.next())
        .await
        .expect("something is told within 30 s")
        .expect("the connection stands")
        .unwrap();
    (event.container, event.kind)
}

fn of_role(mut spec: ContainerSpec, role: &str) -> ContainerSpec {
    spec.labels.insert(labels::ROLE.to_owned(), role.to_owned());
    spec
}

pub(crate) async fn events_are_told_from_the_call_on(ground: Ground) {
    let engine = &ground.engine;
    let old = ground.start(&of_role(ground.running("old"), "service")).await;
    let filter = ContainerFilter::labelled(labels::PROJECT, &ground.project)
        .and(labels::ROLE, "service")
        .and_present(labels::ROLE);
    let mut events = engine.container_events(&filter).await.unwrap();
    // Nobody reads yet.
    ground.start(&of_role(ground.running("other"), "one-off")).await;
    ground.start(&ground.running("none")).await;
    let id = ground.start(&of_role(ground.running("a"), "service")).await;
    engine.start(&id).await.unwrap();
    let command = ExecSpec::command(&["true"]);
    engine
        .exec(&id, &command, None, &mut Captured::default())
        .await
        .unwrap();
    engine.stop(&id, MOMENT).await.unwrap();
    engine.stop(&id, MOMENT).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.remove_container(&id).await.unwrap();
    engine.stop(&old, MOMENT).await.unwrap();
    for wanted in [
        (&id, ContainerEventKind::Started),
        (&id, ContainerEventKind::Died),
        (&id, ContainerEventKind::Started),
        (&id, ContainerEventKind::Died),
        (&old, ContainerEventKind::Died),
    ] {
        let (container, kind) = next(&mut events).await;
        assert_eq!((&container, kind), wanted);
    }
}

pub(crate) async fn events_tell_that_health_has_changed(ground: Ground) {
    let engine = &ground.engine;
    for (spec, role) in [(ground.healthy("well"), "well"), (ground.unhealthy("ill"), "ill")] {
        let filter = ContainerFilter::labelled(labels::PROJECT, &ground.project).and(labels::ROLE, role);
        let mut events = engine.container_events(&filter).await.unwrap();
        let id = ground.start(&of_role(spec, role)).await;
        assert_eq!(next(&mut events).await, (id.clone(), ContainerEventKind::Started));
        assert_eq!(next(&mut events).await, (id, ContainerEventKind::HealthChanged));
    }
}

/// What the waiting steps live by: an event leads to an inspection that shows what it was about.
pub(crate) async fn what_was_told_is_seen_when_inspected(ground: Ground) {
    let engine = &ground.engine;
    let filter = ContainerFilter::labelled(labels::PROJECT, &ground.project);
    let mut events = engine.container_events(&filter).await.unwrap();
    let well = ground.start(&ground.healthy("well")).await;
    while next(&mut events).await.1 != ContainerEventKind::HealthChanged {}
    let seen = ground.look(&well).await;
    assert_eq!(seen.health, Some(viatique_deploy::engine::Health::Healthy));
    engine.remove_container(&well).await.unwrap();
    while next(&mut events).await.1 != ContainerEventKind::Died {}
    // It is tried two more times; whoever looks after each event sees the end of it.
    let id = ground.start(&ground.crashing("crashing")).await;
    let end = loop {
        assert_eq!(next(&mut events).await.0, id);
        let seen = ground.look(&id).await;
        if let ContainerState::Exited(exit) = seen.state {
            break (exit.code, seen.restart_count);
        }
    };
    assert_eq!(end, (3, 2));
}

pub(crate) async fn a_signal_reaches_what_runs(ground: Ground) {
    let engine = &ground.engine;
    let mut spec = ground.running("a");
    spec.service.restart = Some(RestartPolicy::UnlessStopped);
    let id = engine.create_container(&spec).await.unwrap();
    engine.kill(&id, "SIGTERM").await.unwrap();
    assert_eq!(ground.look(&id).await.state, ContainerState::Created);
    engine.start(&id).await.unwrap();
    engine.kill(&id, "SIGTERM").await.unwrap();
    let ended = ground
        .look_until(&id, |container| container.state != ContainerState::Running)
        .await;
    // Not about to be started again.
    assert!(
        matches!(ended.state, ContainerState::Exited(_)),
        "{:?}",
        ended.state
    );
    assert_eq!(ended.restart_count, 0);
    engine.kill(&id, "SIGTERM").await.unwrap();
    engine.start(&id).await.unwrap();
    assert_eq!(
        kind(engine.kill(&id, "SIGNONSENSE").await),
        EngineErrorKind::Invalid
    );
    assert_eq!(ground.look(&id).await.state, ContainerState::Running);
    let nobody = ContainerId(ground.name("nobody"));
    assert_eq!(
        kind(engine.kill(&nobody, "SIGTERM").await),
        EngineErrorKind::NotFound
    );
}
