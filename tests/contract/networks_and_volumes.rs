//! Networks, whose names are not unique, and volumes, whose names are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use viatique_deploy::compose::{Mount, MountKind};
use viatique_deploy::engine::{Container, ContainerId, ContainerState, EngineErrorKind, NetworkId, labels};

use super::{Ground, endpoint, kind, specs};

pub(crate) async fn networks_are_told_apart_by_id(ground: Ground) {
    let engine = &ground.engine;
    let name = ground.name("net");
    let first = engine
        .create_network(&specs::network(&ground.project, &name))
        .await
        .unwrap();
    // The engine's own search would find this one too.
    let longer = specs::network(&ground.project, &format!("{name}-longer"));
    engine.create_network(&longer).await.unwrap();
    let mut wanted = vec![first.clone()];
    match engine
        .create_network(&specs::network(&ground.project, &name))
        .await
    {
        Ok(second) => {
            let mut spec = ground.running("a");
            spec.network_mode = None;
            spec.networks = vec![endpoint(&second, &["alias"])];
            let id = engine.create_container(&spec).await.unwrap();
            // The engine looks the name up again, and cannot tell which is meant: duplicates must be removed first.
            assert_eq!(kind(engine.start(&id).await), EngineErrorKind::StartFailed);
            engine.remove_container(&id).await.unwrap();
            wanted.push(second);
        }
        // Newer engines refuse a second one.
        Err(error) => assert_eq!(error.kind, EngineErrorKind::NameTaken),
    }
    wanted.sort();
    let mut found: Vec<NetworkId> = engine
        .networks(&name)
        .await
        .unwrap()
        .into_iter()
        .map(|network| network.id)
        .collect();
    found.sort();
    assert_eq!(found, wanted);
    let labelled = engine
        .networks_labelled(labels::PROJECT, &ground.project)
        .await
        .unwrap();
    assert_eq!(labelled.len(), wanted.len() + 1);
    let (last, others) = wanted.split_last().unwrap();
    for id in others {
        engine.remove_network(id).await.unwrap();
        engine.remove_network(id).await.unwrap();
    }
    let mut spec = ground.running("b");
    spec.network_mode = None;
    spec.networks = vec![endpoint(last, &["alias"])];
    let id = ground.start(&spec).await;
    let networks = ground.look(&id).await.networks;
    assert_eq!(networks.len(), 1);
    assert_eq!(&networks[0].id, last);
    engine.remove_container(&id).await.unwrap();
    engine.remove_network(last).await.unwrap();
    assert!(engine.networks(&name).await.unwrap().is_empty());
}

pub(crate) async fn a_network_in_use_stays(ground: Ground) {
    let engine = &ground.engine;
    let network = engine
        .create_network(&specs::network(&ground.project, &ground.name("net")))
        .await
        .unwrap();
    let mut spec = ground.running("a");
    spec.network_mode = None;
    spec.networks = vec![endpoint(&network, &[])];
    let id = ground.start(&spec).await;
    assert_eq!(
        kind(engine.remove_network(&network).await),
        EngineErrorKind::Conflict
    );
    engine.remove_container(&id).await.unwrap();
    engine.remove_network(&network).await.unwrap();
}

pub(crate) async fn a_container_stands_on_two_networks(ground: Ground) {
    let engine = &ground.engine;
    let front = engine
        .create_network(&specs::network(&ground.project, &ground.name("front")))
        .await
        .unwrap();
    let back = engine
        .create_network(&specs::network(&ground.project, &ground.name("back")))
        .await
        .unwrap();
    let mut spec = ground.running("a");
    spec.network_mode = None;
    spec.networks = vec![endpoint(&front, &["web"]), endpoint(&back, &["web", "internal"])];
    let id = ground.start(&spec).await;
    let networks: BTreeMap<_, _> = ground
        .look(&id)
        .await
        .networks
        .into_iter()
        .map(|network| (network.id.clone(), network))
        .collect();
    assert_eq!(networks.len(), 2);
    for (id, aliases) in [(&front, vec!["web"]), (&back, vec!["web", "internal"])] {
        let network = &networks[id];
        assert!(network.ip_address.is_some());
        for alias in aliases {
            assert!(
                network.aliases.iter().any(|found| found == alias),
                "{:?}",
                network.aliases
            );
        }
    }
}

/// Where the endpoints are, and under which names: all but the container's own id, which older engines add.
fn names_on_networks(container: &Container) -> BTreeMap<NetworkId, Vec<String>> {
    let networks = container.networks.iter();
    networks
        .map(|network| {
            let aliases = network.aliases.iter();
            let mut names: Vec<String> = aliases
                .filter(|alias| *alias != container.id.short())
                .cloned()
                .collect();
            names.sort();
            (network.id.clone(), names)
        })
        .collect()
}

