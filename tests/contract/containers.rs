//! The life of containers, and images as far as every engine has them.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use viatique_deploy::engine::{
    ContainerFilter, ContainerId, ContainerState, EngineErrorKind, Health, LogLine, LogRange, OutputStream,
    labels,
};

use super::{Ground, endpoint, eventually, kind, specs};

const MOMENT: Option<Duration> = Some(Duration::from_secs(1));

pub(crate) async fn a_name_is_taken_once(ground: Ground) {
    let name = ground.name("lock");
    let labels = specs::project_label(&ground.project);
    let racers = (0..16).map(|_| ground.engine.create_marker(&name, &labels, None));
    let (won, lost): (Vec<_>, Vec<_>) = join_all(racers).await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for loser in lost {
        assert_eq!(kind(loser), EngineErrorKind::NameTaken);
    }
}

pub(crate) async fn starting_stopping_and_removing_can_be_repeated(ground: Ground) {
    let engine = &ground.engine;
    let id = engine.create_container(&ground.running("a")).await.unwrap();
    assert_eq!(ground.look(&id).await.state, ContainerState::Created);
    assert_eq!(ground.look(&id).await.started, None);
    for _ in 0..2 {
        engine.start(&id).await.unwrap();
        assert_eq!(ground.look(&id).await.state, ContainerState::Running);
    }
    for _ in 0..2 {
        engine.stop(&id, MOMENT).await.unwrap();
        assert!(matches!(ground.look(&id).await.state, ContainerState::Exited(_)));
    }
    for _ in 0..2 {
        engine.remove_container(&id).await.unwrap();
        assert!(engine.container(&id.0).await.unwrap().is_none());
    }
}

pub(crate) async fn a_stopped_container_starts_again(ground: Ground) {
    let id = ground.start(&ground.running("a")).await;
    let first = ground.look(&id).await.started;
    ground.engine.stop(&id, MOMENT).await.unwrap();
    ground.engine.start(&id).await.unwrap();
    let again = ground.look(&id).await;
    assert_eq!(again.state, ContainerState::Running);
    assert!(again.started > first);
    // A running one is removed as well.
    ground.engine.remove_container(&id).await.unwrap();
    assert!(ground.engine.container(&id.0).await.unwrap().is_none());
}

pub(crate) async fn what_does_not_exist_is_not_found(ground: Ground) {
    let engine = &ground.engine;
    let nobody = ContainerId(ground.name("nobody"));
    assert!(engine.container(&nobody.0).await.unwrap().is_none());
    assert_eq!(kind(engine.start(&nobody).await), EngineErrorKind::NotFound);
    assert_eq!(kind(engine.stop(&nobody, None).await), EngineErrorKind::NotFound);
    assert_eq!(
        kind(engine.stop(&nobody, MOMENT).await),
        EngineErrorKind::NotFound
    );
    assert_eq!(kind(engine.wait(&nobody).await), EngineErrorKind::NotFound);
    assert_eq!(kind(engine.logs(&nobody, 10).await), EngineErrorKind::NotFound);
    assert_eq!(
        kind(engine.rename(&nobody, &ground.name("new")).await),
        EngineErrorKind::NotFound
    );
    assert!(
        engine
            .image("viatique-test-no-such-image:1")
            .await
            .unwrap()
            .is_none()
    );
    let mut spec = ground.running("a");
    spec.image = viatique_deploy::engine::ImageId(format!("sha256:{}", "0".repeat(64)));
    assert_eq!(
        kind(engine.create_container(&spec).await),
        EngineErrorKind::NotFound
    );
}

pub(crate) async fn names_that_are_none_are_refused(ground: Ground) {
    let engine = &ground.engine;
    let id = engine.create_container(&ground.running("a")).await.unwrap();
    // Put into a URL as it is, this would be another object.
    let elsewhere = format!("x/../{}", id.0);
    assert_eq!(kind(engine.container(&elsewhere).await), EngineErrorKind::Invalid);
    assert_eq!(
        kind(engine.remove_container(&ContainerId(elsewhere.clone())).await),
        EngineErrorKind::Invalid
    );
    assert_eq!(kind(engine.rename(&id, "a b").await), EngineErrorKind::Invalid);
    assert_eq!(kind(engine.image("a/../b").await), EngineErrorKind::Invalid);
    assert_eq!(kind(engine.volume("../a").await), EngineErrorKind::Invalid);
    let mut spec = ground.running("b");
    spec.name = "a/b".to_owned();
    assert_eq!(
        kind(engine.create_container(&spec).await),
        EngineErrorKind::Invalid
    );
    assert!(engine.container(&id.0).await.unwrap().is_some());
}

