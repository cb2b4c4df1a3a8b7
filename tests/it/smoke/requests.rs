//! What is sent: names replaced, cookies, the CSRF token, redirects, bodies.

use viatique_deploy::app::{Call, CallBody};

use super::{answer, asked, scenario, serving, smoke, with_header};

fn header<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    let found = call
        .headers
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

#[tokio::test(start_paused = true)]
async fn captures_are_put_into_later_requests() {
    let steps = [
        "{ get: /a, capture: { id: { json: 'list[0].id' }, way: { header: X-Way }, sid: { cookie: sid }, csrf: { body: 'b (\\d+)' } } }",
        "{ post: '/copies/${id}/', headers: { X-Sid: '${sid}' }, query: { a b: '${csrf}&' }, json: { id: '${id}', text: 'no. ${id}', of: ['${who}', null] } }",
        "{ put: '${way}?x=1', form: { who: '${who}', id: '${id}' }, expect: { json: { id: '${id}' } } }",
    ];
    let section = format!("  variables: {{ who: Paul }}\n{}", scenario(&steps));
    let stack = serving(&section, |_, _| {
        let body = "{\"list\": [{\"id\": 7}], \"id\": 7, \"a\": \"b 12\"}";
        let answer = with_header(answer(200, body), "x-way", "/scan/7");
        Ok(with_header(answer, "Set-Cookie", "sid=a1; Path=/"))
    })
    .await;
    smoke(&stack).await.succeeded();
    assert_eq!(
        asked(&stack),
        ["GET /a", "POST /copies/7/?a+b=12%26", "PUT /scan/7?x=1"]
    );
    let calls = stack.app.calls();
    assert_eq!(header(&calls[1], "X-Sid"), Some("a1"));
    let CallBody::Json(json) = &calls[1].body else {
        panic!()
    };
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"id": 7, "text": "no. 7", "of": ["Paul", null]})
    );
    let CallBody::Form(form) = &calls[2].body else {
        panic!()
    };
    assert_eq!(
        *form,
        [("id", "7"), ("who", "Paul")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}

/// As Django wants them, and as it takes them back.
#[tokio::test(start_paused = true)]
async fn cookies_and_the_csrf_token_go_back_where_they_belong() {
    let steps = [
        "{ get: /session/ }",
        "{ post: /login/ }",
        "{ post: /plain/, csrf: false }",
        "{ patch: /own/, headers: { X-CSRFToken: mine } }",
        "{ delete: /logout/ }",
        "{ get: /after/ }",
    ];
    let section = format!(
        "  host: viatique.example.com\n  headers: {{ X-Forwarded-Proto: https }}\n{}\n  - name: another\n    steps:\n      - {{ get: /fresh/ }}",
        scenario(&steps)
    );
    let stack = serving(&section, |call, _| {
        let fine = answer(200, "");
        Ok(if call.url.ends_with("/session/") {
            with_header(fine, "Set-Cookie", "csrftoken=first; Path=/; Secure")
        } else if call.url.ends_with("/login/") {
            let answer = with_header(fine, "Set-Cookie", "csrftoken=second; Path=/; Secure");
            with_header(answer, "set-cookie", "sessionid=abc; Path=/; Secure; HttpOnly")
        } else if call.url.ends_with("/logout/") {
            with_header(
                fine,
                "Set-Cookie",
                "sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/",
            )
        } else {
            fine
        })
    })
    .await;
    smoke(&stack).await.succeeded();
    let calls = stack.app.calls();
    let token = |index: usize| header(&calls[index], "X-CSRFToken");
    assert_eq!(token(0), None);
    assert_eq!(header(&calls[0], "Cookie"), None);
    assert_eq!(token(1), Some("first"));
    // Over https, Django wants to know where the form stood.
    assert_eq!(
        header(&calls[1], "Referer"),
        Some("https://viatique.example.com/login/")
    );
    assert_eq!(calls[1].host.as_deref(), Some("viatique.example.com"));
    assert!(
        calls[1].url.starts_with("http://127.0.0.1:8080/"),
        "{}",
        calls[1].url
    );
    assert_eq!((token(2), header(&calls[2], "Referer")), (None, None));
    let both = header(&calls[2], "Cookie").unwrap();
    assert!(
        both.contains("csrftoken=second") && both.contains("sessionid=abc"),
        "{both}"
    );
    assert_eq!(token(3), Some("mine"));
    assert_eq!(token(4), Some("second"));
    assert_eq!(header(&calls[5], "Cookie"), Some("csrftoken=second"));
    assert_eq!(token(5), None, "a GET needs none");
    assert_eq!(header(&calls[6], "Cookie"), None, "each scenario has its own");
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_as_far_as_the_step_says() {
    let site = |call: &Call, _: usize| {
        let to = |status: u16, place: &str| Ok(with_header(answer(status, ""), "Location", place));
        match call.url.rsplit('/').next().unwrap() {
            "a" => to(302, "/b"),
            "b" => to(301, "http://viatique.example.com/c?d=e"),
            "keep" => to(307, "/kept"),
            "away" => to(302, "https://elsewhere.example.com/"),
            _ => Ok(answer(200, "there")),
        }
    };
    let section = |steps: &[&str]| format!("  host: viatique.example.com\n{}", scenario(steps));
    let steps = [
        "{ post: /a, form: { x: y }, follow: 2, expect: { body: { contains: there } } }",
        "{ post: /keep, form: { x: y }, follow: 1 }",
    ];
    let stack = serving(&section(&steps), site).await;
    smoke(&stack).await.succeeded();
    assert_eq!(
        asked(&stack),
        ["POST /a", "GET /b", "GET /c?d=e", "POST /keep", "POST /kept"]
    );
    assert!(stack.app.calls()[1].body == CallBody::None);
    let stack = serving(&section(&["{ get: /a, follow: 1 }"]), site).await;
    smoke(&stack)
        .await
        .says("expected status 2xx, came 301 to http://viatique.example.com/c?d=e");
    let stack = serving(&section(&["{ get: /away, follow: 1 }"]), site).await;
    smoke(&stack)
        .await
        .says("it redirects to another site: https://elsewhere.example.com/");
}

#[tokio::test(start_paused = true)]
async fn files_go_up_and_come_down_again() {
    let steps = [
        "{ post: /up, form: { exam: 3 }, files: { scan: { file: copy.pdf, type: application/pdf }, note: { text: 'of ${who}', name: note.txt } } }",
        "{ get: /down, expect: { file: copy.pdf, size: 8, sha256: e16fa5d9b51928755db85b917f0297babaf22c7a47e97d9212adab56e61ba04e } }",
    ];
    let section = format!("  variables: {{ who: Paul }}\n{}", scenario(&steps));
    let stack = serving(&section, |_, _| Ok(answer(200, "%PDF-1.4"))).await;
    std::fs::write(stack.directory.path().join("copy.pdf"), "%PDF-1.4").unwrap();
    smoke(&stack).await.succeeded();
    let CallBody::Multipart { fields, files } = &stack.app.calls()[0].body else {
        panic!()
    };
    assert_eq!(*fields, [("exam".to_owned(), "3".to_owned())]);
    let sent: Vec<_> = files
        .iter()
        .map(|file| {
            (
                file.field.as_str(),
                file.name.as_str(),
                file.kind.as_str(),
                file.content.as_slice(),
            )
        })
        .collect();
    assert_eq!(
        sent,
        [
            ("note", "note.txt", "application/octet-stream", &b"of Paul"[..]),
            ("scan", "copy.pdf", "application/pdf", b"%PDF-1.4"),
        ]
    );
}
