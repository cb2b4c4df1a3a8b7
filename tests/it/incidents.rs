//! What happened to others, played on the simulated stack: each stops `run` before anything is touched.

use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use crate::site::{Authority, https, page, served};
use crate::support::Stack;

/// Stops at the checks, with nothing changed.
async fn stops(stack: &Stack, says: &str) {
    let before = stack.engine.peek();
    let ended = stack.run("v2").await;
    ended.ended(Outcome::Failed, ExitCode::Gate).shows(says);
    assert_eq!(ended.step(StepId::Build), StepResult::NotRun);
    assert_eq!(stack.engine.peek().names(), before.names());
}

/// Mozilla, May 2019: one certificate ran out, and every add-on with it.
#[tokio::test]
async fn mozilla_2019_a_certificate_that_is_about_to_expire() {
    let authority = Authority::called("Viatique Test CA");
    let names = ["viatique.example.com"];
    let site = https(authority.signs(&names, -87, 3), |_| page(404, "", "Not Found")).await;
    // The http side answers nothing either: with it there are two things to tell.
    let stack = served(&authority, site, site, "").await;
    stops(&stack, "expires on 2026-01-04, in 3 days").await;
}

/// Patreon, October 2015: a debug page of Werkzeug in the open, with a console in it.
#[tokio::test]
async fn patreon_2015_a_debug_page_in_the_open() {
    let authority = Authority::called("Viatique Test CA");
    let names = ["viatique.example.com"];
    let debugger = "<title>TypeError // Werkzeug Debugger</title>";
    let site = https(authority.signs(&names, -1, 90), |_| page(500, "", debugger)).await;
    let stack = served(&authority, site, site, "").await;
    stops(&stack, "is answered with Werkzeug's debug page (500)").await;
}
