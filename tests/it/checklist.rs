//! The checklist of a release: what a run answers by itself, who is asked the rest and when, what stays of it, and what is
//! read of it on another machine.

use viatique_deploy::commands::checklist::{answered, exit_code, find, refuse_unknown};
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::Engine as _;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::ledger;
use viatique_deploy::pipeline::{Event, Interrupt, Reply};
use viatique_deploy::release::checklist::{Answer, Checklist, LineVerdict};

use crate::support::{ImageBehaviour, PROJECT, Stack};

/// A site that is asked, and what only people know of it.
fn stack() -> Stack {
    let stack = Stack::viatique();
    stack.edit_deploy_yml(
        "health:",
        "checklist: { sheets: the printed sheets look right, metrics: false, smoke: false }\nhealth:",
    );
    stack
}

fn attended(replies: &[Reply]) -> Stack {
    let mut stack = stack();
    stack.person = Some(true);
    stack.replies = replies.to_vec();
    stack
}

/// As another machine finds it.
async fn kept(stack: &Stack) -> Checklist {
    find(&stack.memory().await, None).unwrap()
}

fn verdicts(checklist: &Checklist) -> Vec<(&str, LineVerdict)> {
    let lines = checklist.lines.iter();
    lines.map(|line| (line.id.as_str(), line.verdict())).collect()
}

const OPEN: [(&str, LineVerdict); 5] = [
    ("health", LineVerdict::Ok),
    ("logs", LineVerdict::Ok),
    ("backup", LineVerdict::NotVerified),
    ("notified", LineVerdict::NotVerified),
    ("sheets", LineVerdict::NotVerified),
];

#[tokio::test(start_paused = true)]
async fn without_anybody_what_no_machine_can_tell_stays_open() {
    let stack = stack();
    let ended = stack.run("v1").await;
    ended.succeeded();
    let told = ended.checklist().unwrap();
    assert_eq!(verdicts(&told), OPEN);
    assert!(ended.afterwards.is_empty());
    assert_eq!(kept(&stack).await, told);
    assert_eq!(told.release.as_str(), "v1");
    assert_eq!(told.run, ended.run);
    let health = told.line("health").unwrap();
    assert!(health.seen.contains("services are well"), "{health:?}");
    let backup = told.line("backup").unwrap();
    assert_eq!(backup.answer, Answer::Nobody);
    assert_eq!(exit_code(&told), ExitCode::Gate);
}

