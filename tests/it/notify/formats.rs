//! What each service is sent, held against what it publishes of its format: required fields, types, limits; and that text
//! of others calls nobody and breaks nothing.

use serde_json::Value;
use viatique_deploy::notify::Notice;

use super::{CANARY, failed, got, sent, started, succeeded, target, targets_in};
use crate::support::{Heard, Receiver};

/// What was sent to the one target of this entry, where `{url}` is the receiver, in order.
async fn heard(entry: &str, notices: &[Notice]) -> Vec<Heard> {
    let receiver = Receiver::saying(&[]);
    let url = format!("{}/services/{CANARY}", receiver.url());
    let target = target(
        &entry.replace("{url}", &receiver.url()),
        &[("HOOK", &url), ("TOKEN", CANARY)],
    );
    for notice in notices {
        got(&sent(&target, notice).await);
    }
    let heard = receiver.heard();
    for one in &heard {
        assert!(!one.body.contains(CANARY), "{}", one.body);
        assert!(!one.body.contains('\u{1b}'), "{}", one.body);
        assert!(!one.body.contains("\\u001b"), "{}", one.body);
    }
    heard
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn characters(value: &Value) -> usize {
    text(value).chars().count()
}

/// All that an alert must name stands in it.
#[track_caller]
fn names_everything(said: &str) {
    for needed in [
        "v42",
        "v41",
        "backend",
        "deploy",
        "line 29",
        "password=[secret]",
        "viatique-deploy run --tag v42",
    ] {
        assert!(said.contains(needed), "{needed} is not in {said}");
    }
}

/// Outside of its code, the text has none of these.
#[track_caller]
fn only_within_code(text: &str, those: &[&str]) {
    let mut outside = String::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 0 {
            let spans = part.split('`').enumerate().filter(|(index, _)| index % 2 == 0);
            outside.extend(spans.map(|(_, part)| part));
        }
    }
    assert_eq!(text.matches("```").count() % 2, 0, "a fence is open: {text}");
    for one in those {
        assert!(!outside.contains(one), "{one} is live in {text}");
    }
}

