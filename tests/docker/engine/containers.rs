//! That every field of a service arrives, and what the engine's own tools then say of the container.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use viatique_deploy::compose::{
    Device, EnvironmentValue, ExtraHost, Healthcheck, HostPort, Logging, Mount, MountKind, Protocol,
    PublishedPort, RestartPolicy, Ulimit,
};
use viatique_deploy::engine::{Captured, ContainerNetworkMode, EngineErrorKind, ExecSpec, Inspect};
use viatique_deploy::secret::Secret;

use crate::contract::{Ground, kind, specs};
use crate::support::{docker, docker_engine, on_docker};

fn mount(target: &str, read_only: bool, kind: MountKind) -> Mount {
    Mount {
        target: target.to_owned(),
        read_only,
        kind,
    }
}

#[tokio::test]
async fn every_field_of_a_service_arrives() {
    on_docker("every_field", async |ground: Ground| {
        let engine = &ground.engine;
        let volume = ground.name("media");
        engine
            .create_volume(&specs::volume(&ground.project, &volume))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let created: PathBuf = folder.path().join("made/by/the/engine");
        let mut spec = ground.running("a");
        spec.network_mode = Some(ContainerNetworkMode::Bridge);
        spec.volumes.insert("media".to_owned(), volume.clone());
        let service = &mut spec.service;
        service.environment = BTreeMap::from([
            ("PLAIN".to_owned(), EnvironmentValue::Plain("a=b c".to_owned())),
            (
                "HIDDEN".to_owned(),
                EnvironmentValue::Secret(Secret::new("s3cret".to_owned())),
            ),
            ("PATH".to_owned(), EnvironmentValue::Unset),
        ]);
        service.command = Some(specs::words(&["600"]));
        service.entrypoint = Some(specs::words(&["/bin/sleep"]));
        service.user = Some("65534:65534".to_owned());
        service.working_dir = Some("/tmp".to_owned());
        service.hostname = Some("web".to_owned());
        service.domainname = Some("example.test".to_owned());
        service.restart = Some(RestartPolicy::OnFailure { max_retries: Some(3) });
        service.healthcheck = Some(Healthcheck::Test {
            test: Some(specs::words(&["CMD", "/bin/true"])),
            interval: Some(Duration::from_secs(7)),
            timeout: Some(Duration::from_millis(1500)),
            retries: Some(4),
            start_period: Some(Duration::from_secs(9)),
            // Unknown to this engine: dropped, since it only makes a container healthy later.
            start_interval: Some(Duration::from_secs(1)),
        });
        let port = |target, published| PublishedPort {
            target,
            protocol: Protocol::Tcp,
            host_ip: Some("127.0.0.1".to_owned()),
            published,
        };
        service.ports = vec![
            port(8000, HostPort::Ephemeral),
            port(8001, HostPort::Range(38_400, 38_499)),
        ];
        service.expose = vec!["9000-9001".to_owned(), "9100/udp".to_owned()];
        service.mounts = vec![
            mount(
                "/media",
                true,
                MountKind::Volume {
                    key: "media".to_owned(),
                    nocopy: true,
                    subpath: None,
                },
            ),
            mount("/anonymous", false, MountKind::AnonymousVolume),
            mount(
                "/made",
                true,
                MountKind::Bind {
                    source: created.clone(),
                    create_host_path: true,
                    propagation: None,
                    selinux: None,
                },
            ),
            mount(
                "/folder",
                false,
                MountKind::Bind {
                    source: folder.path().to_owned(),
                    create_host_path: false,
                    propagation: Some("rprivate".to_owned()),
                    selinux: None,
                },
            ),
            mount(
                "/scratch",
                false,
                MountKind::Tmpfs {
                    size: Some(1 << 20),
                    mode: Some(0o1777),
                    options: vec!["noexec".to_owned()],
                },
            ),
        ];
        service.extra_hosts = vec![ExtraHost {
            host: "one.test".to_owned(),
            address: "192.0.2.1".to_owned(),
        }];
        service.dns = vec!["192.0.2.53".to_owned()];
        service.dns_search = vec!["example.test".to_owned()];
        service.dns_opt = vec!["ndots:2".to_owned()];
        service.stop_signal = Some("SIGINT".to_owned());
        service.stop_grace_period = Some(Duration::from_millis(2500));
        service.tty = true;
        service.stdin_open = true;
        service.read_only = true;
        service.cap_add = vec!["NET_ADMIN".to_owned()];
        service.cap_drop = vec!["CHOWN".to_owned()];
        service.security_opt = vec!["no-new-privileges:true".to_owned()];
        service.group_add = vec!["1000".to_owned()];
        service.sysctls = BTreeMap::from([("net.core.somaxconn".to_owned(), "1024".to_owned())]);
        service.devices = vec![Device {
            host_path: "/dev/null".to_owned(),
            container_path: "/dev/nothing".to_owned(),
            permissions: "r".to_owned(),
        }];
        service.shm_size = Some(8 << 20);
        service.ulimits = BTreeMap::from([(
            "nofile".to_owned(),
            Ulimit {
                soft: 1000,
                hard: 2000,
            },
        )]);
        service.logging = Some(Logging {
            driver: Some("json-file".to_owned()),
            options: BTreeMap::from([
                ("max-file".to_owned(), "2".to_owned()),
                ("max-size".to_owned(), "1m".to_owned()),
            ]),
        });
        service.limits.memory = Some(64 << 20);
        service.limits.nano_cpus = Some(500_000_000);
        service.limits.cpu_shares = Some(512);
        service.limits.pids = Some(50);
        service.limits.oom_score_adj = Some(100);
        service.ipc = Some("private".to_owned());

        let id = ground.start(&spec).await;
        let seen: serde_json::Value = serde_json::from_str(&docker(&["inspect", &id.0])).unwrap();
        let (config, host) = (&seen[0]["Config"], &seen[0]["HostConfig"]);
        for (found, wanted) in [
            (
                &config["Env"],
                serde_json::json!(["HIDDEN=s3cret", "PATH", "PLAIN=a=b c"]),
            ),
            (&config["Entrypoint"], serde_json::json!(["/bin/sleep"])),
            (&config["Cmd"], serde_json::json!(["600"])),
            (&config["User"], serde_json::json!("65534:65534")),
            (&config["WorkingDir"], serde_json::json!("/tmp")),
            (&config["Hostname"], serde_json::json!("web")),
            (&config["Domainname"], serde_json::json!("example.test")),
            (&config["StopSignal"], serde_json::json!("SIGINT")),
            (&config["StopTimeout"], serde_json::json!(3)),
            (&config["Tty"], serde_json::json!(true)),
            (&config["OpenStdin"], serde_json::json!(true)),
            (
                &config["Healthcheck"],
                serde_json::json!({
                    "Test": ["CMD", "/bin/true"], "Interval": 7_000_000_000_i64, "Timeout": 1_500_000_000,
                    "StartPeriod": 9_000_000_000_i64, "Retries": 4,
                }),
            ),
            (
                &host["RestartPolicy"],
                serde_json::json!({"Name": "on-failure", "MaximumRetryCount": 3}),
            ),
            (&host["ExtraHosts"], serde_json::json!(["one.test:192.0.2.1"])),
            (&host["Dns"], serde_json::json!(["192.0.2.53"])),
            (&host["DnsSearch"], serde_json::json!(["example.test"])),
            (&host["DnsOptions"], serde_json::json!(["ndots:2"])),
            (&host["ReadonlyRootfs"], serde_json::json!(true)),
            (&host["Init"], serde_json::json!(true)),
            (&host["CapAdd"], serde_json::json!(["NET_ADMIN"])),
            (&host["CapDrop"], serde_json::json!(["CHOWN"])),
            (
                &host["SecurityOpt"],
                serde_json::json!(["no-new-privileges:true"]),
            ),
            (&host["GroupAdd"], serde_json::json!(["1000"])),
            (
                &host["Sysctls"],
                serde_json::json!({"net.core.somaxconn": "1024"}),
            ),
            (&host["ShmSize"], serde_json::json!(8 << 20)),
            (
                &host["Ulimits"],
                serde_json::json!([{"Name": "nofile", "Hard": 2000, "Soft": 1000}]),
            ),
            (
                &host["LogConfig"],
                serde_json::json!({"Type": "json-file", "Config": {"max-file": "2", "max-size": "1m"}}),
            ),
            (&host["Memory"], serde_json::json!(64 << 20)),
            (&host["NanoCpus"], serde_json::json!(500_000_000)),
            (&host["CpuShares"], serde_json::json!(512)),
            (&host["PidsLimit"], serde_json::json!(50)),
            (&host["OomScoreAdj"], serde_json::json!(100)),
            (&host["IpcMode"], serde_json::json!("private")),
            (&host["NetworkMode"], serde_json::json!("bridge")),
            (
                &host["Devices"],
                serde_json::json!([{
                    "PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r",
                }]),
            ),
        ] {
            assert_eq!(
                found.to_string().replace("CAP_", ""),
                wanted.to_string(),
                "newer engines write CAP_"
            );
        }
        let exposed: Vec<&String> = config["ExposedPorts"].as_object().unwrap().keys().collect();
        assert_eq!(
            exposed,
            ["8000/tcp", "8001/tcp", "9000/tcp", "9001/tcp", "9100/udp"]
        );
        let tmpfs = host["Tmpfs"]["/scratch"].as_str().unwrap();
        assert_eq!(tmpfs, "noexec,size=1048576,mode=1777");
        let mounts: BTreeMap<&str, (&str, bool)> = seen[0]["Mounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| {
                let text = |key: &str| mount[key].as_str().unwrap();
                (
                    text("Destination"),
                    (text("Type"), mount["RW"].as_bool().unwrap()),
                )
            })
            .collect();
        assert_eq!(mounts["/media"], ("volume", false));
        assert_eq!(mounts["/anonymous"], ("volume", true));
        assert_eq!(mounts["/made"], ("bind", false));
        assert_eq!(mounts["/folder"], ("bind", true));
        assert!(created.is_dir());

        let view = ground.look(&id).await;
        assert_eq!(view.environment.reveal()["HIDDEN"], "s3cret");
        assert!(
            !view.environment.reveal().contains_key("PATH"),
            "taken away from the image's"
        );
        let env = ExecSpec::command(&["/bin/env"]);
        let mut output = Captured::default();
        assert!(engine.exec(&id, &env, None, &mut output).await.unwrap().success());
        assert!(output.stdout_text().contains("PLAIN=a=b c"));
        assert!(!format!("{view:?}").contains("s3cret"));
        assert_eq!(view.host_ports.len(), 2);
        assert!(view.host_ports.iter().all(|(address, _)| address == "127.0.0.1"));
        assert!(
            view.host_ports
                .iter()
                .any(|(_, port)| (38_400..=38_499).contains(port))
        );
        assert!(
            view.mounted_volumes
                .iter()
                .any(|mounted| mounted.name == volume && mounted.target == "/media")
        );
        let anonymous: Vec<String> = view
            .mounted_volumes
            .iter()
            .filter(|mounted| mounted.target == "/anonymous")
            .map(|mounted| mounted.name.clone())
            .collect();
        engine.remove_container(&id).await.unwrap();
        // The anonymous volume goes along, the named one stays.
        assert!(engine.volume(&anonymous[0]).await.unwrap().is_none());
        assert!(engine.volume(&volume).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn what_this_engine_cannot_do_is_refused_by_name() {
    on_docker("refused_by_name", async |ground: Ground| {
        if docker_engine().await.identity().await.unwrap().api_version != "1.41" {
            // Newer engines can.
            return;
        }
        let network = ground
            .engine
            .create_network(&specs::network(&ground.project, &ground.name("net")))
            .await
            .unwrap();
        let mut spec = ground.running("a");
        spec.network_mode = None;
        spec.networks = vec![crate::contract::endpoint(&network, &[])];
        spec.networks[0].mac_address = Some("02:42:ac:11:00:02".to_owned());
        let error = ground
            .engine
            .create_container(&spec)
            .await
            .expect_err("the address would be ignored");
        assert_eq!(error.kind, EngineErrorKind::Invalid);
        assert!(error.message.contains("mac_address"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_a_failed_start() {
    on_docker("taken_port", async |ground: Ground| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut spec = ground.running("a");
        spec.network_mode = Some(ContainerNetworkMode::Bridge);
        spec.service.ports = vec![PublishedPort {
            target: 80,
            protocol: Protocol::Tcp,
            host_ip: Some("127.0.0.1".to_owned()),
            published: HostPort::Fixed(taken.local_addr().unwrap().port()),
        }];
        let id = ground.engine.create_container(&spec).await.unwrap();
        assert_eq!(kind(ground.engine.start(&id).await), EngineErrorKind::StartFailed);
        let mut spec = ground.running("b");
        spec.service.command = Some(specs::words(&["/no/such/command"]));
        spec.service.init = None;
        let id = ground.engine.create_container(&spec).await.unwrap();
        assert_eq!(kind(ground.engine.start(&id).await), EngineErrorKind::StartFailed);
    })
    .await;
}

#[tokio::test]
async fn addresses_on_a_network_are_kept() {
    on_docker("addresses", async |ground: Ground| {
        let mut network = specs::network(&ground.project, &ground.name("net"));
        network.network.ipam = vec![viatique_deploy::compose::IpamPool {
            subnet: Some("10.213.77.0/24".to_owned()),
            gateway: Some("10.213.77.1".to_owned()),
            ip_range: None,
        }];
        network.network.internal = true;
        let network = ground.engine.create_network(&network).await.unwrap();
        let mut spec = ground.running("a");
        spec.network_mode = None;
        spec.networks = vec![crate::contract::endpoint(&network, &["web"])];
        spec.networks[0].ipv4_address = Some("10.213.77.99".to_owned());
        let id = ground.start(&spec).await;
        let networks = ground.look(&id).await.networks;
        assert_eq!(networks[0].ip_address.as_deref(), Some("10.213.77.99"));
    })
    .await;
}

#[tokio::test]
async fn a_marker_needs_no_image() {
    on_docker("marker_image", async |ground: Ground| {
        let labels = specs::project_label(&ground.project);
        // Pruned at any time, except while another marker needs it.
        ground
            .engine
            .remove_image("viatique-deploy-empty:1")
            .await
            .unwrap();
        let id = ground
            .engine
            .create_marker(&ground.name("lock"), &labels, None)
            .await
            .unwrap();
        let seen = ground.look(&id).await;
        assert_eq!(seen.labels, labels);
        assert_eq!(kind(ground.engine.start(&id).await), EngineErrorKind::StartFailed);
    })
    .await;
}

/// What a twin is for: runc 1.1 gives the tmpfs another mode at the second start, so the stopped container fails
/// where one made like it does not.
#[tokio::test]
async fn a_twin_writes_where_a_restarted_container_cannot() {
    on_docker("twin_tmpfs", async |ground: Ground| {
        let mut spec = ground.running("model");
        spec.service.user = Some("1234".to_owned());
        spec.service.command = Some(specs::words(&["sh", "-c", "touch /run/own/file && sleep 600"]));
        spec.service.mounts = vec![mount(
            "/run/own",
            false,
            MountKind::Tmpfs {
                size: None,
                mode: Some(0o1777),
                options: Vec::new(),
            },
        )];
        let model = ground.start(&spec).await;
        ground.engine.stop(&model, Some(Duration::ZERO)).await.unwrap();
        let twin = ground
            .engine
            .create_twin(&model, &ground.name("twin"))
            .await
            .unwrap();
        ground.engine.start(&twin).await.unwrap();
        let spec = ExecSpec::command(&["touch", "/run/own/file"]);
        let mut output = Captured::default();
        let exit = ground.engine.exec(&twin, &spec, None, &mut output).await.unwrap();
        assert!(exit.success(), "{}", output.stderr_text());
    })
    .await;
}