#[tokio::test(start_paused = true)]
async fn whoever_sits_there_is_asked_line_by_line() {
    let stack = attended(&[Reply::Yes, Reply::Later, Reply::No]);
    let ended = stack.run("v1").await;
    // The release serves, whatever somebody finds.
    ended.succeeded();
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    let asked: Vec<&str> = ended
        .afterwards
        .iter()
        .map(|question| question.question.as_str())
        .collect();
    assert_eq!(
        asked,
        [
            "v1, which serves: backups are made by themselves?",
            "v1, which serves: the team knows that the release serves?",
            "v1, which serves: the printed sheets look right?",
        ]
    );
    let told = ended.checklist().unwrap();
    assert_eq!(told.line("backup").unwrap().verdict(), LineVerdict::Ok);
    assert_eq!(told.line("notified").unwrap().answer, Answer::Nobody);
    let sheets = &told.line("sheets").unwrap().answer;
    let Answer::Person { ok: false, who, .. } = sheets else {
        panic!("{sheets:?}")
    };
    assert!(who.contains('@'), "{who}");
    // What was seen before somebody answered stands beside the answer.
    assert!(
        told.line("backup").unwrap().seen.contains("there is no backup"),
        "{told:?}"
    );
    assert_eq!(kept(&stack).await, told);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_under_the_lock_or_before_the_notices() {
    let stack = attended(&[Reply::Yes]);
    let ended = stack.run("v1").await;
    let last = ended.events.len();
    let checklist = ended
        .events
        .iter()
        .position(|event| matches!(event, Event::Checklist { .. }));
    assert_eq!(checklist, Some(last - 2), "{:#?}", ended.events);
    let account = &stack.memory().await.accounts[&ended.run];
    assert!(account.read(&ended.run).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_is_closed_keeps_what_was_said_and_leaves_the_rest_open() {
    let stack = attended(&[Reply::Yes, Reply::Gone]);
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(ended.afterwards.len(), 2);
    let kept = kept(&stack).await;
    assert_eq!(kept.line("backup").unwrap().verdict(), LineVerdict::Ok);
    assert_eq!(kept.line("notified").unwrap().answer, Answer::Nobody);
    assert_eq!(kept.line("sheets").unwrap().answer, Answer::Nobody);
}

#[tokio::test(start_paused = true)]
async fn with_assume_manual_nobody_is_asked_and_nothing_is_verified_by_it() {
    let stack = attended(&[Reply::Yes, Reply::Yes, Reply::Yes]);
    let mut settings = stack.settings("v1");
    settings.assume_manual = true;
    let ended = stack.command_with(Chosen::run(), settings).await;
    ended.succeeded();
    assert!(ended.afterwards.is_empty());
    let told = ended.checklist().unwrap();
    assert_eq!(verdicts(&told), OPEN);
    let sheets = &told.line("sheets").unwrap().answer;
    assert!(matches!(sheets, Answer::Assumed { .. }), "{sheets:?}");
    assert_eq!(exit_code(&told), ExitCode::Gate);
    assert_eq!(kept(&stack).await, told);
}

#[tokio::test(start_paused = true)]
async fn an_open_line_is_answered_later_from_another_machine() {
    let stack = stack();
    stack.run("v1").await.succeeded();
    let found = kept(&stack).await;
    let answer = |id: &str, ok| (id.to_owned(), ok);
    let refused = refuse_unknown(&found, &[answer("sheet", true)]).unwrap_err();
    let said = "--answer: the checklist of v1 has no line `sheet`; did you mean `sheets`?";
    assert_eq!(refused.error.to_string(), said);
    let both = [answer("sheets", true), answer("sheets", false)];
    assert!(refuse_unknown(&found, &both).is_err());
    let other = stack.engine.onlooker();
    let at = "2026-03-01T00:00:00Z";
    let all = ["backup", "notified", "sheets"].map(|id| answer(id, true));
    assert!(refuse_unknown(&found, &all).is_ok());
    // Two people at once: each has read the list before the other has written it.
    answered(&other, &found, &all[..1], "lea@one", at).await.unwrap();
    let both = answered(&other, &found, &all[1..], "tom@two", at).await.unwrap();
    assert_eq!(exit_code(&both), ExitCode::Done);
    assert_eq!(kept(&stack).await, both);
    let who = |id: &str| both.line(id).unwrap().answer.in_words();
    assert_eq!(who("backup"), "lea@one, 2026-03-01T00:00:00Z");
    assert_eq!(who("sheets"), "tom@two, 2026-03-01T00:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn the_same_deployed_again_keeps_what_was_said() {
    let mut stack = attended(&[Reply::Yes, Reply::No]);
    stack.run("v1").await.succeeded();
    stack.replies = vec![Reply::Later];
    let again = stack.run("v1").await;
    again.succeeded();
    assert_eq!(again.afterwards.len(), 1, "{:?}", again.afterwards);
    assert_eq!(stack.releases().await.all().len(), 1);
    let kept = kept(&stack).await;
    assert_eq!(kept.line("notified").unwrap().verdict(), LineVerdict::NotOk);
    assert_eq!(kept.run, again.run);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_makes_none_and_leaves_that_of_what_serves() {
    let stack = stack();
    stack.run("v1").await.succeeded();
    let before = kept(&stack).await;
    stack.image_is("viatique-backend:v2", ImageBehaviour::exits(1));
    let ended = stack.run("v2").await;
    assert_ne!(ended.code, ExitCode::Done);
    assert_eq!(ended.checklist(), None);
    assert_eq!(kept(&stack).await, before);
    assert_eq!(stack.memory().await.checklists.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_has_its_own_and_what_only_looks_or_prepares_none() {
    let stack = stack();
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    let ended = stack.rollback(None).await.unwrap();
    ended.succeeded();
    let told = ended.checklist().unwrap();
    assert_eq!((told.release.as_str(), told.sequence.0), ("v1", 3));
    assert_eq!(stack.memory().await.checklists.len(), 3);
    for chosen in [Chosen::health(), Chosen::backup(), Chosen::deploy()] {
        let ended = stack.command(chosen, "v1").await;
        assert_eq!(ended.checklist(), None);
    }
    assert_eq!(stack.dry_run(Chosen::run(), "v3").await.checklist(), None);
    assert_eq!(stack.memory().await.checklists.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn backups_that_come_by_themselves_are_seen() {
    let stack = stack();
    stack.run("v1").await.succeeded();
    let backup = || stack.command(Chosen::backup(), "v1");
    for hours in [7, 3] {
        backup().await.succeeded();
        // As if it had been made so long before the next run.
        crate::check_backups::edit_newest(&stack, |manifest| {
            let at = time::OffsetDateTime::parse(
                manifest["completed_at"].as_str().unwrap(),
                &time::format_description::well_known::Rfc3339,
            );
            let at = at.unwrap() - time::Duration::hours(hours);
            let at = at.format(&time::format_description::well_known::Rfc3339);
            manifest["completed_at"] = at.unwrap().into();
        });
    }
    let ended = stack.run("v2").await;
    ended.succeeded();
    let told = ended.checklist().unwrap();
    let line = told.line("backup").unwrap();
    assert_eq!(line.answer, Answer::Evidence { ok: true }, "{line:?}");
    assert!(line.seen.contains("made with nobody at a terminal"), "{line:?}");
}

async fn put(stack: &Stack, text: &str) {
    let engine = stack.engine.onlooker();
    let opener = stack
        .engine
        .peek()
        .container(&ledger::object_name(PROJECT))
        .id
        .clone();
    let file = ("checklists/000001.json".to_owned(), text.as_bytes().to_vec());
    engine.write_files(&opener, ledger::DATA, &[file]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_is_named_and_keeps_nobody_from_going_back() {
    let stack = stack();
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    put(&stack, r#"{"format":9,"written_by":"3.2.1","lines":7}"#).await;
    let newer = find(&stack.memory().await, Some("v1")).unwrap_err();
    assert!(
        format!("{:#}", newer.error)
            .contains("the ledger's checklists/000001.json has format 9, written by viatique-deploy 3.2.1"),
        "{:#}",
        newer.error
    );
    put(&stack, "{").await;
    let damaged = find(&stack.memory().await, Some("v1")).unwrap_err();
    let said = format!("{:#}", damaged.error);
    assert!(said.contains("checklists/000001.json is damaged"), "{said}");
    stack.rollback(None).await.unwrap().succeeded();
}

#[tokio::test(start_paused = true)]
async fn one_that_was_never_made_or_was_lost_is_not_verified() {
    let stack = stack();
    stack.command(Chosen::build(), "v1").await.succeeded();
    stack.command(Chosen::deploy(), "v1").await.succeeded();
    let none = find(&stack.memory().await, None).unwrap_err();
    let said = none.error.to_string();
    assert!(
        said.starts_with("no checklist of release v1 is kept: only a deploy"),
        "{said}"
    );
    stack.run("v2").await.succeeded();
    let engine = stack.engine.onlooker();
    let name = ledger::object_name(PROJECT);
    let opener = stack.engine.peek().container(&name).id.clone();
    engine.remove_container(&opener).await.unwrap();
    engine.remove_volume(&name).await.unwrap();
    let lost = find(&stack.memory().await, None).unwrap_err();
    assert!(
        lost.error.to_string().contains("the ledger was lost"),
        "{:#}",
        lost.error
    );
}

/// Whoever interrupts instead of answering wants their terminal back: what was said is kept.
#[tokio::test(start_paused = true)]
async fn an_interruption_while_it_asks_leaves_the_rest_open() {
    let mut stack = attended(&[Reply::Yes]);
    let (interrupter, interrupt) = Interrupt::new();
    stack.interrupter = Some(interrupter);
    let ended = stack.run_interruptibly("v1", &interrupt).await;
    ended.succeeded();
    assert_eq!(ended.afterwards.len(), 2);
    let told = ended.checklist().unwrap();
    assert_eq!(told.line("backup").unwrap().verdict(), LineVerdict::Ok);
    assert_eq!(told.line("notified").unwrap().answer, Answer::Nobody);
    assert_eq!(kept(&stack).await, told);
}
