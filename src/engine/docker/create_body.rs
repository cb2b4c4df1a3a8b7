//! A container to create, as the engine's API wants it. Every field of a Compose service that this project accepts
//! is mapped here or refused by name: nothing is dropped in silence, except `start_interval` before API 1.44, where
//! it only makes a container healthy later. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount as ApiMount, MountBindOptions, MountBindOptionsPropagationEnum as Propagation,
    MountType, MountVolumeOptions, NetworkingConfig, PortBinding, PortMap, ResourcesUlimits,
    RestartPolicy as ApiRestartPolicy, RestartPolicyNameEnum,
};

use crate::compose::{
    EnvironmentValue, Healthcheck, HostPort, Mount, MountKind, PublishedPort, RestartPolicy, Service,
};
use crate::engine::{
    ContainerNetworkMode, ContainerSpec, EngineError, EngineErrorKind, NetworkEndpoint, OneOffSpec, Result,
};

/// The engine's API version, major and minor.
pub(super) type ApiVersion = (u32, u32);

/// Versions at which the engine learned something.
const START_INTERVAL: ApiVersion = (1, 44);
const ENDPOINT_MAC_ADDRESS: ApiVersion = (1, 44);
const VOLUME_SUBPATH: ApiVersion = (1, 45);

/// The spec of the container that a one-off runs in: as `docker compose run` does, without ports, restart policy and
/// health test, and without a terminal, which would merge the two streams.
pub(super) fn one_off(spec: &OneOffSpec) -> ContainerSpec {
    let mut container = spec.container.clone();
    let service = &mut container.service;
    service.command = Some(spec.command.clone());
    service.ports.clear();
    service.restart = Some(RestartPolicy::No);
    service.healthcheck = Some(Healthcheck::Disabled);
    service.tty = false;
    service.stdin_open = false;
    for (name, value) in &spec.environment {
        service
            .environment
            .insert(name.clone(), EnvironmentValue::Plain(value.clone()));
    }
    container
}

/// The request. Only the first network is in it; the engine refuses more before API 1.44.
pub(super) fn create_body(spec: &ContainerSpec, api: ApiVersion) -> Result<ContainerCreateBody> {
    let service = &spec.service;
    let mut host = HostConfig {
        restart_policy: Some(restart_policy(service.restart.unwrap_or_default())),
        network_mode: network_mode(spec),
        port_bindings: Some(port_bindings(&service.ports)),
        extra_hosts: some(
            service
                .extra_hosts
                .iter()
                .map(|extra| format!("{}:{}", extra.host, extra.address))
                .collect(),
        ),
        dns: some(service.dns.clone()),
        dns_search: some(service.dns_search.clone()),
        dns_options: some(service.dns_opt.clone()),
        init: service.init,
        readonly_rootfs: Some(service.read_only),
        privileged: Some(service.privileged),
        cap_add: some(service.cap_add.clone()),
        cap_drop: some(service.cap_drop.clone()),
        security_opt: some(service.security_opt.clone()),
        group_add: some(service.group_add.clone()),
        sysctls: Some(unsorted(&service.sysctls)),
        devices: some(
            service
                .devices
                .iter()
                .map(|device| DeviceMapping {
                    path_on_host: Some(device.host_path.clone()),
                    path_in_container: Some(device.container_path.clone()),
                    cgroup_permissions: Some(device.permissions.clone()),
                })
                .collect(),
        ),
        shm_size: bytes(spec, "shm_size", service.shm_size)?,
        ulimits: some(
            service
                .ulimits
                .iter()
                .map(|(name, limit)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                })
                .collect(),
        ),
        log_config: service.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: Some(unsorted(&logging.options)),
        }),
        pid_mode: service.pid.clone(),
        ipc_mode: service.ipc.clone(),
        userns_mode: service.userns_mode.clone(),
        cgroup_parent: service.cgroup_parent.clone(),
        runtime: service.runtime.clone(),
        ..HostConfig::default()
    };
    set_limits(spec, &mut host)?;
    set_mounts(spec, api, &mut host)?;
    Ok(ContainerCreateBody {
        image: Some(spec.image.0.clone()),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        user: service.user.clone(),
        exposed_ports: some(exposed_ports(service)),
        tty: Some(service.tty),
        open_stdin: Some(service.stdin_open),
        env: some(
            service
                .environment
                .iter()
                .map(|(name, value)| match value.reveal() {
                    Some(value) => format!("{name}={value}"),
                    // A name alone takes the image's variable away.
                    None => name.clone(),
                })
                .collect(),
        ),
        cmd: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        healthcheck: service
            .healthcheck
            .as_ref()
            .map(|check| health_config(check, api))
            .transpose()?,
        working_dir: service.working_dir.clone(),
        labels: Some(unsorted(&spec.labels)),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service.stop_grace_period.map(whole_seconds),
        host_config: Some(host),
        networking_config: spec
            .networks
            .first()
            .map(|endpoint| {
                Ok(NetworkingConfig {
                    endpoints_config: Some(HashMap::from([(
                        endpoint.network.0.clone(),
                        endpoint_settings(endpoint, api)?,
                    )])),
                })
            })
            .transpose()?,
        ..ContainerCreateBody::default()
    })
}

