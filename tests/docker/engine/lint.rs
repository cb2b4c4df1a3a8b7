//! What the lint knows of engines and shells, held against real ones.

use viatique_deploy::engine::Inspect;
use viatique_deploy::stack::shell::{FirstProcess, first_process, running_shell};

use crate::contract::{Ground, eventually, specs};
use crate::support::{docker, docker_engine, on_docker};

/// The engine of these tests is on this machine, so that everything can be known.
#[tokio::test]
async fn the_room_of_an_engine_on_this_machine_is_known() {
    let room = docker_engine().await.capacity().await.unwrap();
    let told = docker(&["info", "--format", "{{.MemTotal}} {{.DockerRootDir}}"]);
    assert_eq!(told.trim(), format!("{} {}", room.memory_total, room.data_root));
    let available = room.memory_available.expect("memory");
    assert!(0 < available && available <= room.memory_total, "{room:?}");
    assert!(room.disk_available.expect("disk") > 0);
}

/// busybox's shell is called `ash`: the tests' image names it `sh`, as Alpine does.
#[tokio::test]
async fn which_scripts_keep_the_shell_is_true_of_busybox() {
    on_docker("shells", async |ground: Ground| {
        for (number, script) in [
            "sleep 600",
            "true && sleep 600",
            "exec sleep 600",
            "if true; then sleep 600; fi",
            "sleep 600 >/dev/null",
            "sleep 600; true",
            "sleep 600 | cat",
            "! sleep 600",
        ]
        .into_iter()
        .enumerate()
        {
            let mut spec = ground.running(&format!("shell-{number}"));
            spec.service.init = None;
            spec.service.command = Some(specs::words(&["sh", "-c", script]));
            let id = ground.start(&spec).await;
            let processes = eventually("it sleeps", || async {
                let processes = ground.engine.processes(&id).await.unwrap();
                let sleeps = processes.iter().any(|(_, title)| title.starts_with("sleep"));
                sleeps.then_some(processes)
            })
            .await;
            let judged = first_process(&specs::words(&["ash", "-c", script]), false);
            let expected = match judged {
                FirstProcess::Shell { .. } => true,
                FirstProcess::Program => false,
                other @ (FirstProcess::Script | FirstProcess::Unknown) => panic!("{script}: {other:?}"),
            };
            assert_eq!(
                running_shell(&processes).is_some(),
                expected,
                "{script}: {processes:?}"
            );
        }
    })
    .await;
}
