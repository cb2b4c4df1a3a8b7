//! `smoke`: scenarios through the site, what they expect, what they leave behind, and what nobody may see.

mod before_switch;
mod expectations;
mod refusals;
mod requests;
mod runs;

use std::time::Duration;

use viatique_deploy::app::{Answer, Call, Method};
use viatique_deploy::commands::steps::Chosen;

use crate::support::{Ended, FakeApp, Stack};

/// An answer.
fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
        is_cut: false,
        elapsed: Duration::from_millis(7),
    }
}

fn with_header(mut answer: Answer, name: &str, value: &str) -> Answer {
    answer.headers.push((name.to_owned(), value.to_owned()));
    answer
}

/// What was asked, as `POST /api/login/`.
fn line(call: &Call) -> String {
    let method = match call.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    };
    let path = call
        .url
        .strip_prefix("http://127.0.0.1:8080")
        .unwrap_or(&call.url);
    format!("{method} {path}")
}

fn asked(stack: &Stack) -> Vec<String> {
    stack.app.calls().iter().map(line).collect()
}

/// A stack with `v1` on it, and this section. `site` answers the scenarios.
async fn serving(
    smoke: &str,
    site: impl Fn(&Call, usize) -> Result<Answer, String> + Send + Sync + 'static,
) -> Stack {
    let mut stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.app = FakeApp::healthy().with_site(site);
    stack.edit_deploy_yml("health:", &format!("smoke:\n{smoke}\nhealth:"));
    stack
}

async fn smoke(stack: &Stack) -> Ended {
    stack.command(Chosen::smoke(Vec::new()), "v1").await
}

/// One scenario of these steps, each a line of YAML in braces.
fn scenario(steps: &[&str]) -> String {
    let steps: Vec<String> = steps.iter().map(|step| format!("      - {step}")).collect();
    format!("  scenarios:\n  - name: one\n    steps:\n{}", steps.join("\n"))
}