/// How the container stands on one network.
pub(super) fn endpoint_settings(endpoint: &NetworkEndpoint, api: ApiVersion) -> Result<EndpointSettings> {
    if endpoint.mac_address.is_some() && api < ENDPOINT_MAC_ADDRESS {
        return Err(too_old(
            &endpoint.network.0,
            "mac_address",
            ENDPOINT_MAC_ADDRESS,
            api,
        ));
    }
    let addressed = endpoint.ipv4_address.is_some() || endpoint.ipv6_address.is_some();
    Ok(EndpointSettings {
        aliases: some(endpoint.aliases.clone()),
        mac_address: endpoint.mac_address.clone(),
        ipam_config: addressed.then(|| EndpointIpamConfig {
            ipv4_address: endpoint.ipv4_address.clone(),
            ipv6_address: endpoint.ipv6_address.clone(),
            link_local_ips: None,
        }),
        ..EndpointSettings::default()
    })
}

fn network_mode(spec: &ContainerSpec) -> Option<String> {
    match (&spec.network_mode, spec.networks.first()) {
        (Some(ContainerNetworkMode::None), _) => Some("none".to_owned()),
        (Some(ContainerNetworkMode::Host), _) => Some("host".to_owned()),
        (Some(ContainerNetworkMode::Bridge), _) => Some("bridge".to_owned()),
        (Some(ContainerNetworkMode::Container(id)), _) => Some(format!("container:{}", id.0)),
        // By id: names are not unique on older engines.
        (None, Some(endpoint)) => Some(endpoint.network.0.clone()),
        (None, None) => None,
    }
}

fn restart_policy(policy: RestartPolicy) -> ApiRestartPolicy {
    let (name, retries) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure { max_retries } => (RestartPolicyNameEnum::ON_FAILURE, max_retries),
    };
    ApiRestartPolicy {
        name: Some(name),
        maximum_retry_count: retries.map(i64::from),
    }
}

fn health_config(check: &Healthcheck, api: ApiVersion) -> Result<HealthConfig> {
    match check {
        Healthcheck::Disabled => Ok(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        Healthcheck::Test {
            test,
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        } => Ok(HealthConfig {
            // None keeps the image's test.
            test: test.clone(),
            interval: nanoseconds(*interval)?,
            timeout: nanoseconds(*timeout)?,
            retries: retries.map(i64::from),
            start_period: nanoseconds(*start_period)?,
            start_interval: nanoseconds(start_interval.filter(|_| api >= START_INTERVAL))?,
        }),
    }
}

fn exposed_ports(service: &Service) -> Vec<String> {
    let mut ports: Vec<String> = service.ports.iter().map(port_key).collect();
    for exposed in &service.expose {
        let (port, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        // The API takes single ports only; `expose` may hold a range.
        let range = port
            .split_once('-')
            .and_then(|(first, last)| Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?));
        match range {
            Some(range) => ports.extend(range.map(|port| format!("{port}/{protocol}"))),
            None => ports.push(format!("{port}/{protocol}")),
        }
    }
    ports.sort();
    ports.dedup();
    ports
}

fn port_key(port: &PublishedPort) -> String {
    format!("{}/{}", port.target, port.protocol.as_str())
}

fn port_bindings(ports: &[PublishedPort]) -> PortMap {
    let mut bindings = PortMap::new();
    for port in ports {
        bindings
            .entry(port_key(port))
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: port.host_ip.clone(),
                host_port: Some(match port.published {
                    HostPort::Ephemeral => String::new(),
                    HostPort::Fixed(port) => port.to_string(),
                    HostPort::Range(first, last) => format!("{first}-{last}"),
                }),
            });
    }
    bindings
}

fn set_limits(spec: &ContainerSpec, host: &mut HostConfig) -> Result<()> {
    let limits = &spec.service.limits;
    host.memory = bytes(spec, "memory", limits.memory)?;
    host.memory_reservation = bytes(spec, "memory reservation", limits.memory_reservation)?;
    host.memory_swap = limits.memory_swap;
    host.memory_swappiness = bytes(spec, "mem_swappiness", limits.memory_swappiness)?;
    host.nano_cpus = bytes(spec, "cpus", limits.nano_cpus)?;
    host.cpu_shares = bytes(spec, "cpu_shares", limits.cpu_shares)?;
    host.cpuset_cpus.clone_from(&limits.cpuset);
    host.pids_limit = limits.pids;
    host.oom_kill_disable = limits.oom_kill_disable;
    host.oom_score_adj = limits.oom_score_adj;
    Ok(())
}