pub(crate) async fn a_twin_is_made_exactly_like_its_model(ground: Ground) {
    let engine = &ground.engine;
    let mut networks = Vec::new();
    for (name, aliases) in [
        ("front", &["web", "web-blue"][..]),
        ("back", &[]),
        ("side", &["web"]),
    ] {
        let network = specs::network(&ground.project, &ground.name(name));
        let id = engine.create_network(&network).await.unwrap();
        networks.push(endpoint(&id, aliases));
    }
    let mut spec = ground.running("model");
    spec.network_mode = None;
    spec.networks = networks;
    spec.labels.insert("of".to_owned(), "both".to_owned());
    let model = ground.start(&spec).await;
    engine.stop(&model, Some(Duration::from_secs(1))).await.unwrap();
    let twin = engine.create_twin(&model, &ground.name("twin")).await.unwrap();
    assert_eq!(ground.look(&twin).await.state, ContainerState::Created);
    engine.start(&twin).await.unwrap();
    let (model, twin) = (ground.look(&model).await, ground.look(&twin).await);
    assert_ne!(model.id, twin.id);
    assert_eq!(twin.state, ContainerState::Running);
    let wanted: BTreeMap<NetworkId, Vec<String>> = spec
        .networks
        .iter()
        .map(|one| (one.network.clone(), one.aliases.clone()))
        .collect();
    assert_eq!(names_on_networks(&model), wanted);
    assert_eq!(names_on_networks(&twin), wanted);
    assert_eq!((twin.image, twin.labels), (model.image, model.labels));
    assert_eq!(twin.environment, model.environment);
}

pub(crate) async fn containers_without_aliases_stand_on_a_network(ground: Ground) {
    let engine = &ground.engine;
    let mut spec = ground.running("a");
    spec.network_mode = None;
    for name in ["front", "back"] {
        let network = specs::network(&ground.project, &ground.name(name));
        spec.networks
            .push(endpoint(&engine.create_network(&network).await.unwrap(), &[]));
    }
    let id = ground.start(&spec).await;
    let seen = ground.look(&id).await;
    let wanted = spec.networks.iter();
    assert_eq!(
        names_on_networks(&seen),
        wanted.map(|one| (one.network.clone(), Vec::new())).collect()
    );
}

pub(crate) async fn addresses_are_there_while_a_container_runs(ground: Ground) {
    let engine = &ground.engine;
    let mut networks = Vec::new();
    for name in ["front", "back"] {
        let network = specs::network(&ground.project, &ground.name(name));
        networks.push(endpoint(&engine.create_network(&network).await.unwrap(), &[]));
    }
    let addresses = async |id: &ContainerId| -> Vec<Option<IpAddr>> {
        let seen = ground.look(id).await.networks.into_iter();
        seen.map(|network| network.ip_address.map(|text| text.parse().unwrap()))
            .collect()
    };
    let mut ids = Vec::new();
    for what in ["a", "b", "c"] {
        let mut spec = ground.running(what);
        spec.network_mode = None;
        spec.networks = networks.clone();
        let id = engine.create_container(&spec).await.unwrap();
        assert_eq!(addresses(&id).await, [None, None]);
        engine.start(&id).await.unwrap();
        ids.push(id);
    }
    engine.stop(&ids[1], Some(Duration::from_secs(1))).await.unwrap();
    assert_eq!(addresses(&ids[1]).await, [None, None]);
    engine.start(&ids[1]).await.unwrap();
    let mut all = BTreeSet::new();
    for id in &ids {
        all.extend(addresses(id).await.into_iter().map(Option::unwrap));
    }
    assert_eq!(all.len(), 6, "{all:?}");
}

pub(crate) async fn a_failed_connection_leaves_no_container(ground: Ground) {
    let engine = &ground.engine;
    let network = engine
        .create_network(&specs::network(&ground.project, &ground.name("net")))
        .await
        .unwrap();
    let mut spec = ground.running("a");
    spec.network_mode = None;
    spec.networks = vec![endpoint(&network, &[]), endpoint(&NetworkId("0".repeat(64)), &[])];
    assert_eq!(
        kind(engine.create_container(&spec).await),
        EngineErrorKind::NotFound
    );
    assert!(engine.container(&spec.name).await.unwrap().is_none());
}

pub(crate) async fn a_volume_is_created_once(ground: Ground) {
    let engine = &ground.engine;
    let name = ground.name("data");
    assert!(engine.volume(&name).await.unwrap().is_none());
    let mut spec = specs::volume(&ground.project, &name);
    engine.create_volume(&spec).await.unwrap();
    spec.labels.insert(labels::RUN.to_owned(), "second".to_owned());
    engine.create_volume(&spec).await.unwrap();
    let seen = engine.volume(&name).await.unwrap().unwrap();
    assert_eq!(seen.labels, specs::project_label(&ground.project));
    assert_eq!(
        engine
            .volumes_labelled(labels::PROJECT, &ground.project)
            .await
            .unwrap(),
        [seen]
    );
    engine.remove_volume(&name).await.unwrap();
    engine.remove_volume(&name).await.unwrap();
    assert!(engine.volume(&name).await.unwrap().is_none());
}

pub(crate) async fn a_volume_in_use_stays(ground: Ground) {
    let engine = &ground.engine;
    let name = ground.name("data");
    engine
        .create_volume(&specs::volume(&ground.project, &name))
        .await
        .unwrap();
    let mut spec = ground.running("a");
    spec.volumes.insert("media".to_owned(), name.clone());
    spec.service.mounts = vec![Mount {
        target: "/media".to_owned(),
        read_only: false,
        kind: MountKind::Volume {
            key: "media".to_owned(),
            nocopy: false,
            subpath: None,
        },
    }];
    let id = engine.create_container(&spec).await.unwrap();
    let mounted = ground.look(&id).await.mounted_volumes;
    assert_eq!(mounted.len(), 1);
    assert_eq!(
        (mounted[0].name.as_str(), mounted[0].target.as_str()),
        (name.as_str(), "/media")
    );
    assert_eq!(kind(engine.remove_volume(&name).await), EngineErrorKind::Conflict);
    engine.remove_container(&id).await.unwrap();
    engine.remove_volume(&name).await.unwrap();
}