#[tokio::test]
async fn slack_gets_blocks_within_its_limits() {
    let heard = heard("  - slack:\n      url: ${HOOK}\n", &[failed(), started()]).await;
    let body = heard[0].json();
    assert_eq!(heard[0].path, format!("/services/{CANARY}"));
    assert_eq!(
        text(&body["text"]),
        "viatique: v42 failed at deploy and was rolled back: v41 serves again"
    );
    let blocks = body["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50);
    let mut all = String::new();
    for block in blocks {
        match text(&block["type"]) {
            "header" => {
                assert_eq!(text(&block["text"]["type"]), "plain_text");
                assert!((1..=150).contains(&characters(&block["text"]["text"])));
            }
            "section" => {
                let fields = block["fields"].as_array();
                assert!(fields.is_none_or(|fields| (1..=10).contains(&fields.len())));
                for field in fields.into_iter().flatten() {
                    assert_eq!(text(&field["type"]), "mrkdwn");
                    assert!((1..=2000).contains(&characters(&field["text"])));
                    all.push_str(text(&field["text"]));
                }
                if !block["text"].is_null() {
                    assert_eq!(text(&block["text"]["type"]), "mrkdwn");
                    assert!((1..=3000).contains(&characters(&block["text"]["text"])));
                    all.push_str(text(&block["text"]["text"]));
                }
                assert!(!block["text"].is_null() || fields.is_some(), "an empty section");
            }
            other => panic!("a block of type {other}"),
        }
    }
    names_everything(&all);
    // Every mention of Slack's begins with one.
    assert!(!all.contains('<') && all.contains("&lt;!channel&gt;"), "{all}");
    assert!(
        body.to_string().len() < 13_000,
        "Slack refuses more of all blocks together"
    );
    assert_eq!(text(&heard[1].json()["text"]), "viatique: run of v42 has begun");
}

#[tokio::test]
async fn mattermost_gets_markdown_that_mentions_nobody() {
    let entry = "  - mattermost:\n      url: ${HOOK}\n      channel: ops\n";
    let heard = heard(entry, &[failed()]).await;
    let body = heard[0].json();
    assert_eq!(text(&body["channel"]), "ops");
    assert!(characters(&body["text"]) <= 16383);
    names_everything(text(&body["text"]));
    only_within_code(text(&body["text"]), &["@", "](", "<!"]);
}

#[tokio::test]
async fn discord_gets_an_embed_within_its_limits() {
    let heard = heard("  - discord:\n      url: ${HOOK}\n", &[failed()]).await;
    let body = heard[0].json();
    assert_eq!(body["allowed_mentions"], serde_json::json!({ "parse": [] }));
    let embeds = body["embeds"].as_array().unwrap();
    assert_eq!(embeds.len(), 1);
    assert!((1..=256).contains(&characters(&embeds[0]["title"])));
    assert!((1..=4096).contains(&characters(&embeds[0]["description"])));
    assert!(embeds[0]["color"].as_u64().unwrap() <= 0x00ff_ffff);
    names_everything(&format!(
        "{} {}",
        text(&embeds[0]["title"]),
        text(&embeds[0]["description"])
    ));
    only_within_code(text(&embeds[0]["description"]), &["@", "]("]);
}

#[tokio::test]
async fn teams_gets_an_adaptive_card() {
    let heard = heard("  - teams:\n      url: ${HOOK}\n", &[failed()]).await;
    let body = heard[0].json();
    assert_eq!(text(&body["type"]), "message");
    let attachments = body["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 1);
    assert_eq!(
        text(&attachments[0]["contentType"]),
        "application/vnd.microsoft.card.adaptive"
    );
    let card = &attachments[0]["content"];
    assert_eq!(
        (text(&card["type"]), text(&card["version"])),
        ("AdaptiveCard", "1.4")
    );
    assert!(heard[0].body.len() < 28 * 1024);
    let mut all = String::new();
    for element in card["body"].as_array().unwrap() {
        match text(&element["type"]) {
            // Of which Markdown is read: ours alone.
            "TextBlock" => assert!(text(&element["text"]).starts_with("viatique: v42 failed")),
            "RichTextBlock" => {
                for run in element["inlines"].as_array().unwrap() {
                    assert_eq!(text(&run["type"]), "TextRun");
                    all.push_str(text(&run["text"]));
                }
            }
            other => panic!("an element of type {other}"),
        }
    }
    names_everything(&all);
}

#[tokio::test]
async fn any_webhook_gets_a_document_or_what_the_template_says() {
    let document = heard("  - webhook:\n      url: \"{url}\"\n", &[failed()]).await;
    let body = document[0].json();
    assert_eq!(
        (&body["schema"], &body["moment"]),
        (&1.into(), &"rolled_back".into())
    );
    assert_eq!(body["evidence"].as_array().unwrap().len(), 24);
    assert_eq!(body["seconds"], 92);
    assert_eq!(body["started"], "2026-03-01T03:04:05Z");
    let entry = "  - webhook:\n      url: \"{url}/a?b=c\"\n      method: PUT\n      headers:\n        X-Token: ${TOKEN}\n      \
                 body: '{\"said\": \"{{title}}\", \"log\": \"{{ evidence }}\", \"next\": [\"{{next}}\"]}'\n";
    let templated = heard(entry, &[failed()]).await;
    assert_eq!(
        (templated[0].method.as_str(), templated[0].path.as_str()),
        ("PUT", "/a?b=c")
    );
    assert_eq!(templated[0].headers["x-token"], CANARY);
    let body = templated[0].json();
    // Quotes, backslashes and line breaks in a log stay in the string.
    assert!(text(&body["log"]).ends_with("| \"quoted\" \\"), "{body}");
    assert_eq!(text(&body["log"]).lines().count(), 24);
    let form = "  - webhook:\n      url: \"{url}\"\n      content_type: application/x-www-form-urlencoded\n      body: \
                log={{evidence}}&release={{release}}\n";
    let form = heard(form, &[failed()]).await;
    assert_eq!(
        form[0].headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(form[0].body.matches('&').count(), 1);
    assert!(form[0].body.ends_with("&release=v42"));
}

#[tokio::test]
async fn sentry_gets_the_release_and_then_the_deploy() {
    let entry = "  - sentry:\n      url: \"{url}\"\n      organization: viatique\n      projects: [backend]\n      token: \
                 ${TOKEN}\n      version: viatique@{{release}}\n      repository: acme/viatique\n";
    let heard = heard(entry, &[succeeded()]).await;
    let ways: Vec<(&str, &str)> = heard
        .iter()
        .map(|one| (one.method.as_str(), one.path.as_str()))
        .collect();
    assert_eq!(
        ways,
        [
            ("POST", "/api/0/organizations/viatique/releases/"),
            (
                "POST",
                "/api/0/organizations/viatique/releases/viatique@v42/deploys/"
            ),
        ]
    );
    for one in &heard {
        assert_eq!(one.headers["authorization"], format!("Bearer {CANARY}"));
    }
    assert_eq!(
        heard[0].json(),
        serde_json::json!({
            "version": "viatique@v42",
            "projects": ["backend"],
            "dateReleased": "2026-03-01T03:05:37.5Z",
            "refs": [{ "repository": "acme/viatique", "commit": "b".repeat(40), "previousCommit": "a".repeat(40) }],
        })
    );
    assert_eq!(
        heard[1].json(),
        serde_json::json!({
            "environment": "production",
            "name": "20260301-030405-k7",
            "projects": ["backend"],
            "dateStarted": "2026-03-01T03:04:05Z",
            "dateFinished": "2026-03-01T03:05:37.5Z",
        })
    );
}

#[tokio::test]
async fn grafana_gets_a_region() {
    let entry = "  - grafana:\n      url: \"{url}/grafana/\"\n      token: ${TOKEN}\n      dashboard: abc\n      tags: [prod]\n";
    let heard = heard(entry, &[failed()]).await;
    assert_eq!(heard[0].path, "/grafana/api/annotations");
    assert_eq!(heard[0].headers["authorization"], format!("Bearer {CANARY}"));
    let body = heard[0].json();
    assert_eq!(body["time"], 1_772_334_245_000_i64);
    assert_eq!(body["timeEnd"], 1_772_334_337_500_i64);
    assert_eq!(
        body["tags"],
        serde_json::json!(["deploy", "viatique", "rolled_back", "prod"])
    );
    assert_eq!(body["dashboardUID"], "abc");
    names_everything(text(&body["text"]));
    assert!(!text(&body["text"]).contains('<'), "it is shown as HTML");
}

#[tokio::test]
async fn healthchecks_is_pinged_at_its_three_addresses() {
    let entry = "  - healthchecks:\n      url: ${HOOK}?create=1\n";
    let heard = heard(entry, &[started(), succeeded(), failed()]).await;
    let ways: Vec<&str> = heard.iter().map(|one| one.path.as_str()).collect();
    let check = format!("/services/{CANARY}");
    assert_eq!(
        ways,
        [
            format!("{check}/start?create=1"),
            format!("{check}?create=1"),
            format!("{check}/fail?create=1")
        ]
    );
    assert!(
        heard
            .iter()
            .all(|one| one.method == "POST" && one.body.len() < 10_000)
    );
    names_everything(&heard[2].body);
}

/// Prometheus' text format, as a scraper takes it apart.
#[track_caller]
fn metrics(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with('\n'));
    let mut typed = Vec::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(kind, "gauge");
            assert!(!typed.contains(&name), "{name} twice");
            typed.push(name);
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.contains(' '));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap();
            assert_eq!(typed.last(), Some(&name), "a sample before its type");
            assert!(labels.ends_with("\"}"));
            samples.push((series.to_owned(), value.parse().unwrap()));
        }
    }
    samples
}

