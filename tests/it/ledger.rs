//! The ledger on the simulated engine: what is written is read back, in order; what cannot be read is named.

use std::collections::BTreeMap;

use viatique_deploy::engine::{Engine, Inspect};
use viatique_deploy::ledger::{
    self, EntryKind, JOURNAL_FORMAT, Ledger, LedgerError, Releases, RunHeader, StepState,
};
use viatique_deploy::pipeline::{Outcome, StepId};
use viatique_deploy::release::{RELEASE_FORMAT, RecordedFile, Release, RunId, Sequence, Tag};

use crate::support::{FakeEngine, Stack};

fn release(sequence: u64, tag: &str, previous: Option<u64>) -> Release {
    Release {
        format: RELEASE_FORMAT,
        written_by: "0.1.0".to_owned(),
        sequence: Sequence(sequence),
        tag: Tag::new(tag).unwrap(),
        run: RunId(format!("20260101T00000{sequence}Z-00000{sequence}")),
        command: "run".to_owned(),
        deployed_at: "2026-01-01T00:00:00Z".to_owned(),
        deployed_by: "ada@host".to_owned(),
        previous: previous.map(Sequence),
        images: BTreeMap::new(),
        compose: vec![RecordedFile {
            path: "compose.yml".into(),
            text: "services: {}\n".to_owned(),
        }],
        project: serde_json::Value::Null,
        migrations: None,
        rehearsal: None,
        known_errors: None,
        backup: None,
        checks: None,
    }
}

fn header(run: &str) -> RunHeader {
    RunHeader {
        format: JOURNAL_FORMAT,
        written_by: "0.1.0".to_owned(),
        run: RunId(run.to_owned()),
        command: "run".to_owned(),
        release: Some(Tag::new("v2").unwrap()),
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        started_by: "ada@host".to_owned(),
        steps: vec![StepId::Build, StepId::Deploy],
        number: 1,
        replace: Vec::new(),
        allow_incompatible: false,
        maintenance: false,
        skip_smoke: false,
        restores: None,
        reverses: None,
    }
}

const fn started(step: StepId) -> EntryKind {
    EntryKind::Started { step }
}

fn succeeded(step: StepId) -> EntryKind {
    EntryKind::Succeeded {
        step,
        message: "done".to_owned(),
    }
}

fn failed(step: StepId) -> EntryKind {
    EntryKind::Failed {
        step,
        error: "no".to_owned(),
    }
}

fn undone(step: StepId) -> EntryKind {
    EntryKind::Undone {
        step,
        message: "back".to_owned(),
    }
}

fn undo_failed(step: StepId) -> EntryKind {
    EntryKind::UndoFailed {
        step,
        error: "no".to_owned(),
    }
}