pub(crate) async fn labels_select_containers(ground: Ground) {
    let engine = &ground.engine;
    let mut ids = Vec::new();
    for (what, role) in [("c", "service"), ("b", "one-off"), ("a", "service")] {
        let mut spec = ground.running(what);
        spec.labels.insert(labels::ROLE.to_owned(), role.to_owned());
        ids.push(engine.create_container(&spec).await.unwrap());
    }
    let found = async |filter: ContainerFilter| -> Vec<ContainerId> {
        let listed = engine.containers(&filter).await.unwrap();
        listed.into_iter().map(|container| container.id).collect()
    };
    let mine = || ContainerFilter::labelled(labels::PROJECT, &ground.project);
    // Oldest first.
    assert_eq!(found(mine()).await, ids);
    assert_eq!(
        found(mine().and(labels::ROLE, "service")).await,
        [ids[0].clone(), ids[2].clone()]
    );
    assert_eq!(found(mine().and_present(labels::ROLE)).await, ids);
    assert!(found(mine().and_present(labels::RELEASE)).await.is_empty());
    let seen = ground.look(&ids[1]).await;
    assert_eq!(seen.label(labels::ROLE), Some("one-off"));
    assert_eq!(seen.name, ground.name("b"));
    assert_eq!(seen.image, ground.plain);
    assert_eq!(engine.container(&seen.name).await.unwrap().unwrap().id, ids[1]);
}

/// More than are asked about at a time.
pub(crate) async fn many_containers_are_listed_in_order(ground: Ground) {
    let engine = &ground.engine;
    let mine = specs::project_label(&ground.project);
    let mut ids = Vec::new();
    for number in 0..40 {
        let name = ground.name(&format!("m{number}"));
        ids.push(engine.create_marker(&name, &mine, None).await.unwrap());
    }
    let mine = ContainerFilter::labelled(labels::PROJECT, &ground.project);
    let listed = engine.containers(&mine).await.unwrap().into_iter();
    assert_eq!(listed.map(|container| container.id).collect::<Vec<_>>(), ids);
}

pub(crate) async fn a_container_is_renamed(ground: Ground) {
    let engine = &ground.engine;
    let a = engine.create_container(&ground.running("a")).await.unwrap();
    let b = engine.create_container(&ground.running("b")).await.unwrap();
    assert_eq!(
        kind(engine.rename(&a, &ground.name("b")).await),
        EngineErrorKind::NameTaken
    );
    engine.rename(&b, &ground.name("c")).await.unwrap();
    engine.rename(&a, &ground.name("b")).await.unwrap();
    assert_eq!(engine.container(&ground.name("b")).await.unwrap().unwrap().id, a);
    assert!(engine.container(&ground.name("a")).await.unwrap().is_none());
}

pub(crate) async fn health_is_told(ground: Ground) {
    let plain = ground.start(&ground.running("plain")).await;
    let well = ground.start(&ground.healthy("well")).await;
    let ill = ground.start(&ground.unhealthy("ill")).await;
    assert_eq!(ground.look(&plain).await.health, None);
    ground
        .look_until(&well, |container| container.health == Some(Health::Healthy))
        .await;
    let ill = ground
        .look_until(&ill, |container| {
            matches!(container.health, Some(Health::Unhealthy { .. }))
        })
        .await;
    let Some(Health::Unhealthy { probes }) = ill.health else {
        unreachable!("just seen");
    };
    let last = probes.last().expect("what the test said is told");
    assert_eq!(last.exit_code, 1);
    assert_eq!(last.output.trim(), "not well");
}

pub(crate) async fn an_ended_container_tells_its_code_and_its_last_lines(ground: Ground) {
    let engine = &ground.engine;
    let id = ground.start(&ground.exiting("a")).await;
    for _ in 0..2 {
        assert_eq!(engine.wait(&id).await.unwrap().code, 3);
    }
    let ContainerState::Exited(exit) = ground.look(&id).await.state else {
        panic!("it has ended");
    };
    assert_eq!(exit.code, 3);
    assert!(!exit.out_of_memory);
    assert_eq!(engine.logs(&id, 2).await.unwrap(), ["two", "three"]);
    assert_eq!(engine.logs(&id, 100).await.unwrap(), ["one", "two", "three"]);
}