#[tokio::test]
async fn a_pushgateway_gets_metrics_of_its_own_group() {
    let entry = "  - pushgateway:\n      url: \"{url}\"\n      user: ops\n      password: ${TOKEN}\n";
    let heard = heard(entry, &[failed()]).await;
    assert_eq!(
        (heard[0].method.as_str(), heard[0].path.as_str()),
        ("PUT", "/metrics/job/viatique_deploy/project/viatique")
    );
    assert!(heard[0].headers["authorization"].starts_with("Basic "));
    assert!(heard[0].headers["content-type"].starts_with("text/plain; version=0.0.4"));
    let metrics = metrics(&heard[0].body);
    let of = |series: &str| metrics.iter().find(|one| one.0 == series).map(|one| one.1);
    assert_eq!(
        of("viatique_deploy_last_run_success{project=\"viatique\"}"),
        Some(0.0)
    );
    assert_eq!(
        of("viatique_deploy_release_info{project=\"viatique\",release=\"v41\"}"),
        Some(1.0)
    );
    assert_eq!(
        of("viatique_deploy_last_run_duration_seconds{project=\"viatique\"}"),
        Some(92.5)
    );
}

#[tokio::test]
async fn a_textfile_is_put_in_place_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("metrics")).unwrap();
    let entry = "  - textfile:\n      directory: metrics\n";
    let targets = targets_in(folder.path(), entry, &[]);
    got(&sent(&targets[0], &succeeded()).await);
    let file = folder.path().join("metrics/viatique_deploy_viatique.prom");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(metrics(&written).contains(&(
        "viatique_deploy_last_run_success{project=\"viatique\"}".to_owned(),
        1.0
    )));
    // A test leaves what is known of the last run.
    let mut test = started();
    test.is_test = true;
    got(&sent(&targets[0], &test).await);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    let names: Vec<_> = std::fs::read_dir(folder.path().join("metrics"))
        .unwrap()
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    std::fs::remove_dir_all(folder.path().join("metrics")).unwrap();
    let delivered = sent(&targets[0], &failed()).await;
    assert!(
        delivered.why_not.unwrap().contains("No such file"),
        "it is not made"
    );
}
