//! Who was told of a run, who was not, and who would be, as each output shows it.

use std::sync::Arc;

use indicatif::InMemoryTerm;
use viatique_deploy::pipeline::Reporter;
use viatique_deploy::ui::{Clock, GithubReporter, JsonReporter, PlainReporter, TerminalReporter, Verbosity};

use super::script::{self, ManualClock, Written};

fn shown(reporter: impl FnOnce(Written, Arc<dyn Clock>) -> Box<dyn Reporter>) -> String {
    let clock = Arc::new(ManualClock::default());
    let written = Written::default();
    let reporter = reporter(written.clone(), clock.clone());
    script::play(&script::notices(), &*reporter, &clock);
    written.text()
}

fn plain(verbosity: Verbosity) -> String {
    shown(|written, clock| Box::new(PlainReporter::new(Box::new(written), false, verbosity, clock)))
}

#[test]
fn in_lines() {
    insta::assert_snapshot!(plain(Verbosity::Normal), @"
    03:04:05Z notified slack (https://hooks.slack.com): started (3.0 s)
    warning: not notified: slack (https://hooks.slack.com), that the run was rolled back: it answered 404: no_service; hint: to try it by hand: viatique-deploy notify --test slack
    would notify ops (ops@example.com via smtp.example.com) of: failure, rolled_back
    ");
    insta::assert_snapshot!(plain(Verbosity::Quiet), @"would notify ops (ops@example.com via smtp.example.com) of: failure, rolled_back");
}

#[test]
fn on_a_terminal() {
    let clock = Arc::new(ManualClock::default());
    let terminal = InMemoryTerm::new(24, 150);
    let reporter = TerminalReporter::new(Arc::new(terminal.clone()), false, false, clock.clone());
    script::play(&script::notices(), &reporter, &clock);
    drop(reporter);
    insta::assert_snapshot!(terminal.contents(), @"
    ✔ notified slack (https://hooks.slack.com): started
    warning: not notified: slack (https://hooks.slack.com), that the run was rolled back: it answered 404: no_service
      hint: to try it by hand: viatique-deploy notify --test slack
    would notify ops (ops@example.com via smtp.example.com) of: failure, rolled_back
    ");
}

#[test]
fn for_programs() {
    let text = shown(|written, clock| Box::new(JsonReporter::new(Box::new(written), clock)));
    insta::assert_snapshot!(text, @r#"
    {"schema":1,"event":"notified","time":"2026-03-01T03:04:05Z","target":"slack","place":"https://hooks.slack.com","notice":"started","delivered":true,"why_not":null,"tries":2,"seconds":3.0}
    {"schema":1,"event":"notified","time":"2026-03-01T03:04:05Z","target":"slack","place":"https://hooks.slack.com","notice":"rolled_back","delivered":false,"why_not":"it answered 404: no_service","tries":2,"seconds":3.0}
    {"schema":1,"event":"notice_planned","time":"2026-03-01T03:04:05Z","target":"ops","place":"ops@example.com via smtp.example.com","moments":["failure","rolled_back"]}
    "#);
}

#[test]
fn for_github() {
    let text = shown(|written, clock| {
        Box::new(GithubReporter::new(
            Box::new(written),
            None,
            false,
            Verbosity::Normal,
            clock,
        ))
    });
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(
        commands,
        [
            "::warning title=viatique-deploy::not notified: slack (https://hooks.slack.com), that the run was rolled back: it \
          answered 404: no_service%0Ahint: to try it by hand: viatique-deploy notify --test slack"
        ]
    );
}
