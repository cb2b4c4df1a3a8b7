//! What a run tells of itself, whom, and when; that whoever is told has no part in how it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;
use viatique_deploy::app::courier::Courier;
use viatique_deploy::app::deliver::{Answer, Deliver, FileMessage, HttpMessage, MailMessage, Undelivered};
use viatique_deploy::commands::notices;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::notify::What;
use viatique_deploy::pipeline::{Event, Interrupt, Outcome};
use viatique_deploy::secret::Secret;

use super::CANARY;
use crate::support::{Ended, FOREVER, Fault, ImageBehaviour, PASSWORD, Receiver, Say, Stack};

/// With which status a document is answered; never, where `None`.
type Answers = dyn Fn(&Value) -> Option<u16> + Send + Sync;

/// Keeps what it is to carry, in tokio's time, which the tests pause.
struct Carrier {
    carried: Mutex<Vec<Value>>,
    answers: Box<Answers>,
}

impl Carrier {
    /// Answers so; never, where `None`.
    fn answering(answers: impl Fn(&Value) -> Option<u16> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            carried: Mutex::default(),
            answers: Box::new(answers),
        })
    }

    fn well() -> Arc<Self> {
        Self::answering(|_| Some(204))
    }

    fn carried(&self) -> Vec<Value> {
        std::mem::take(&mut self.carried.lock().unwrap())
    }

    /// Of which moment each was.
    fn moments(&self) -> Vec<String> {
        let moments = self
            .carried()
            .into_iter()
            .map(|one| one["moment"].as_str().unwrap().to_owned());
        moments.collect()
    }
}

#[async_trait]
impl Deliver for Carrier {
    async fn request(&self, message: &HttpMessage) -> Result<Answer, Undelivered> {
        let document: Value = serde_json::from_str(&message.body).unwrap();
        self.carried.lock().unwrap().push(document.clone());
        match (self.answers)(&document) {
            Some(status) => Ok(Answer {
                status,
                ..Answer::default()
            }),
            None => std::future::pending().await,
        }
    }

    async fn mail(&self, _: &MailMessage) -> Result<(), Undelivered> {
        unreachable!("no test here sends a letter")
    }

    async fn file(&self, _: &FileMessage) -> Result<(), Undelivered> {
        unreachable!("no test here writes a file")
    }
}

/// The stack of the workflow, with a webhook that is told everything.
fn telling(carrier: &Arc<Carrier>) -> Stack {
    let mut stack = Stack::viatique();
    let notify =
        format!("notify:\n  - name: ops\n    webhook:\n      url: https://hooks.test/{CANARY}\nhealth:");
    stack.edit_deploy_yml("health:", &notify);
    stack.courier = Some(Arc::clone(carrier) as Arc<_>);
    stack
}

#[tokio::test(start_paused = true)]
async fn what_is_secret_in_the_stack_leaves_with_no_notice() {
    let stack = Stack::viatique();
    let mask = notices::mask(&stack.settings("v1").project, [], &BTreeMap::new());
    assert_eq!(
        mask.hide(&format!(
            "cannot log in: postgresql://viatique:{PASSWORD}@db/copies"
        )),
        "cannot log in: postgresql://viatique:[secret]@db/copies"
    );
    let variables = [("STRIPE_API_KEY", "sk-123456"), ("LANGUAGE", "francais")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned())));
    let mask = notices::mask(&stack.settings("v1").project, [], &variables.into());
    assert_eq!(mask.hide("sk-123456 francais"), "[secret] francais");
}

