//! `smoke.before_switch`: a new container is tried while nobody is led to it, and what fails there was met by nobody.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Interrupt, Outcome, StepId, StepResult};

use super::{answer, serving};
use crate::support::{CommandKind, FOREVER, FakeCommand, FakeOutput, Fault, Seen, Stack};

/// What is played, and what it leaves to be removed.
const SECTION: &str = "  headers: { X-Forwarded-Proto: https }
  before_switch: [two]
  variables: { password: { random: 24 } }
  before:
    - { run: [make, data], capture: { exam: exam.id } }
  after:
    - { run: [remove, data] }
  scenarios:
    - name: one
      steps:
        - { post: /one/, form: { password: \"${password}\", exam: \"${exam}\" }, capture: { copy: { json: id } } }
      cleanup:
        - { delete: \"/copies/${copy}/\" }
    - name: two
      needs: [one]
      steps: [{ get: \"/two/${copy}/\" }]
    - name: three
      steps: [{ get: /three/ }]";

/// What was asked of a container alone, and what stood at that moment.
#[derive(Clone)]
struct Asked {
    container: String,
    question: Value,
    body: String,
    seen: Seen,
    /// Where calls of the backend were led, as last told to the proxy's sidecar: from, to.
    led: Vec<(String, String)>,
}

impl Asked {
    fn line(&self) -> String {
        let word = |key: &str| self.question[key].as_str().unwrap().to_owned();
        format!("{} {}", word("method"), word("target"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.question["headers"].as_array().unwrap();
        let found = headers.iter().find(|header| header[0] == name)?;
        found[1].as_str()
    }
}

/// What the application answers when it is asked from inside of its container, and what it was asked.
#[derive(Clone, Default)]
struct Inside(Arc<Mutex<Vec<Asked>>>);

impl Inside {
    fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    /// Answers by the closure, of the line that was asked and how many came before it: a status, and how long it takes.
    fn of(stack: &Stack, answers: impl Fn(&str, usize) -> (u16, Duration) + Send + Sync + 'static) -> Self {
        let inside = Self::default();
        let (kept, engine) = (inside.clone(), stack.engine.clone());
        let led = Mutex::new(Vec::new());
        stack.answer(move |command| {
            if let Some(pairs) = diverted(command) {
                *led.lock().unwrap() = pairs;
                return None;
            }
            if command.kind == CommandKind::Exec && command.line().ends_with(" data") {
                return Some(FakeOutput::stdout("{\"exam\": {\"id\": 3}}\n"));
            }
            if !command.line().contains("skip_host") {
                return None;
            }
            let end = command.input.iter().position(|byte| *byte == b'\n').unwrap();
            let (head, body) = command.input.split_at(end);
            let asked = Asked {
                container: command.container.clone(),
                question: serde_json::from_slice(head).unwrap(),
                body: String::from_utf8_lossy(&body[1..]).into_owned(),
                seen: engine.peek(),
                led: led.lock().unwrap().clone(),
            };
            let (line, before) = (asked.line(), kept.asked().len());
            kept.0.lock().unwrap().push(asked);
            let (status, takes) = answers(&line, before);
            let body = "{\"id\": 9}";
            let head = serde_json::json!({
                "status": status, "headers": [["Content-Type", "application/json"]], "length": body.len(),
                "cut": false, "elapsed": 0.005,
            });
            Some(FakeOutput::stdout(format!("viatique-deploy:{head}\n{body}")).taking(takes))
        });
        inside
    }

    fn well(stack: &Stack) -> Self {
        Self::of(stack, |_, _| (200, Duration::ZERO))
    }
}

/// What a sidecar is told of calls of the backend.
fn diverted(command: &FakeCommand) -> Option<Vec<(String, String)>> {
    let [.., verb, arguments] = command.words.as_slice() else {
        return None;
    };
    let arguments: Value = serde_json::from_str(arguments).ok()?;
    (verb == "divert" && arguments["key"] == "backend").then(|| {
        let pairs = arguments["pairs"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        pairs
            .iter()
            .map(|pair| (text(&pair[0]), text(&pair[1])))
            .collect()
    })
}

fn addresses(seen: &Seen, name: &str) -> Vec<String> {
    let networks = seen.container(name).networks.iter();
    networks
        .filter_map(|network| network.ip_address.clone())
        .collect()
}

async fn stack() -> Stack {
    serving(SECTION, |_, _| Ok(answer(200, "{\"id\": 9}"))).await
}

const PLAYED: [&str; 3] = ["POST /one/", "DELETE /copies/9/", "GET /two/9/"];

/// Whoever asks for the backend by name may find the new container, and is led to the old one.
#[track_caller]
fn reached_by_nobody(asked: &Asked) {
    assert!(
        asked.container.starts_with("viatique-backend-1-new-"),
        "{}",
        asked.container
    );
    let (new, old) = (
        addresses(&asked.seen, &asked.container),
        addresses(&asked.seen, "viatique-backend-1"),
    );
    assert!(!asked.led.is_empty(), "nobody is led anywhere");
    for (from, to) in &asked.led {
        assert!(new.contains(from), "{from} is not of {new:?}");
        assert!(old.contains(to), "{to} is not of {old:?}");
    }
    // What else is of the new release has replaced nothing, and does nothing unasked.
    for service in ["celery_worker", "celery_beat"] {
        assert_eq!(asked.seen.releases(service), ["v1"], "{service}");
    }
    for service in ["frontend", "nginx"] {
        asked.seen.container(&format!("viatique-{service}-1"));
        assert!(asked.seen.releases(service).contains(&"v1"), "{service}");
    }
    assert!(asked.seen.names().iter().all(|name| !name.contains("-old-")));
}

#[tokio::test(start_paused = true)]
async fn the_new_container_is_tried_while_nobody_reaches_it() {
    let stack = stack().await;
    let inside = Inside::well(&stack);
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(inside.lines(), PLAYED);
    for asked in inside.asked() {
        reached_by_nobody(&asked);
        assert_eq!(asked.question["port"], 8000, "where nginx sends requests");
        assert_eq!(asked.header("Host"), Some("127.0.0.1:8080"));
        assert_eq!(asked.header("X-Forwarded-Proto"), Some("https"));
        assert_eq!(asked.header("X-Forwarded-For"), Some("127.0.0.1"));
    }
    let login = &inside.asked()[0];
    assert!(login.body.starts_with("exam=3&password="), "{}", login.body);
    assert_eq!(login.question["length"], login.body.len());
    assert_eq!(
        ended.task_result(StepId::Deploy, "trial: two"),
        Some(StepResult::Succeeded)
    );
    // And all of them through the site, as ever.
    let asked: Vec<String> = stack.app.calls().iter().map(super::line).collect();
    assert_eq!(asked, [&PLAYED[..], &["GET /three/"]].concat());
    let made = stack.engine.commands();
    let data: Vec<(String, &str)> = made
        .iter()
        .filter(|command| command.line().ends_with(" data"))
        .map(|command| {
            (
                command.line(),
                command.environment["VIATIQUE_DEPLOY_STEP"].as_str(),
            )
        })
        .collect();
    let line = |text: &str, step: &'static str| (text.to_owned(), step);
    assert_eq!(
        data,
        [
            line("make data", "deploy"),
            line("remove data", "deploy"),
            line("make data", "smoke"),
            line("remove data", "smoke"),
        ]
    );
    for service in ["backend", "frontend", "celery_worker", "celery_beat"] {
        assert_eq!(stack.engine.peek().releases(service), ["v2"], "{service}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_was_met_by_nobody() {
    let stack = stack().await;
    let before = stack.engine.peek();
    let inside = Inside::of(&stack, |line, _| {
        let status = if line.contains("/two/") { 500 } else { 200 };
        (status, Duration::ZERO)
    });
    let telling = crate::support::ImageBehaviour::running().logging(&["no such filter"]);
    stack.image_is("viatique-backend:v2", telling);
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("deploying backend: trying viatique-backend-1-new-")
        .says("before visitors are led to it: two: step 1, GET /two/9/ (of the new container alone): expected status 2xx, came 500")
        .shows("{\"id\": 9}")
        .shows("last log lines of viatique-backend-1-new-")
        .shows("no such filter")
        .hints_at("smoke.before_switch");
    assert!(!ended.evidence().contains("last log lines of viatique-backend-1:"));
    assert_eq!(
        ended.undo(StepId::Deploy).unwrap().1,
        "removed what the deploy had made; nothing that serves was touched"
    );
    assert_eq!(inside.lines(), PLAYED, "and what it had made is removed");
    let removed = stack.engine.commands();
    assert!(removed.iter().any(|command| command.line() == "remove data"));
    let seen = stack.engine.peek();
    assert_eq!(seen.containers, before.containers, "the very same ones");
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    assert!(stack.app.calls().is_empty());
    // Mended, it goes through.
    Inside::well(&stack);
    stack.run("v2").await.succeeded();
}

/// At every request: what was made is removed by asking the container, which is still there.
#[tokio::test(start_paused = true)]
async fn an_interruption_cleans_up_before_the_container_goes() {
    for at in 0..PLAYED.len() {
        let stack = stack().await;
        let before = stack.engine.peek();
        let (asker, interrupt) = Interrupt::new();
        let inside = Inside::of(&stack, move |_, before| {
            if before == at {
                asker.send_modify(|asked| *asked += 1);
                return (200, Duration::from_secs(1));
            }
            (200, Duration::ZERO)
        });
        let ended = stack.run_interruptibly("v2", &interrupt).await;
        ended.ended(Outcome::Interrupted, ExitCode::Interrupted);
        let removed = inside
            .lines()
            .iter()
            .filter(|line| line.starts_with("DELETE"))
            .count();
        // Before the first answer there is nothing to remove; one that was cut off is asked again.
        assert_eq!(removed, [0, 2, 1][at], "{at}: {:?}", inside.lines());
        let data = stack.engine.commands();
        assert_eq!(
            data.iter()
                .filter(|command| command.line() == "remove data")
                .count(),
            1
        );
        assert_eq!(stack.engine.peek().containers, before.containers, "{at}");
        assert!(
            !ended.warnings().contains("left something behind"),
            "{at}: {}",
            ended.warnings()
        );
    }
}

/// What a killed run had made and led nobody to is tried by the run that finishes it.
#[tokio::test(start_paused = true)]
async fn a_run_that_was_killed_meanwhile_is_finished_with_a_trial() {
    let stack = stack().await;
    let hangs = Arc::new(AtomicBool::new(true));
    let reached = Arc::new(Notify::new());
    let (hang, reach) = (Arc::clone(&hangs), Arc::clone(&reached));
    let inside = Inside::of(&stack, move |line, _| {
        if line.contains("/two/") && hang.load(Ordering::Relaxed) {
            reach.notify_one();
            return (200, Duration::from_secs(5));
        }
        (200, Duration::ZERO)
    });
    tokio::select! {
        ended = stack.run("v2") => panic!("it came to its end: {ended:?}"),
        () = reached.notified() => {}
    }
    stack.process_is_gone();
    hangs.store(false, Ordering::Relaxed);
    let arrived = inside.asked().last().unwrap().container.clone();
    let resumed = stack.resume().await.unwrap().unwrap();
    resumed.succeeded();
    let again = inside.asked().split_off(PLAYED.len());
    assert_eq!(again.iter().map(Asked::line).collect::<Vec<_>>(), PLAYED);
    for asked in &again {
        assert_eq!(asked.container, arrived);
        reached_by_nobody(asked);
    }
    assert_eq!(stack.engine.peek().releases("backend"), ["v2"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_where_no_other_release_serves_or_nobody_wants_it() {
    let stack = Stack::viatique();
    stack.edit_deploy_yml("health:", &format!("smoke:\n{SECTION}\nhealth:"));
    let inside = Inside::well(&stack);
    stack.command(Chosen::build(), "v1").await.succeeded();
    stack.command(Chosen::deploy(), "v1").await.succeeded();
    assert_eq!(inside.lines(), Vec::<String>::new(), "on a first deploy");
    let mut settings = stack.settings("v2");
    settings.skip_smoke = true;
    stack.command_with(Chosen::run(), settings).await.succeeded();
    assert_eq!(inside.lines(), Vec::<String>::new(), "with --skip-smoke");
    stack.command(Chosen::deploy(), "v2").await.succeeded();
    assert_eq!(inside.lines(), Vec::<String>::new(), "nothing has changed");
    stack.image_is("viatique-backend:v3", crate::support::ImageBehaviour::running());
    stack.command(Chosen::build(), "v3").await.succeeded();
    stack.command(Chosen::deploy(), "v3").await.succeeded();
    assert_eq!(inside.lines(), PLAYED);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_left_the_scenarios_out_is_resumed_without_them() {
    let stack = stack().await;
    let inside = Inside::well(&stack);
    let calls = stack.engine.calls();
    let starts = calls.iter().filter(|call| call.name == "start").count();
    stack.engine.fault_on("start", starts + 4, Fault::HangAfter);
    let mut settings = stack.settings("v2");
    settings.skip_smoke = true;
    let killed = tokio::time::timeout(FOREVER, stack.command_with(Chosen::run(), settings)).await;
    assert!(killed.is_err(), "it came to its end");
    stack.engine.heal();
    stack.process_is_gone();
    let resumed = stack.resume().await.unwrap().unwrap();
    resumed.succeeded();
    assert!(resumed.steps.iter().all(|(step, _)| *step != StepId::Smoke));
    assert!(inside.lines().is_empty() && stack.app.calls().is_empty());
}

/// What cannot be kept from visitors is not tried, and that is no success.
#[tokio::test(start_paused = true)]
async fn where_callers_cannot_be_steered_the_deploy_fails() {
    let stack = stack().await;
    let before = stack.engine.peek();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    stack.answer(move |command| {
        if command.line().contains("skip_host") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let adopts = command.words.iter().any(|word| word == "adopt");
        adopts.then(|| FakeOutput::stdout("viatique-deploy:{\"refused\": \"no such feature\"}\n"))
    });
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("a new container of backend cannot be kept from visitors while it is tried")
        .hints_at("smoke.before_switch: false");
    assert!(
        ended.warnings().contains("no such feature"),
        "{}",
        ended.warnings()
    );
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_replaced_with_a_gap_is_refused_at_once() {
    let stack = stack().await;
    let before = stack.engine.peek();
    stack.edit_deploy_yml(
        "django:",
        "services: { backend: { strategy: recreate } }\ndjango:",
    );
    stack
        .run("v2")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("`smoke.before_switch`: no new container of backend runs before visitors reach it")
        .says("deploy.yml asks for it");
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_what_would_be_asked_of_whom() {
    let stack = stack().await;
    let inside = Inside::well(&stack);
    let planned = stack.dry_run(Chosen::run(), "v2").await;
    let changes = planned.planned(StepId::Deploy);
    let told: Vec<String> = changes
        .iter()
        .filter(|change| change.detail.contains("before the switch"))
        .map(|change| format!("{}: {}", change.target, change.detail))
        .collect();
    assert_eq!(
        told,
        [
            "one: before the switch, of the new container of backend alone: POST /one/, DELETE /copies/${copy}/",
            "two: before the switch, of the new container of backend alone: GET /two/${copy}/",
        ]
    );
    assert!(inside.lines().is_empty());
}

/// Also where its Python cannot be run: not tried is not passed.
#[tokio::test(start_paused = true)]
async fn a_container_that_cannot_be_asked_has_not_passed() {
    let stack = stack().await;
    stack.answer(|command| {
        if command.line().ends_with(" data") {
            return Some(FakeOutput::stdout("{\"exam\": {\"id\": 3}}\n"));
        }
        command.line().contains("skip_host").then(FakeOutput::missing)
    });
    stack
        .run("v2")
        .await
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("python in the container could not ask (exit code 127)");
}