pub(crate) async fn a_log_is_read_by_its_moments(ground: Ground) {
    let engine = &ground.engine;
    let before = engine.time().await.unwrap();
    let id = ground.start(&ground.exiting("a")).await;
    engine.wait(&id).await.unwrap();
    let range = |since, newest, follow| LogRange {
        since,
        newest,
        follow,
    };
    let read = async |range: LogRange| -> Vec<LogLine> {
        let lines = engine.log_lines(&id, &range).await.unwrap();
        lines.map(Result::unwrap).collect().await
    };
    let all = read(range(before, 100, false)).await;
    let texts = |lines: &[LogLine]| lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&all), ["one", "two", "three"]);
    assert!(
        all.is_sorted_by_key(|line| line.at) && before <= all[0].at,
        "{all:?} after {before}"
    );
    assert!(all.iter().all(|line| line.stream == OutputStream::Stdout));
    assert_eq!(texts(&read(range(before, 2, false)).await), ["two", "three"]);
    // To the nanosecond, and what was written at that moment too.
    let last = all[2].at;
    assert_eq!(texts(&read(range(last, 100, false)).await), ["three"]);
    let later = last + Duration::from_nanos(1);
    assert!(read(range(later, 100, false)).await.is_empty());
    // Followed to the end of its process, which has come.
    assert_eq!(
        texts(&read(range(before, 100, true)).await),
        ["one", "two", "three"]
    );
    engine.remove_container(&id).await.unwrap();
    let gone = engine
        .log_lines(&id, &range(before, 100, false))
        .await
        .map(|_| ());
    assert_eq!(kind(gone), EngineErrorKind::NotFound);
}

pub(crate) async fn a_running_container_tells_what_it_uses(ground: Ground) {
    let id = ground.start(&ground.running("a")).await;
    let engine = &ground.engine;
    let used = eventually("it uses memory", || async { engine.usage(&id).await.unwrap() }).await;
    let room = engine.capacity().await.unwrap();
    assert!(
        0 < used.memory && used.memory < room.memory_total,
        "{used:?} of {room:?}"
    );
    let limit = used.memory_limit.expect("an engine says how much it may use");
    assert!(
        used.memory < limit && limit <= room.memory_total,
        "{used:?} of {room:?}"
    );
    assert_eq!(used.network, None, "it has none");
    let later = engine.usage(&id).await.unwrap().expect("it runs");
    assert!(later.processor >= used.processor, "{later:?} after {used:?}");
    engine.stop(&id, None).await.unwrap();
    assert_eq!(engine.usage(&id).await.unwrap(), None);
    engine.remove_container(&id).await.unwrap();
    assert_eq!(kind(engine.usage(&id).await), EngineErrorKind::NotFound);
    let network = specs::network(&ground.project, &ground.name("net"));
    let network = engine.create_network(&network).await.unwrap();
    let mut spec = ground.running("b");
    spec.network_mode = None;
    spec.networks = vec![endpoint(&network, &[])];
    let id = ground.start(&spec).await;
    eventually("its network is counted", || async {
        engine.usage(&id).await.unwrap().and_then(|used| used.network)
    })
    .await;
    if let (Some(free), Some(total)) = (room.disk_available, room.disk_total) {
        assert!(free <= total, "{room:?}");
    }
}

pub(crate) async fn its_clock_goes_on(ground: Ground) {
    let before = ground.engine.time().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(ground.engine.time().await.unwrap() > before);
}

pub(crate) async fn capacity_is_told(ground: Ground) {
    let room = ground.engine.capacity().await.unwrap();
    assert!(
        room.memory_available
            .is_none_or(|bytes| 0 < bytes && bytes <= room.memory_total)
    );
    assert!(room.disk_available.is_none_or(|bytes| bytes > 0));
    assert!(room.data_root.starts_with('/'), "{}", room.data_root);
}

pub(crate) async fn restarts_are_counted(ground: Ground) {
    let id = ground.start(&ground.crashing("a")).await;
    ground
        .look_until(&id, |container| container.restart_count >= 2)
        .await;
}

pub(crate) async fn an_image_is_tagged_and_untagged(ground: Ground) {
    let engine = &ground.engine;
    let reference = format!("{}:1", ground.name("image"));
    engine.tag(&ground.plain, &reference).await.unwrap();
    engine.tag(&ground.plain, &reference).await.unwrap();
    let image = engine.image(&reference).await.unwrap().unwrap();
    assert_eq!(image.id, ground.plain);
    assert!(image.references.contains(&reference), "{:?}", image.references);
    assert!(image.created.ends_with('Z'), "{}", image.created);
    // With all its tags, and without those of a repository of a longer name.
    let more = [
        format!("{}:2", ground.name("image")),
        format!("{}:1", ground.name("image-2")),
    ];
    for one in &more {
        engine.tag(&ground.plain, one).await.unwrap();
    }
    let listed = engine.references(&ground.name("image")).await.unwrap();
    assert_eq!(listed, [reference.clone(), more[0].clone()]);
    assert!(engine.references(&ground.name("none")).await.unwrap().is_empty());
    for one in &more {
        engine.remove_image(one).await.unwrap();
    }
    for _ in 0..2 {
        engine.remove_image(&reference).await.unwrap();
        assert!(engine.image(&reference).await.unwrap().is_none());
    }
    assert!(engine.image(&ground.plain_reference).await.unwrap().is_some());
}
