//! Processes on a real engine: that nothing they write is lost, however fast they are, and that what ended badly is
//! told so.

use std::time::Duration;

use viatique_deploy::engine::{Captured, ContainerId, EngineErrorKind, ExecSpec};

use crate::contract::{Ground, eventually, specs};
use crate::support::on_docker;

#[tokio::test]
async fn a_fast_one_off_loses_nothing() {
    on_docker("fast_one_off", async |ground: Ground| {
        for run in 0..25 {
            let script = format!("seq 1 200; echo {run} >&2; exit {}", run % 7);
            let spec = specs::one_off(
                &ground.project,
                &ground.name("fast"),
                &ground.plain,
                &["sh", "-c", &script],
            );
            let mut output = Captured::default();
            let exit = ground.engine.run_one_off(&spec, &mut output).await.unwrap();
            assert_eq!(exit.code, i64::from(run % 7), "run {run}");
            let lines: Vec<String> = (1..=200).map(|line| line.to_string()).collect();
            assert_eq!(
                output.stdout_text().lines().collect::<Vec<_>>(),
                lines,
                "run {run}"
            );
            assert_eq!(output.stderr_text(), format!("{run}\n"), "run {run}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_container_stopped_under_a_command_is_no_success() {
    on_docker("stopped_under", async |ground: Ground| {
        let id = ground.start(&ground.running("a")).await;
        let command = ExecSpec::command(&["sh", "-c", "touch /tmp/started; sleep 600"]);
        let mut output = Captured::default();
        let running = ground.engine.exec(&id, &command, None, &mut output);
        let stopping = async {
            eventually("the command runs", || async {
                let seen = ExecSpec::command(&["test", "-e", "/tmp/started"]);
                let exit = ground
                    .engine
                    .exec(&id, &seen, None, &mut Captured::default())
                    .await
                    .unwrap();
                exit.success().then_some(())
            })
            .await;
            ground
                .engine
                .stop(&id, Some(Duration::from_secs(1)))
                .await
                .unwrap();
        };
        let (outcome, ()) = tokio::join!(running, stopping);
        match outcome {
            Ok(exit) => assert!(!exit.success(), "{exit:?}"),
            Err(error) => assert_eq!(error.kind, EngineErrorKind::ConnectionLost),
        }
    })
    .await;
}

/// The caller may go on while a container takes its time to end.
#[tokio::test]
async fn a_stop_goes_on_when_nobody_waits_for_it() {
    on_docker("stop_dropped", async |ground: Ground| {
        let engine = &ground.engine;
        let saying = async |id: ContainerId, line: &'static str| {
            eventually("it says so", || async {
                let lines = engine.logs(&id, 10).await.unwrap();
                lines.iter().any(|found| found == line).then_some(())
            })
            .await;
        };
        // One that ends when it wants to, and one that never wants to.
        for (end, code) in [("sleep 2; exit 5", 5), ("", 137)] {
            let script = format!("trap 'echo asked; {end}' TERM; echo ready; while true; do sleep 0.1; done");
            let mut spec = ground.running(&format!("a{code}"));
            spec.service.init = None;
            spec.service.command = Some(specs::words(&["sh", "-c", &script]));
            let id = ground.start(&spec).await;
            saying(id.clone(), "ready").await;
            let stopping = engine.stop(&id, Some(Duration::from_secs(4)));
            tokio::select! {
                stopped = stopping => panic!("it takes longer: {stopped:?}"),
                () = saying(id.clone(), "asked") => {}
            }
            assert_eq!(engine.wait(&id).await.unwrap().code, code);
        }
    })
    .await;
}

#[tokio::test]
async fn want_of_memory_is_told() {
    on_docker("out_of_memory", async |ground: Ground| {
        // Keeps the last line of a file that has none.
        let command = ["tail", "/dev/zero"];
        let mut spec = specs::one_off(&ground.project, &ground.name("big"), &ground.plain, &command);
        spec.container.service.limits.memory = Some(16 << 20);
        spec.container.service.limits.memory_swap = Some(16 << 20);
        let exit = ground
            .engine
            .run_one_off(&spec, &mut Captured::default())
            .await
            .unwrap();
        assert_eq!(exit.code, 137);
        assert!(exit.out_of_memory);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_closes_its_streams_is_waited_for() {
    on_docker("closes_streams", async |ground: Ground| {
        let id = ground.start(&ground.running("a")).await;
        let command = ExecSpec::command(&["sh", "-c", "exec >&- 2>&-; sleep 1; exit 5"]);
        let exit = ground
            .engine
            .exec(&id, &command, None, &mut Captured::default())
            .await
            .unwrap();
        assert_eq!(exit.code, 5);
        let script = ["sh", "-c", "exec >&- 2>&-; sleep 1; exit 6"];
        let spec = specs::one_off(&ground.project, &ground.name("once"), &ground.plain, &script);
        assert_eq!(
            ground
                .engine
                .run_one_off(&spec, &mut Captured::default())
                .await
                .unwrap()
                .code,
            6
        );
    })
    .await;
}

#[tokio::test]
async fn a_command_that_does_not_want_its_input_ends() {
    on_docker("unwanted_input", async |ground: Ground| {
        let id = ground.start(&ground.running("a")).await;
        // Never ends by itself.
        let mut input = tokio::io::repeat(b'x');
        let command = ExecSpec::command(&["head", "-c", "5"]);
        let mut output = Captured::default();
        let exit = ground
            .engine
            .exec(&id, &command, Some(&mut input), &mut output)
            .await
            .unwrap();
        assert_eq!((exit.code, output.stdout_text().as_str()), (0, "xxxxx"));
    })
    .await;
}
