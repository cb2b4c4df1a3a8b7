//! Specs with everything at its default, for tests to change what they are about.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use viatique_deploy::compose::{Build, Limits, Network, Service, ServiceName, Volume};
use viatique_deploy::engine::{
    ContainerNetworkMode, ContainerSpec, ImageId, NetworkSpec, OneOffSpec, VolumeSpec, labels,
};

/// A service that says nothing but its name.
pub(crate) fn service(name: &str) -> Service {
    Service {
        name: ServiceName::new(name).unwrap(),
        image: None,
        build: None,
        command: None,
        entrypoint: None,
        environment_source: BTreeMap::new(),
        environment: BTreeMap::new(),
        user: None,
        working_dir: None,
        hostname: None,
        domainname: None,
        labels: BTreeMap::new(),
        container_name: None,
        restart: None,
        healthcheck: None,
        depends_on: BTreeMap::new(),
        ports: Vec::new(),
        expose: Vec::new(),
        mounts: Vec::new(),
        networks: IndexMap::new(),
        network_mode: None,
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_opt: Vec::new(),
        stop_signal: None,
        stop_grace_period: None,
        init: None,
        tty: false,
        stdin_open: false,
        read_only: false,
        privileged: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        group_add: Vec::new(),
        sysctls: BTreeMap::new(),
        devices: Vec::new(),
        shm_size: None,
        ulimits: BTreeMap::new(),
        logging: None,
        limits: Limits::default(),
        replicas: 1,
        pid: None,
        ipc: None,
        userns_mode: None,
        cgroup_parent: None,
        runtime: None,
        platform: None,
        pull_policy: None,
        profiles: Vec::new(),
    }
}

/// A container without a network, carrying the project's label.
pub(crate) fn container(project: &str, name: &str, image: &ImageId) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        image: image.clone(),
        service: service("web"),
        labels: project_label(project),
        networks: Vec::new(),
        network_mode: Some(ContainerNetworkMode::None),
        volumes: BTreeMap::new(),
    }
}

/// A one-off in such a container.
pub(crate) fn one_off(project: &str, name: &str, image: &ImageId, command: &[&str]) -> OneOffSpec {
    OneOffSpec {
        container: container(project, name, image),
        command: words(command),
        environment: BTreeMap::new(),
    }
}

/// A bridge network.
pub(crate) fn network(project: &str, name: &str) -> NetworkSpec {
    NetworkSpec {
        network: Network {
            key: "default".to_owned(),
            name: name.to_owned(),
            external: false,
            driver: None,
            driver_opts: BTreeMap::new(),
            internal: false,
            attachable: false,
            enable_ipv6: false,
            labels: BTreeMap::new(),
            ipam: Vec::new(),
        },
        labels: project_label(project),
    }
}

/// A local volume.
pub(crate) fn volume(project: &str, name: &str) -> VolumeSpec {
    VolumeSpec {
        volume: Volume {
            key: "data".to_owned(),
            name: name.to_owned(),
            external: false,
            driver: None,
            driver_opts: BTreeMap::new(),
            labels: BTreeMap::new(),
        },
        labels: project_label(project),
    }
}

/// The label by which a test's objects are found again.
pub(crate) fn project_label(project: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(labels::PROJECT.to_owned(), project.to_owned())])
}

/// Words as a command wants them.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A build of a folder that says nothing more.
pub(crate) fn build_of(folder: &Path) -> Build {
    Build {
        context: folder.to_owned(),
        dockerfile: None,
        dockerfile_inline: None,
        args: BTreeMap::new(),
        target: None,
        labels: BTreeMap::new(),
        cache_from: Vec::new(),
        network: None,
        extra_hosts: Vec::new(),
        shm_size: None,
        no_cache: false,
        pull: false,
        tags: Vec::new(),
        platforms: Vec::new(),
    }
}
