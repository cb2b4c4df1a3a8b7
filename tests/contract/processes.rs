//! One-offs and exec.

use std::io;

use async_trait::async_trait;
use viatique_deploy::engine::{
    Captured, ContainerFilter, EngineErrorKind, ExecSpec, OutputSink, OutputStream, labels,
};

use super::{Ground, kind, specs};

pub(crate) async fn a_one_off_gives_its_output_and_its_code(ground: Ground) {
    let script = "echo out; echo err >&2; exit 3";
    for (command, stdout, stderr, code) in [
        (["sh", "-c", "true"], "", "", 0),
        (["sh", "-c", script], "out\n", "err\n", 3),
        (["sh", "-c", "exit 127"], "", "", 127),
    ] {
        let spec = specs::one_off(&ground.project, &ground.name("once"), &ground.plain, &command);
        let mut output = Captured::default();
        let exit = ground.engine.run_one_off(&spec, &mut output).await.unwrap();
        assert_eq!(exit.code, code);
        assert!(!exit.out_of_memory);
        assert_eq!(output.stdout_text(), stdout);
        assert_eq!(output.stderr_text(), stderr);
    }
}

pub(crate) async fn a_one_off_leaves_nothing_behind(ground: Ground) {
    let mine = ContainerFilter::labelled(labels::PROJECT, &ground.project);
    for (command, kind_wanted) in [
        ("true", None),
        ("false", None),
        ("no-such-command", Some(EngineErrorKind::StartFailed)),
    ] {
        let spec = specs::one_off(&ground.project, &ground.name("once"), &ground.plain, &[command]);
        let outcome = ground.engine.run_one_off(&spec, &mut Captured::default()).await;
        match kind_wanted {
            Some(wanted) => assert_eq!(kind(outcome), wanted),
            None => assert_eq!(outcome.unwrap().success(), command == "true"),
        }
        assert!(
            ground.engine.containers(&mine).await.unwrap().is_empty(),
            "{command}"
        );
    }
}

pub(crate) async fn a_one_off_is_given_environment(ground: Ground) {
    let script = ["sh", "-c", "echo $GREETING"];
    let mut spec = specs::one_off(&ground.project, &ground.name("once"), &ground.plain, &script);
    spec.environment
        .insert("GREETING".to_owned(), "bonjour".to_owned());
    let mut output = Captured::default();
    assert!(
        ground
            .engine
            .run_one_off(&spec, &mut output)
            .await
            .unwrap()
            .success()
    );
    assert_eq!(output.stdout_text(), "bonjour\n");
}

pub(crate) async fn exec_gives_its_output_and_its_code(ground: Ground) {
    let id = ground.start(&ground.running("a")).await;
    let mut output = Captured::default();
    let script = ExecSpec::command(&["sh", "-c", "echo out; echo err >&2; exit 3"]);
    let exit = ground.engine.exec(&id, &script, None, &mut output).await.unwrap();
    assert_eq!(exit.code, 3);
    assert_eq!(output.stdout_text(), "out\n");
    assert_eq!(output.stderr_text(), "err\n");

    let missing = ExecSpec::command(&["no-such-command"]);
    let exit = ground
        .engine
        .exec(&id, &missing, None, &mut Captured::default())
        .await
        .unwrap();
    assert!([126, 127].contains(&exit.code), "{}", exit.code);
}

pub(crate) async fn exec_reads_its_input_to_the_end(ground: Ground) {
    let id = ground.start(&ground.running("a")).await;
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut output = Captured::default();
    let exit = ground
        .engine
        .exec(
            &id,
            &ExecSpec::command(&["cat"]),
            Some(&mut sent.as_slice()),
            &mut output,
        )
        .await
        .unwrap();
    assert!(exit.success());
    assert!(
        output.stdout == sent,
        "{} of {} bytes came back",
        output.stdout.len(),
        sent.len()
    );
}

pub(crate) async fn exec_wants_a_running_container(ground: Ground) {
    let command = ExecSpec::command(&["true"]);
    let engine = &ground.engine;
    let id = engine.create_container(&ground.running("a")).await.unwrap();
    let refused = engine.exec(&id, &command, None, &mut Captured::default()).await;
    assert_eq!(kind(refused), EngineErrorKind::Conflict);
    engine.remove_container(&id).await.unwrap();
    let refused = engine.exec(&id, &command, None, &mut Captured::default()).await;
    assert_eq!(kind(refused), EngineErrorKind::NotFound);
}

struct FullDisk;

#[async_trait]
impl OutputSink for FullDisk {
    async fn write(&mut self, _stream: OutputStream, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

pub(crate) async fn a_failing_sink_ends_the_call(ground: Ground) {
    let script = ["sh", "-c", "echo out; echo err >&2; exit 3"];
    let once = specs::one_off(&ground.project, &ground.name("once"), &ground.plain, &script);
    let outcome = ground.engine.run_one_off(&once, &mut FullDisk).await;
    assert_eq!(kind(outcome), EngineErrorKind::Sink);
    assert!(
        ground
            .engine
            .container(&once.container.name)
            .await
            .unwrap()
            .is_none()
    );
    let id = ground.start(&ground.running("a")).await;
    let outcome = ground
        .engine
        .exec(&id, &ExecSpec::command(&script), None, &mut FullDisk)
        .await;
    assert_eq!(kind(outcome), EngineErrorKind::Sink);
}
