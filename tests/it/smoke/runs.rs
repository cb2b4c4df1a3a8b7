//! In the course of runs: what is cleaned up, what is taken back, what nobody may see.

use std::sync::Arc;
use std::time::Duration;

use viatique_deploy::commands::rollback;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Interrupt, Outcome, StepId, StepResult, UnwindResult};

use super::{answer, asked, scenario, serving, smoke};
use crate::support::{CommandKind, FakeOutput, ImageBehaviour, PASSWORD, Stack};

/// Two chains of scenarios.
const WITH_COMMANDS: &str = "  variables: { password: { random: 24 } }
  before:
    - { run: [make, data], environment: { TEST_PASSWORD: \"${password}\" }, capture: { exam: exam.id } }
  after:
    - { run: [remove, data], in: celery_worker }
  scenarios:
    - name: one
      steps:
        - { post: /one/, form: { password: \"${password}\", exam: \"${exam}\" }, capture: { copy: { json: id } } }
      cleanup:
        - { delete: \"/copies/${copy}/\" }
        - { get: /end/, capture: { later: { json: id } } }
    - name: two
      needs: [one]
      steps: [{ get: \"/two/${copy}/\" }]
    - name: three
      steps: [{ get: /three/ }]
    - name: four
      needs: [two]
      steps: [{ get: \"/four/${copy}/\" }]";

fn commands(stack: &Stack) {
    stack.answer(|command| {
        (command.kind == CommandKind::Exec && command.line().ends_with(" data"))
            .then(|| FakeOutput::stdout("making\n{\"exam\": {\"id\": 3}}\n"))
    });
}

fn ran(stack: &Stack) -> Vec<String> {
    let lines = stack.engine.commands();
    let lines = lines.iter().map(|command| command.line());
    lines.filter(|line| line.ends_with(" data")).collect()
}

#[tokio::test(start_paused = true)]
async fn scenarios_are_played_in_order_between_the_commands() {
    let stack = serving(WITH_COMMANDS, |_, _| Ok(answer(200, "{\"id\": 9}"))).await;
    commands(&stack);
    let ended = smoke(&stack).await;
    ended.succeeded();
    assert_eq!(ended.step_message(StepId::Smoke), "4 scenarios passed");
    assert_eq!(
        asked(&stack),
        [
            "POST /one/",
            "DELETE /copies/9/",
            "GET /end/",
            "GET /two/9/",
            "GET /three/",
            "GET /four/9/"
        ]
    );
    assert_eq!(ran(&stack), ["make data", "remove data"]);
    let made = stack.engine.commands();
    let made = made.iter().find(|command| command.line() == "make data").unwrap();
    assert_eq!(made.environment["TEST_PASSWORD"].len(), 24);
    assert_eq!(made.environment["VIATIQUE_DEPLOY_STEP"], "smoke");
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_stops_only_those_that_need_it() {
    let stack = serving(WITH_COMMANDS, |call, _| {
        let status = if call.url.contains("/one/") || call.url.contains("/three/") {
            500
        } else {
            200
        };
        Ok(answer(status, "{\"id\": 9}"))
    })
    .await;
    commands(&stack);
    let ended = smoke(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("4 things went wrong: one: step 1, POST /one/: expected status 2xx, came 500")
        .says("two: not played, because `one` did not pass")
        .says("three: step 1, GET /three/: expected status 2xx, came 500")
        .says("four: not played, because `two` did not pass");
    assert_eq!(ended.task_result(StepId::Smoke, "two"), Some(StepResult::NotRun));
    // Nothing was made that would have to go; what can be asked is asked.
    assert_eq!(asked(&stack), ["POST /one/", "GET /end/", "GET /three/"]);
    assert_eq!(ran(&stack), ["make data", "remove data"]);
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_fails_fails_the_scenario() {
    let stack = serving(WITH_COMMANDS, |call, _| {
        let status = if call.url.contains("/copies/") { 403 } else { 200 };
        Ok(answer(status, "{\"id\": 9}"))
    })
    .await;
    commands(&stack);
    let ended = smoke(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("one: clean-up 1, DELETE /copies/9/: expected status 2xx, came 403");
    assert!(
        asked(&stack).contains(&"GET /end/".to_owned()),
        "and the next one is asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_fails_is_told_and_the_last_ones_are_run_anyway() {
    for (fails, told, played) in [
        (
            "make data",
            "the command `make data` before the scenarios: it failed (exit code 3)",
            0,
        ),
        (
            "remove data",
            "the command `remove data` after the scenarios: it failed (exit code 3)",
            6,
        ),
    ] {
        let stack = serving(WITH_COMMANDS, |_, _| Ok(answer(200, "{\"id\": 9}"))).await;
        stack.answer(move |command| {
            let line = command.line();
            let output = FakeOutput::stdout("{\"exam\": {\"id\": 3}}\n");
            line.ends_with(" data")
                .then(|| if line == fails { output.exits(3) } else { output })
        });
        smoke(&stack)
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(told)
            .shows("what it wrote");
        assert_eq!(asked(&stack).len(), played);
        assert_eq!(ran(&stack), ["make data", "remove data"]);
    }
    let stack = serving(WITH_COMMANDS, |_, _| Ok(answer(200, "{}"))).await;
    stack.answer(|command| {
        command
            .line()
            .ends_with(" data")
            .then(|| FakeOutput::stdout("made\n"))
    });
    smoke(&stack)
        .await
        .says("the last line of its output is not JSON, from which it captures");
}

#[tokio::test(start_paused = true)]
async fn only_those_that_are_asked_for_are_played_and_what_they_need() {
    let stack = serving(WITH_COMMANDS, |_, _| Ok(answer(200, "{\"id\": 9}"))).await;
    commands(&stack);
    let typed = |name: &str| Chosen::smoke(vec![name.to_owned()]);
    stack.command(typed("two"), "v1").await.succeeded();
    assert_eq!(
        asked(&stack),
        ["POST /one/", "DELETE /copies/9/", "GET /end/", "GET /two/9/"]
    );
    stack
        .command(typed("thre"), "v1")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("--only: deploy.yml has no scenario `thre`; did you mean `three`?")
        .hints_at("scenarios there: `one`, `two`, `three`, `four`");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_what_would_be_asked_and_sends_nothing() {
    let stack = serving(WITH_COMMANDS, |_, _| Ok(answer(200, ""))).await;
    let planned = stack.dry_run(Chosen::run(), "v2").await;
    let changes = planned.planned(StepId::Smoke);
    let changes: Vec<String> = changes
        .iter()
        .map(|change| format!("{}: {}", change.target, change.detail))
        .collect();
    assert_eq!(
        changes,
        [
            "command make data: before the scenarios, in the running container of backend",
            "one: POST /one/, DELETE /copies/${copy}/, GET /end/",
            "two: GET /two/${copy}/",
            "three: GET /three/",
            "four: GET /four/${copy}/",
            "command remove data: after the scenarios, in the running container of celery_worker",
        ]
    );
    assert!(asked(&stack).is_empty());
    assert!(ran(&stack).is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_the_section_there_is_no_such_step() {
    let stack = Stack::viatique();
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert!(ended.steps.iter().all(|(step, _)| *step != StepId::Smoke));
    smoke(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("has no section `smoke`")
        .hints_at("deploy.example.yml");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_it_is_taken_back() {
    let stack = serving(&scenario(&["{ get: /page/ }"]), |_, before| {
        let status = if before == 0 { 200 } else { 500 };
        Ok(answer(status, "Traceback: broken on purpose"))
    })
    .await;
    let good = stack.run("v2").await;
    good.succeeded();
    assert_eq!(good.steps.last(), Some(&(StepId::Smoke, StepResult::Unchanged)));
    let before = stack.engine.peek();
    let telling = ImageBehaviour::running().logging(&["no such filter"]);
    stack.image_is("viatique-backend:v3", telling);
    let ended = stack.run("v3").await;
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("one: step 1, GET /page/: expected status 2xx, came 500")
        .shows("broken on purpose")
        // What the application wrote says why.
        .shows("no such filter");
    assert!(
        !ended.evidence().contains("-old-"),
        "the old one was not asked: {}",
        ended.evidence()
    );
    assert_eq!(ended.serves.as_deref(), Some("v2"));
    let seen = stack.engine.peek();
    assert_eq!(seen.releases("backend"), ["v2"]);
    assert_eq!(seen.names(), before.names());
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_played_too_unless_somebody_says_otherwise() {
    let stack = serving(&scenario(&["{ get: /page/ }"]), |_, before| {
        Ok(answer(if before == 0 { 200 } else { 404 }, ""))
    })
    .await;
    stack.run("v2").await.succeeded();
    let ended = stack.rollback(None).await.unwrap();
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(ended.serves.as_deref(), Some("v2"));
    let memory = stack.memory().await;
    let target = rollback::target(&memory, None).unwrap();
    let mut settings = stack.recorded_settings(target);
    settings.skip_smoke = true;
    let ended = stack.command_with(Chosen::rollback(target), settings).await;
    ended.succeeded();
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    assert_eq!(asked(&stack).len(), 2);
}

/// At every moment at which an operator may interrupt: what was made is removed, once.
#[tokio::test(start_paused = true)]
async fn an_interruption_cleans_up() {
    for after in [0, 1, 2, 3] {
        let (asker, interrupt) = Interrupt::new();
        let asker = Arc::new(std::sync::Mutex::new(Some(asker)));
        let stack = serving(WITH_COMMANDS, move |_, before| {
            if before == after
                && let Some(asker) = asker.lock().unwrap().as_ref()
            {
                asker.send_modify(|asked| *asked += 1);
            }
            let mut answer = answer(200, "{\"id\": 9}");
            answer.elapsed = Duration::from_secs(1);
            Ok(answer)
        })
        .await;
        commands(&stack);
        let ended = stack.run_interruptibly("v2", &interrupt).await;
        ended.ended(Outcome::Interrupted, ExitCode::Interrupted);
        assert_eq!(ended.undo(StepId::Smoke).unwrap().0, UnwindResult::Reverted);
        assert_eq!(ran(&stack), ["make data", "remove data"], "{after}");
        let asked = asked(&stack);
        // Until the first answer there is no copy to remove.
        let removed = asked.iter().filter(|line| *line == "DELETE /copies/9/").count();
        let expected = match after {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        assert_eq!(removed, expected, "{after}: {asked:?}");
        assert!(asked.contains(&"GET /end/".to_owned()), "{after}: {asked:?}");
        assert_eq!(stack.engine.peek().releases("backend"), ["v1"]);
    }
}

/// What cannot be removed is told, and does not keep the release from being taken back.
#[tokio::test(start_paused = true)]
async fn an_interruption_whose_clean_up_fails_goes_on_going_back() {
    let (asker, interrupt) = Interrupt::new();
    let stack = serving(WITH_COMMANDS, move |_, before| {
        if before == 0 {
            asker.send_modify(|asked| *asked += 1);
        }
        let mut answer = answer(200, "{\"id\": 9}");
        answer.elapsed = Duration::from_secs(1);
        Ok(answer)
    })
    .await;
    stack.answer(|command| {
        let output = FakeOutput::stdout("{\"exam\": {\"id\": 3}}\n");
        match command.line().as_str() {
            "make data" => Some(output),
            "remove data" => Some(output.exits(1)),
            _ => None,
        }
    });
    let ended = stack.run_interruptibly("v2", &interrupt).await;
    ended.ended(Outcome::Interrupted, ExitCode::Interrupted);
    assert_eq!(ended.undo(StepId::Smoke).unwrap().0, UnwindResult::LeftInPlace);
    assert!(
        ended.warnings().contains("smoke may have left something behind"),
        "{}",
        ended.warnings()
    );
    assert_eq!(stack.engine.peek().releases("backend"), ["v1"]);
}

/// `DB_PASSWORD` is asked for as a secret, and the site says it back in every way it can. That it is in no event and in no
/// file of the ledger is held for every command of these tests.
#[tokio::test(start_paused = true)]
async fn no_secret_is_shown_whatever_the_site_says() {
    let steps = [
        "{ get: '/x/${password}/', headers: { X-Key: '${password}' }, capture: { token: { json: token, secret: true }, sid: { cookie: sid } } }",
        "{ get: '/y/${token}/${sid}/', expect: { status: 404, headers: { X-Echo: '${password}' }, body: { contains: '${password}' } } }",
        "{ post: '/z/${password}', form: { password: '${password}' }, expect: { status: 404, headers: { X-Echo: '${password}!' }, json: { it: '${token}' } } }",
    ];
    let section = format!(
        "  variables: {{ password: {{ env: DB_PASSWORD }} }}\n  before: [{{ run: [tell, data], environment: {{ KEY: '${{password}}' }} }}]\n{}",
        scenario(&steps)
    );
    let token = "token-of-the-site";
    let stack = serving(&section, move |call, before| {
        let status = if before == 0 { 200 } else { 404 };
        let body = format!(
            "{{\"token\": \"{token}\"}}{}{PASSWORD} at {} with sid-of-the-user",
            if before == 0 { "" } else { "\n" },
            call.url
        );
        let body = if before == 0 {
            format!("{{\"token\": \"{token}\"}}")
        } else {
            body
        };
        let answer = super::with_header(answer(status, &body), "X-Echo", PASSWORD);
        Ok(super::with_header(
            answer,
            "Set-Cookie",
            "sid=sid-of-the-user; Path=/",
        ))
    })
    .await;
    stack.answer(|command| {
        (command.line() == "tell data").then(|| FakeOutput::stdout(format!("told {PASSWORD}\n")))
    });
    let ended = smoke(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("one: step 3, POST /z/***: expected the header X-Echo `***!`, came ***")
        .shows("*** at http://127.0.0.1:8080/z/*** with ***");
    assert_eq!(ended.task_output(StepId::Smoke, "before tell data"), ["told ***"]);
    let told = format!("{:?}", ended.events);
    for secret in [PASSWORD, token, "sid-of-the-user"] {
        assert!(!told.contains(secret), "{secret} is told: {told}");
    }
    // An address that cannot be reached may name one, too.
    let stack = serving(&section, |call, _| Err(format!("no route to {}", call.url))).await;
    stack.answer(|command| (command.line() == "tell data").then(|| FakeOutput::stdout("told\n")));
    smoke(&stack)
        .await
        .says("no route to http://127.0.0.1:8080/x/***/");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_before_anything_is_touched() {
    for (section, told) in [
        (
            format!(
                "  variables: {{ key: {{ env: NOT_SET }} }}\n{}",
                scenario(&["{ get: /x }"])
            ),
            "`smoke.variables.key`: NOT_SET is not set",
        ),
        (
            scenario(&["{ post: /x, files: { scan: { file: no.pdf } } }"]),
            "`smoke.scenarios[0].steps[0].files.scan.file`: no.pdf cannot be read",
        ),
    ] {
        let stack = serving(&section, |_, _| Ok(answer(200, ""))).await;
        let before = stack.engine.peek();
        let ended = stack.run("v2").await;
        ended
            .ended(Outcome::Failed, ExitCode::Configuration)
            .says(told)
            .says("deploy.yml:");
        assert_eq!(stack.engine.peek().names(), before.names());
        assert!(asked(&stack).is_empty());
        smoke(&stack)
            .await
            .ended(Outcome::Failed, ExitCode::Configuration)
            .says(told);
    }
}

#[tokio::test(start_paused = true)]
async fn by_itself_it_is_a_run_that_leaves_nothing_to_finish() {
    let stack = serving(&scenario(&["{ get: /x }"]), |_, _| Ok(answer(200, ""))).await;
    let ended = smoke(&stack).await;
    ended.succeeded();
    let memory = stack.memory().await;
    assert!(
        memory.unfinished.is_none(),
        "and it is no run that must be finished"
    );
    // Nothing of it has to be known where the stack's address is that of health.
    assert_eq!(stack.app.calls()[0].url, "http://127.0.0.1:8080/x");
}