/// What was told of notices: of what, and why not.
fn notified(ended: &Ended) -> Vec<(What, Option<String>)> {
    let told = ended.events.iter().filter_map(|event| {
        let Event::Notified {
            target,
            place,
            what,
            why_not,
            ..
        } = event
        else {
            return None;
        };
        assert_eq!((target.as_str(), place.as_str()), ("ops", "https://hooks.test"));
        Some((*what, why_not.clone()))
    });
    let all = format!("{:?}", ended.events);
    assert!(!all.contains(CANARY), "{all}");
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_tells_that_it_begins_and_how_it_ended() {
    let carrier = Carrier::well();
    let stack = telling(&carrier);
    stack.run("v1").await.succeeded();
    let carried = carrier.carried();
    assert_eq!(carried.len(), 2);
    assert_eq!(carried[0]["moment"], "started");
    assert_eq!(carried[0]["release_before"], Value::Null);
    assert_eq!(carried[1]["moment"], "succeeded");
    let service = "viatique-backend:${RELEASE_TAG}\n    restart: ";
    stack.edit_compose(&format!("{service}unless-stopped"), &format!("{service}always"));
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(notified(&ended), [(What::Started, None), (What::Succeeded, None)]);
    assert!(matches!(ended.events.last(), Some(Event::Finished { .. })));
    let carried = carrier.carried();
    assert_eq!(carried[0]["title"], "viatique: run of v2 has begun");
    let end = &carried[1];
    assert_eq!(
        (
            &end["release"],
            &end["release_before"],
            &end["serves"],
            &end["exit_code"]
        ),
        (&"v2".into(), &"v1".into(), &"v2".into(), &0.into())
    );
    // As a dry run tells it.
    let changes = end["changes"].as_array().unwrap();
    assert!(
        changes
            .iter()
            .any(|line| line.as_str().unwrap().starts_with("Compose: backend: restart")),
        "{changes:?}"
    );
    assert_eq!(end["next"][0], "to take it back: viatique-deploy rollback");
    assert!(end["by"].as_str().unwrap().contains('@'));
}

#[tokio::test(start_paused = true)]
async fn what_was_rolled_back_names_the_service_the_evidence_and_what_to_run() {
    let carrier = Carrier::well();
    let stack = telling(&carrier);
    stack.run("v1").await.succeeded();
    carrier.carried();
    let mut lines: Vec<String> = (0..20).map(|line| format!("line {line}")).collect();
    lines.push("no module named tasks".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    stack.image_is("viatique-worker:v2", ImageBehaviour::exits(1).logging(&lines));
    let ended = stack.run("v2").await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(notified(&ended).last(), Some(&(What::RolledBack, None)));
    let carried = carrier.carried();
    let end = carried.last().unwrap();
    assert_eq!(
        end["title"],
        "viatique: v2 failed at deploy and was rolled back: v1 serves again"
    );
    assert_eq!(
        (&end["step"], &end["service"], &end["exit_code"]),
        (&"deploy".into(), &"celery_worker".into(), &6.into())
    );
    assert!(
        end["error"].as_str().unwrap().contains("deploying celery_worker"),
        "{end}"
    );
    let evidence = end["evidence"].as_array().unwrap();
    assert!(evidence.len() <= 24, "{evidence:?}");
    assert!(
        evidence.iter().any(|line| line == "no module named tasks"),
        "{evidence:?}"
    );
    let next = end["next"].as_array().unwrap();
    assert!(
        next.iter()
            .any(|line| line.as_str().unwrap().contains("viatique-deploy ")),
        "{next:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_a_rollback_and_a_resume_are_told_and_so_is_one_that_was_refused() {
    let carrier = Carrier::well();
    let stack = telling(&carrier);
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    carrier.carried();
    stack.rollback(None).await.unwrap().succeeded();
    assert_eq!(carrier.moments(), ["started", "succeeded"]);
    stack.answer(|command| {
        command
            .orders("migrate")
            .then(|| crate::support::FakeOutput::stdout("no such table").exits(1))
    });
    stack.bring_migration("copies", "0002");
    let ended = stack.run("v3").await;
    ended.ended(Outcome::Failed, ExitCode::Failed);
    let carried = carrier.carried();
    let end = carried.last().unwrap();
    assert_eq!(end["title"], "viatique: run of v3 failed at migrate");
    assert_eq!((&end["moment"], &end["serves"]), (&"failed".into(), &"v1".into()));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_stuck_is_told_to_whoever_minds_a_failure() {
    let carrier = Carrier::well();
    let stack = telling(&carrier);
    stack.edit_deploy_yml("  - name: ops\n", "  - name: ops\n    on: [failure]\n");
    stack.run("v1").await.succeeded();
    assert!(carrier.carried().is_empty(), "nobody has asked for these");
    stack.image_is("viatique-worker:v2", ImageBehaviour::exits(1));
    let beat = stack.engine.peek().container("viatique-celery_beat-1").clone();
    stack.engine.break_start(&beat.id, "no space left on device");
    stack.engine.image_behaves(
        &beat.image,
        ImageBehaviour::cannot_start("no space left on device"),
    );
    let ended = stack.run("v2").await;
    ended.ended(Outcome::Stuck, ExitCode::Stuck);
    let carried = carrier.carried();
    assert_eq!(carried.len(), 1);
    assert_eq!(carried[0]["moment"], "stuck");
    let next = carried[0]["next"].as_array().unwrap();
    assert!(
        next.iter()
            .any(|line| line.as_str().unwrap().contains("viatique-deploy status")),
        "{next:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_good_end_after_which_something_goes_wrong_is_degraded() {
    let carrier = Carrier::well();
    let stack = telling(&carrier);
    stack.run("v1").await.succeeded();
    // The lock is the last thing that is removed.
    let clean = stack.fork();
    let removals = |stack: &Stack| {
        let calls = stack.engine.calls();
        calls
            .iter()
            .filter(|call| call.name == "remove_container")
            .count()
    };
    let before = removals(&clean);
    clean.run("v2").await.succeeded();
    let last = removals(&stack) + removals(&clean) - before;
    carrier.carried();
    let fault = Fault::Fail(EngineErrorKind::Conflict);
    stack.engine.fault_on("remove_container", last, fault);
    let ended = stack.run("v2").await;
    ended.succeeded();
    let carried = carrier.carried();
    let end = carried.last().unwrap();
    assert_eq!(end["moment"], "degraded", "{end}");
    assert_eq!(end["title"], "viatique: v2 serves, but not all is well");
    assert!(
        end["warnings"]
            .to_string()
            .contains("lock could not be given back"),
        "{end}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_or_fails_changes_nothing_of_the_run() {
    let quick = telling(&Carrier::well());
    let began = Instant::now();
    quick.run("v1").await.succeeded();
    let alone = began.elapsed();
    for status in [None, Some(500), Some(404)] {
        let carrier = Carrier::answering(move |_| status);
        let stack = telling(&carrier);
        let began = Instant::now();
        let ended = stack.run("v1").await;
        ended.succeeded();
        let told = notified(&ended);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|(_, why_not)| why_not.is_some()), "{told:?}");
        // At its end by the time-out of ten seconds, and not at all at its beginning.
        let longer = began.elapsed().saturating_sub(alone);
        assert!(longer <= Duration::from_secs(11), "{longer:?} for {status:?}");
        let Some(Event::Finished { duration, .. }) = ended.events.last() else {
            unreachable!()
        };
        assert!(*duration <= alone + Duration::from_secs(1), "{duration:?}");
        let seen = stack.engine.peek();
        assert!(!seen.names().contains("viatique-deploy-lock-viatique"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_free_while_somebody_is_still_told() {
    let carrier = Carrier::answering(|document| (document["moment"] == "started").then_some(200));
    let stack = telling(&carrier);
    let onlooker = stack.engine.onlooker();
    let look = async {
        while !carrier
            .carried
            .lock()
            .unwrap()
            .iter()
            .any(|one| one["moment"] == "succeeded")
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        viatique_deploy::lock::holder(&onlooker, "viatique")
            .await
            .unwrap()
            .is_none()
    };
    let (ended, is_free) = tokio::join!(stack.run("v1"), look);
    ended.succeeded();
    assert!(is_free);
}

#[tokio::test(start_paused = true)]
async fn one_who_is_interrupted_while_telling_waits_no_longer() {
    let carrier = Carrier::answering(|document| (document["moment"] == "started").then_some(200));
    let stack = telling(&carrier);
    stack.edit_deploy_yml("  - name: ops\n", "  - name: ops\n    timeout: 2m\n");
    let (sender, interrupt) = Interrupt::new();
    let stop = async {
        while !carrier
            .carried
            .lock()
            .unwrap()
            .iter()
            .any(|one| one["moment"] == "succeeded")
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let stopped = Instant::now();
        sender.send_modify(|count| *count += 1);
        stopped
    };
    let (ended, stopped) = tokio::join!(stack.run_interruptibly("v1", &interrupt), stop);
    assert!(stopped.elapsed() < Duration::from_secs(1));
    // The run was over.
    ended.succeeded();
    assert_eq!(
        notified(&ended)[1],
        (What::Succeeded, Some("interrupted".to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_is_told_too() {
    let carrier = Carrier::well();
    let stack = telling(&carrier);
    stack.engine.builds_take(FOREVER * 2);
    let (sender, interrupt) = Interrupt::new();
    let mut typing = std::pin::pin!(stack.run_interruptibly("v1", &interrupt));
    assert!(tokio::time::timeout(FOREVER, &mut typing).await.is_err());
    sender.send_modify(|count| *count += 1);
    typing.await.ended(Outcome::Interrupted, ExitCode::Interrupted);
    assert_eq!(carrier.moments(), ["started", "interrupted"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_who_would_be_told_and_single_steps_tell_nobody() {
    let carrier = Carrier::well();
    let stack = telling(&carrier);
    let planned = stack.dry_run(Chosen::run(), "v1").await;
    let would: Vec<&Event> = planned
        .events
        .iter()
        .filter(|event| matches!(event, Event::NoticePlanned { .. }))
        .collect();
    assert_eq!(would.len(), 1);
    let told = format!("{would:?}");
    assert!(
        told.contains("ops") && told.contains("https://hooks.test") && !told.contains(CANARY),
        "{told}"
    );
    for chosen in [
        Chosen::check(),
        Chosen::build(),
        Chosen::migrate(),
        Chosen::collectstatic(),
    ] {
        stack.command(chosen, "v1").await.succeeded();
    }
    assert!(carrier.carried().is_empty());
}

#[tokio::test]
async fn over_a_real_socket_a_deploy_is_told_in_spite_of_a_first_500() {
    let receiver = Receiver::saying(&[Say::Status(500, "")]);
    let compose = "services:\n  web:\n    image: web:${RELEASE_TAG}\n";
    let deploy_yml = format!(
        "project: viatique\ncompose: [docker-compose.yml]\nnotify:\n  - webhook:\n      url: {}/{CANARY}\n",
        receiver.url()
    );
    let mut stack = Stack::of(compose, &deploy_yml);
    let _ = stack
        .engine
        .clone()
        .with_image("web:v1", ImageBehaviour::running());
    stack.courier = Some(Arc::new(Courier::new().unwrap()));
    let ended = stack.command(Chosen::deploy(), "v1").await;
    ended.succeeded();
    let moments: Vec<Value> = receiver
        .heard()
        .iter()
        .map(|one| one.json()["moment"].clone())
        .collect();
    assert_eq!(moments, ["started", "started", "succeeded"]);
    assert!(!format!("{:?}", ended.events).contains(CANARY));
}