/// Puts a file into the ledger's volume, as no version of the tool does.
async fn put(engine: &FakeEngine, path: &str, content: &str) {
    let name = ledger::object_name("viatique");
    let id = engine.container(&name).await.unwrap().unwrap().id;
    engine
        .write_files(
            &id,
            ledger::DATA,
            &[(path.to_owned(), content.as_bytes().to_vec())],
        )
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_project_without_a_ledger_has_no_releases_and_reading_makes_none() {
    let engine = FakeEngine::new();
    let before = engine.peek();
    assert_eq!(
        ledger::read(&engine, "viatique").await.unwrap().releases,
        Releases::default()
    );
    assert_eq!(ledger::read(&engine, "viatique").await.unwrap().unfinished, None);
    assert_eq!(engine.peek(), before);
}

#[tokio::test(start_paused = true)]
async fn releases_are_read_back_in_their_order() {
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    for number in [2, 10, 1] {
        record(&ledger, &release(number, &format!("v{number}"), None)).await;
    }
    let releases = ledger::read(&engine, "viatique").await.unwrap().releases;
    let read: Vec<u64> = releases.all().iter().map(|release| release.sequence.0).collect();
    assert_eq!(read, [1, 2, 10]);
    assert_eq!(releases.all()[0], release(1, "v1", None));
    assert_eq!(releases.next_sequence(), Sequence(11));
    // Opened again it is the same one.
    let again = Ledger::open(&engine, "viatique").await.unwrap();
    assert_eq!(again.read().await.unwrap().releases, releases);
    assert_eq!(engine.peek().containers.len(), 1);
    // Another project has its own.
    assert!(
        ledger::read(&engine, "other")
            .await
            .unwrap()
            .releases
            .all()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn releases_outlive_the_container_that_opened_the_volume() {
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    record(&ledger, &release(1, "v1", None)).await;
    let id = engine.peek().containers[0].id.clone();
    engine.remove_container(&id).await.unwrap();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    assert_eq!(ledger.read().await.unwrap().releases.all().len(), 1);
}

#[test]
fn previous_tagged_and_known_follow_the_history() {
    let releases = Releases::new(vec![
        release(1, "v1", None),
        release(2, "v2", Some(1)),
        release(3, "v3", Some(2)),
        release(4, "v2", Some(1)),
    ]);
    let sequence = |release: Option<&Release>| release.map(|release| release.sequence.0);
    assert_eq!(sequence(releases.current()), Some(4));
    assert_eq!(sequence(releases.previous()), Some(1));
    assert_eq!(sequence(releases.tagged(&Tag::new("v2").unwrap())), Some(4));
    assert_eq!(sequence(releases.tagged(&Tag::new("v9").unwrap())), None);
    assert_eq!(releases.known(), "known: v2, v3, v1");
    assert_eq!(Releases::default().next_sequence(), Sequence(1));
}

#[tokio::test(start_paused = true)]
async fn a_newer_format_is_refused_naming_both_versions() {
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    record(&ledger, &release(1, "v1", None)).await;
    // With a field that means something else by then.
    put(
        &engine,
        "releases/000002.json",
        r#"{"format":7,"written_by":"3.2.1","tag":["v2"]}"#,
    )
    .await;
    let error = ledger::read(&engine, "viatique").await.unwrap_err();
    assert!(matches!(error, LedgerError::Newer { found: 7, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "the ledger's releases/000002.json has format 7, written by viatique-deploy 3.2.1; this is {}, which \
             reads up to format {RELEASE_FORMAT}",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_named_and_others_are_ignored() {
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    record(&ledger, &release(1, "v1", None)).await;
    put(&engine, "releases/.000002.json.partial", "{").await;
    put(&engine, "releases/notes.txt", "by hand").await;
    assert_eq!(
        ledger::read(&engine, "viatique")
            .await
            .unwrap()
            .releases
            .all()
            .len(),
        1
    );
    for damaged in ["", "{\"format\":1", "{\"format\":1}", "[]"] {
        put(&engine, "releases/000003.json", damaged).await;
        let error = ledger::read(&engine, "viatique").await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("the ledger's releases/000003.json is damaged: "),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_ledger_stops_a_run_before_it_touches_anything() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let run = "runs/20990101T000000Z-ffffff";
    put(&stack.engine, &format!("{run}/0000.json"), "{}").await;
    let ended = stack.run("v2").await;
    ended
        .says(&format!("the ledger's {run}/0000.json is damaged"))
        .hints_at("move the file out of the ledger's volume");
    assert_eq!(stack.engine.peek().containers, before.containers);
}

/// As a run that makes a release does.
async fn record(ledger: &Ledger<'_>, release: &Release) {
    let mut journal = ledger.begin(header(&release.run.0)).unwrap();
    journal.record(release).await.unwrap();
}

/// Writes the entries, and says how far an unfinished run was; `None` where it is finished.
async fn after(entries: &[EntryKind]) -> Option<Option<(StepId, StepState)>> {
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    let mut journal = ledger.begin(header("20260101T000000Z-000001")).unwrap();
    for entry in entries {
        journal
            .write("2026-01-01T00:00:00Z".to_owned(), entry.clone())
            .await
            .unwrap();
    }
    let unfinished = ledger::read(&engine, "viatique").await.unwrap().unfinished?;
    assert_eq!(unfinished.header, header("20260101T000000Z-000001"));
    Some(unfinished.last)
}

/// Cut at every entry.
#[tokio::test(start_paused = true)]
async fn an_unfinished_run_is_found_with_how_far_it_was() {
    use StepId::{Deploy, Migrate};
    let entries = [
        (started(Migrate), StepState::Started),
        (succeeded(Migrate), StepState::Succeeded),
        (started(Deploy), StepState::Started),
        (failed(Deploy), StepState::Failed),
        (EntryKind::UndoStarted { step: Deploy }, StepState::UndoStarted),
        (undone(Deploy), StepState::Undone),
        (EntryKind::UndoStarted { step: Migrate }, StepState::UndoStarted),
        (undo_failed(Migrate), StepState::UndoFailed),
    ];
    let kinds: Vec<EntryKind> = entries.iter().map(|(kind, _)| kind.clone()).collect();
    assert_eq!(after(&[]).await, None, "nothing was announced yet");
    for (index, (kind, state)) in entries.iter().enumerate() {
        assert_eq!(
            after(&kinds[..=index]).await,
            Some(kind.step().map(|step| (step, *state)))
        );
    }
    let finished = EntryKind::Finished {
        outcome: Outcome::Failed,
    };
    assert_eq!(after(&[kinds, vec![finished]].concat()).await, None);
}

/// What is noted comes with the next entry, in its place; killed before that, the step counts as under way.
#[tokio::test(start_paused = true)]
async fn a_noted_entry_is_written_with_the_next() {
    use StepId::{Deploy, Migrate};
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    let mut journal = ledger.begin(header("20260101T000000Z-000001")).unwrap();
    let at = || "2026-01-01T00:00:00Z".to_owned();
    let last = async || {
        let unfinished = ledger::read(&engine, "viatique").await.unwrap().unfinished;
        unfinished.and_then(|unfinished| unfinished.last)
    };
    journal.write(at(), started(Migrate)).await.unwrap();
    journal.note(at(), succeeded(Migrate)).unwrap();
    assert_eq!(last().await, Some((Migrate, StepState::Started)));
    // Where the next cannot be written it is left out, and what was noted waits on.
    let failing = crate::support::Fault::Fail(viatique_deploy::engine::EngineErrorKind::Other);
    engine.fault_on("write_files", 2, failing);
    journal.write(at(), started(Deploy)).await.unwrap_err();
    assert_eq!(last().await, Some((Migrate, StepState::Started)));
    journal.flush().await.unwrap();
    assert_eq!(last().await, Some((Migrate, StepState::Succeeded)));
    let undo = EntryKind::UndoStarted { step: Deploy };
    journal.write(at(), undo).await.unwrap();
    assert_eq!(last().await, Some((Deploy, StepState::UndoStarted)));
}

/// Its journal, with these entries; the command and the number as the header says.
async fn run(ledger: &Ledger<'_>, header: RunHeader, entries: &[EntryKind]) {
    let mut journal = ledger.begin(header).unwrap();
    for entry in entries {
        let at = "2026-01-01T00:00:00Z".to_owned();
        journal.write(at, entry.clone()).await.unwrap();
    }
}

const SUCCEEDED: EntryKind = EntryKind::Finished {
    outcome: Outcome::Succeeded,
};

async fn unfinished(engine: &FakeEngine) -> Option<String> {
    let memory = ledger::read(engine, "viatique").await.unwrap();
    memory.unfinished.map(|run| run.header.run.0)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_stopped_half_way_counts_until_one_that_changes_what_serves_is_finished() {
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    let numbered = |number: u64, day: u32| RunHeader {
        number,
        ..header(&format!("202601{day:02}T000000Z-000001"))
    };
    // Stopped before it changed anything: nothing is to be finished.
    run(&ledger, numbered(1, 10), &[started(StepId::Build)]).await;
    assert_eq!(unfinished(&engine).await, None);
    let half_way = numbered(2, 11);
    run(&ledger, half_way.clone(), &[started(StepId::Deploy)]).await;
    assert_eq!(unfinished(&engine).await.as_ref(), Some(&half_way.run.0));
    // A backup in between, and one more that stopped early, finish nothing.
    run(
        &ledger,
        numbered(3, 12),
        &[started(StepId::Backup), succeeded(StepId::Backup), SUCCEEDED],
    )
    .await;
    run(&ledger, numbered(4, 13), &[started(StepId::Check)]).await;
    assert_eq!(unfinished(&engine).await.as_ref(), Some(&half_way.run.0));
    // The clock has been set back: the order is that of the lock.
    let last = numbered(5, 1);
    run(
        &ledger,
        last,
        &[started(StepId::Deploy), succeeded(StepId::Deploy), SUCCEEDED],
    )
    .await;
    assert_eq!(unfinished(&engine).await, None);
    assert_eq!(ledger::read(&engine, "viatique").await.unwrap().next_run(), 6);
}

/// Entries that could not be written leave gaps, and a gap is no damage.
#[tokio::test(start_paused = true)]
async fn a_journal_with_gaps_is_read() {
    use StepId::Deploy;
    let all = [
        started(Deploy),
        failed(Deploy),
        EntryKind::UndoStarted { step: Deploy },
        undone(Deploy),
    ];
    for left_out in 0..all.len() {
        let engine = FakeEngine::new();
        let ledger = Ledger::open(&engine, "viatique").await.unwrap();
        let mut journal = ledger.begin(header("20260101T000000Z-000001")).unwrap();
        for (index, entry) in all.iter().enumerate() {
            if index == left_out {
                engine.fault_on(
                    "write_files",
                    index + 1,
                    crate::support::Fault::Fail(viatique_deploy::engine::EngineErrorKind::Other),
                );
            }
            let written = journal
                .write("2026-01-01T00:00:00Z".to_owned(), entry.clone())
                .await;
            assert_eq!(written.is_err(), index == left_out);
        }
        let memory = ledger::read(&engine, "viatique").await.unwrap();
        let unfinished = memory.unfinished.unwrap();
        let expected = if left_out == 3 {
            StepState::UndoStarted
        } else {
            StepState::Undone
        };
        assert_eq!(
            unfinished.last,
            Some((Deploy, expected)),
            "without entry {left_out}"
        );
    }
}

/// The one transition table, every pair of it.
#[test]
fn every_entry_after_every_state() {
    use StepState::{Failed, NotStarted, Started, Succeeded, UndoFailed, UndoStarted, Undone};
    let states = [
        NotStarted,
        Started,
        Succeeded,
        Failed,
        UndoStarted,
        Undone,
        UndoFailed,
    ];
    let step = StepId::Deploy;
    let legal: [(EntryKind, &[StepState], StepState); 6] = [
        (started(step), &[NotStarted], Started),
        (succeeded(step), &[Started], Succeeded),
        (failed(step), &[Started], Failed),
        (
            EntryKind::UndoStarted { step },
            &[Started, Succeeded, Failed],
            UndoStarted,
        ),
        (undone(step), &[UndoStarted], Undone),
        (undo_failed(step), &[UndoStarted], UndoFailed),
    ];
    for (entry, after, leads_to) in legal {
        for state in states {
            let next = state.next(&entry);
            if after.contains(&state) {
                assert_eq!(next, Ok(leads_to), "{entry:?} after {state:?}");
            } else {
                let refusal = next.expect_err("it cannot follow");
                assert_eq!(refusal.state, state);
                assert!(refusal.to_string().contains(&format!("{state:?}")), "{refusal}");
            }
        }
    }
    let finished = EntryKind::Finished {
        outcome: Outcome::Stuck,
    };
    for state in states {
        assert_eq!(state.next(&finished), Ok(state));
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_follow_is_refused_and_not_written() {
    let engine = FakeEngine::new();
    let ledger = Ledger::open(&engine, "viatique").await.unwrap();
    let mut journal = ledger.begin(header("20260101T000000Z-000001")).unwrap();
    let before = engine.peek();
    let error = journal
        .write("2026-01-01T00:00:00Z".to_owned(), succeeded(StepId::Deploy))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "journal: `succeeded` cannot follow `NotStarted`"
    );
    assert_eq!(engine.peek(), before);
}
