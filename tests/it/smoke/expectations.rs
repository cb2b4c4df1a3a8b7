//! Each kind of expectation, kept and not kept.

use std::time::Duration;

use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use super::{answer, asked, scenario, serving, smoke, with_header};

/// Of an answer 201 `{"user": {"role": "teacher"}, "marks": [7.5, null]}` with a header, after 7 ms.
async fn judged(expect: &str) -> crate::support::Ended {
    let step = format!("{{ get: /x, expect: {{ {expect} }} }}");
    let stack = serving(&scenario(&[&step]), |_, _| {
        let body = "{\"user\": {\"role\": \"teacher\"}, \"marks\": [7.5, null]}";
        let answer = with_header(
            answer(201, body),
            "content-type",
            "application/json; charset=utf-8",
        );
        Ok(with_header(answer, "Vary", "Cookie"))
    })
    .await;
    std::fs::write(stack.directory.path().join("file"), "no").unwrap();
    smoke(&stack).await
}

#[tokio::test(start_paused = true)]
async fn what_is_as_expected_passes() {
    for expect in [
        "",
        "status: 201",
        "status: [200, 201]",
        "headers: { vary: Cookie, Content-Type: { contains: application/json } }",
        "body: { contains: teacher, not: pupil }",
        "body: { contains: [user, teacher], not: [] }",
        "json: { user.role: teacher, 'marks[0]': 7.5, 'marks[-1]': null, user: { role: teacher } }",
        "size: 51, within: 7ms",
    ] {
        let ended = judged(expect).await;
        ended.succeeded();
        assert_eq!(ended.step(StepId::Smoke), StepResult::Unchanged);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_is_told_with_what_came() {
    for (expect, told) in [
        (
            "status: 200",
            "expected status 200, came 201; answered 201 after 7 ms",
        ),
        ("status: [200, 404]", "expected status 200 or 404, came 201"),
        (
            "headers: { Allow: GET }",
            "expected the header Allow `GET`, came none",
        ),
        (
            "headers: { Vary: { contains: Origin } }",
            "expected the header Vary with `Origin` in it, came Cookie",
        ),
        (
            "body: { contains: pupil }",
            "expected `pupil` in the body, which has it not",
        ),
        (
            "body: { not: teacher }",
            "expected no `teacher` in the body, which has it",
        ),
        (
            "json: { user.role: pupil, total: \"7.50\" }",
            "expected total: \"7.50\", came nothing; expected user.role: \"pupil\", came \"teacher\"",
        ),
        (
            "json: { 'marks[0]': \"7.5\" }",
            "expected marks[0]: \"7.5\", came 7.5",
        ),
        ("size: 3", "expected 3 bytes, came 51"),
        (
            "file: file",
            "expected file (2 bytes), came something else (51 bytes)",
        ),
        ("within: 6ms", "expected within 6 ms, came after 7 ms"),
    ] {
        let ended = judged(expect).await;
        ended
            .ended(Outcome::Failed, ExitCode::Gate)
            .says("one: step 1, GET /x: ")
            .says(told)
            .shows("what was answered to one: step 1:\n{\"user\"")
            .hints_at("viatique-deploy smoke --only");
        assert_eq!(ended.task_result(StepId::Smoke, "one"), Some(StepResult::Failed));
    }
    let wrong = "0".repeat(64);
    judged(&format!("sha256: \"{wrong}\""))
        .await
        .says("expected the SHA-256 000");
}

#[tokio::test(start_paused = true)]
async fn without_a_word_any_2xx_will_do_and_a_redirect_is_told() {
    let stack = serving(&scenario(&["{ get: /x }"]), |_, _| {
        Ok(with_header(answer(302, ""), "Location", "/login/"))
    })
    .await;
    smoke(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("expected status 2xx, came 302 to /login/");
}

#[tokio::test(start_paused = true)]
async fn no_answer_and_too_long_a_one_are_told() {
    let stack = serving(&scenario(&["{ get: /x }"]), |_, _| {
        Err("connection refused".to_owned())
    })
    .await;
    smoke(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("one: step 1, GET /x: connection refused");
    assert_eq!(asked(&stack).len(), 1, "nothing is asked twice");
    let section = format!("  max_response: 2k\n{}", scenario(&["{ get: /x }"]));
    let stack = serving(&section, |call, _| {
        assert_eq!(call.limit, 2048);
        let mut answer = answer(200, "a");
        answer.is_cut = true;
        Ok(answer)
    })
    .await;
    smoke(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("its body is longer than 2048 bytes, which is `smoke.max_response`");
}

/// As a total that is computed in the background.
#[tokio::test(start_paused = true)]
async fn a_get_is_repeated_until_it_is_as_expected_or_its_time_is_over() {
    let step = "{ get: /x, repeat: { every: 200ms, for: 2s }, expect: { json: { total: 5 } } }";
    let stack = serving(&scenario(&[step]), |_, before| {
        let total = if before < 3 { "null" } else { "5" };
        Ok(answer(200, &format!("{{\"total\": {total}}}")))
    })
    .await;
    smoke(&stack).await.succeeded();
    assert_eq!(asked(&stack).len(), 4);
    let stack = serving(&scenario(&[step]), |_, _| Ok(answer(200, "{\"total\": null}"))).await;
    let began = tokio::time::Instant::now();
    smoke(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("expected total: 5, came null; answered 200 after 7 ms, for 2 s");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_kept_must_be_there() {
    for (capture, told) in [
        (
            "json: id",
            "expected id in the JSON of the body, to keep as it, came none",
        ),
        ("header: X-Id", "expected a header X-Id, to keep as it"),
        ("cookie: sessionid", "expected a cookie sessionid, to keep as it"),
        (
            "body: 'id=(\\d+)'",
            "expected `id=(\\d+)` in the body, to keep as it",
        ),
    ] {
        let step = format!("{{ get: /x, capture: {{ it: {{ {capture} }} }} }}");
        let stack = serving(&scenario(&[&step]), |_, _| Ok(answer(200, "<p>nothing</p>"))).await;
        smoke(&stack)
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(told)
            .shows("<p>nothing</p>");
    }
}