fn set_mounts(spec: &ContainerSpec, api: ApiVersion, host: &mut HostConfig) -> Result<()> {
    let mut mounts = Vec::new();
    let mut binds = Vec::new();
    let mut tmpfs = HashMap::new();
    for mount in &spec.service.mounts {
        match &mount.kind {
            MountKind::Volume { key, nocopy, subpath } => {
                let name = spec
                    .volumes
                    .get(key)
                    .ok_or_else(|| refused(spec, format!("the volume `{key}` has no name on the engine")))?;
                if subpath.is_some() && api < VOLUME_SUBPATH {
                    return Err(too_old(&spec.name, "volume subpath", VOLUME_SUBPATH, api));
                }
                mounts.push(ApiMount {
                    source: Some(name.clone()),
                    volume_options: Some(MountVolumeOptions {
                        no_copy: Some(*nocopy),
                        subpath: subpath.clone(),
                        ..MountVolumeOptions::default()
                    }),
                    ..api_mount(mount, MountType::VOLUME)
                });
            }
            MountKind::AnonymousVolume => mounts.push(api_mount(mount, MountType::VOLUME)),
            MountKind::Bind {
                source,
                create_host_path,
                propagation,
                selinux,
            } => {
                let source = source
                    .to_str()
                    .ok_or_else(|| refused(spec, format!("the path {} is not UTF-8", source.display())))?;
                if *create_host_path || selinux.is_some() {
                    // Only the older form makes a missing folder and sets SELinux labels.
                    binds.push(bind(spec, mount, source, propagation.as_ref(), selinux.as_ref())?);
                } else {
                    mounts.push(ApiMount {
                        source: Some(source.to_owned()),
                        bind_options: propagation
                            .as_ref()
                            .map(|text| bind_options(spec, text))
                            .transpose()?,
                        ..api_mount(mount, MountType::BIND)
                    });
                }
            }
            MountKind::Tmpfs { size, mode, options } => {
                let mut options = options.clone();
                options.extend(size.map(|size| format!("size={size}")));
                options.extend(mode.map(|mode| format!("mode={mode:o}")));
                options.extend(mount.read_only.then(|| "ro".to_owned()));
                tmpfs.insert(mount.target.clone(), options.join(","));
            }
        }
    }
    host.mounts = some(mounts);
    host.binds = some(binds);
    host.tmpfs = (!tmpfs.is_empty()).then_some(tmpfs);
    Ok(())
}

fn api_mount(mount: &Mount, kind: MountType) -> ApiMount {
    ApiMount {
        target: Some(mount.target.clone()),
        typ: Some(kind),
        read_only: Some(mount.read_only),
        ..ApiMount::default()
    }
}

fn bind(
    spec: &ContainerSpec,
    mount: &Mount,
    source: &str,
    propagation: Option<&String>,
    selinux: Option<&String>,
) -> Result<String> {
    if source.contains(':') || mount.target.contains(':') {
        return Err(refused(
            spec,
            format!("the bind of {source} has a `:` in a path; set `create_host_path: false`"),
        ));
    }
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    options.extend(propagation.map(String::as_str));
    options.extend(selinux.map(String::as_str));
    Ok(format!("{source}:{}:{}", mount.target, options.join(",")))
}

fn bind_options(spec: &ContainerSpec, propagation: &str) -> Result<MountBindOptions> {
    let propagation = match propagation {
        "private" => Propagation::PRIVATE,
        "rprivate" => Propagation::RPRIVATE,
        "shared" => Propagation::SHARED,
        "rshared" => Propagation::RSHARED,
        "slave" => Propagation::SLAVE,
        "rslave" => Propagation::RSLAVE,
        other => return Err(refused(spec, format!("unknown bind propagation `{other}`"))),
    };
    Ok(MountBindOptions {
        propagation: Some(propagation),
        ..MountBindOptions::default()
    })
}

fn bytes(spec: &ContainerSpec, key: &str, value: Option<u64>) -> Result<Option<i64>> {
    value
        .map(|value| {
            i64::try_from(value).map_err(|_| refused(spec, format!("{key} of {value} is too large")))
        })
        .transpose()
}

fn nanoseconds(duration: Option<Duration>) -> Result<Option<i64>> {
    duration
        .map(|duration| {
            i64::try_from(duration.as_nanos()).map_err(|_| {
                EngineError::new(
                    "creating container with health test",
                    format!("of {} s", duration.as_secs()),
                    EngineErrorKind::Invalid,
                    "the engine counts at most 292 years",
                )
            })
        })
        .transpose()
}

/// Rounded up: a grace period is never shortened.
pub(super) fn whole_seconds(duration: Duration) -> i64 {
    let up = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(up)).unwrap_or(i64::MAX)
}

fn refused(spec: &ContainerSpec, why: String) -> EngineError {
    EngineError::new("creating container", &spec.name, EngineErrorKind::Invalid, why)
}

fn too_old(target: &str, key: &str, wanted: ApiVersion, api: ApiVersion) -> EngineError {
    EngineError::new(
        "creating container on",
        target,
        EngineErrorKind::Invalid,
        format!(
            "{key} needs engine API {}.{}, this engine has {}.{}",
            wanted.0, wanted.1, api.0, api.1
        ),
    )
}

/// An empty list is left away: the API tells them apart in places.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.clone().into_iter().collect()
}
