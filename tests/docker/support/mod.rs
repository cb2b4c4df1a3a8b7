//! A real Docker Engine to test on. Without one these tests fail: a test that was not run must not look like one
//! that passed. Every object carries a label of its test and is removed at the end, after a failure too.

mod busybox;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use viatique_deploy::engine::docker::{DockerEngine, EngineEnvironment};
use viatique_deploy::engine::{ContainerFilter, Engine, Inspect, labels};

use crate::contract::Ground;
pub(crate) use busybox::{BUSYBOX, busybox, docker};

/// The engine of this machine.
pub(crate) async fn docker_engine() -> DockerEngine {
    let engine = DockerEngine::connect(&EngineEnvironment::of_process())
        .unwrap_or_else(|error| panic!("{NEEDED}: {error}"));
    if let Err(error) = engine.identity().await {
        panic!("{NEEDED}: {error}");
    }
    engine
}

const NEEDED: &str = "these tests need a Docker Engine, and are not skipped without one";

/// Runs a test on the engine and removes what it made.
pub(crate) async fn on_docker<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Ground) -> F) {
    let engine: Arc<dyn Engine> = Arc::new(docker_engine().await);
    let image = busybox(engine.as_ref()).await;
    let project = unique(name);
    let ground = Ground {
        engine: Arc::clone(&engine),
        project: project.clone(),
        plain: image.clone(),
        plain_reference: BUSYBOX.to_owned(),
        healthy: image.clone(),
        unhealthy: image.clone(),
        exiting: image.clone(),
        crashing: image,
    };
    let outcome = AssertUnwindSafe(test(ground)).catch_unwind().await;
    remove_everything_of(engine.as_ref(), &project).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Unique across tests, processes and days; short enough for a host name.
fn unique(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let test: String = test.chars().take(20).collect();
    format!("vt-{test}-{:x}-{seconds:x}-{count}", std::process::id()).replace('_', "-")
}

async fn remove_everything_of(engine: &dyn Engine, project: &str) {
    let containers = engine
        .containers(&ContainerFilter::labelled(labels::PROJECT, project))
        .await
        .unwrap();
    for container in containers {
        engine.remove_container(&container.id).await.unwrap();
    }
    for network in engine.networks_labelled(labels::PROJECT, project).await.unwrap() {
        engine.remove_network(&network.id).await.unwrap();
    }
    for volume in engine.volumes_labelled(labels::PROJECT, project).await.unwrap() {
        engine.remove_volume(&volume.name).await.unwrap();
    }
    // The port does not list images; every reference of a test begins with its project.
    let own = format!("reference={project}-*");
    let references = docker(&["images", "--filter", &own, "--format", "{{.Repository}}:{{.Tag}}"]);
    for reference in references.lines() {
        engine.remove_image(reference).await.unwrap();
    }
}
