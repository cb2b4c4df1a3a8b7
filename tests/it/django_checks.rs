//! What Django says of itself in the new image, and what becomes of it. That the script asks a real Django rightly is
//! the stories' to show.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::release::checks::CheckVerdict;
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, FakeOutput, Stack, fit_for_production};

const ALL: [&str; 5] = [
    "django-deploy",
    "django-settings",
    "model-changes",
    "migration-graph",
    "schema-ahead",
];

async fn serving() -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.command(Chosen::build(), "v2").await.succeeded();
    stack
}

async fn check(stack: &Stack) -> Ended {
    let only = ALL.map(str::to_owned);
    let selection = Selection::of(&only, &[]).unwrap();
    stack.command(Chosen::check_with(selection), "v2").await
}

/// Django says the same as on a healthy day, but for this.
fn says(stack: &Stack, old: &'static str, new: &'static str) {
    stack.answer(move |command| {
        command.asks_for_production().then(|| {
            let healthy = fit_for_production(true);
            assert!(healthy.contains(old), "{old} is not in {healthy}");
            FakeOutput::stdout(healthy.replace(old, new))
        })
    });
}

#[tokio::test(start_paused = true)]
async fn django_is_started_once_for_all_of_them_and_the_container_is_gone() {
    let stack = serving().await;
    let before = stack.engine.peek();
    let looks = || {
        stack
            .engine
            .commands()
            .iter()
            .filter(|one| one.asks_for_production())
            .count()
    };
    let earlier = looks();
    let ended = check(&stack).await;
    ended.succeeded();
    for id in ALL {
        assert_eq!(ended.check(id).verdict, CheckVerdict::Passed, "{id}");
    }
    assert_eq!(looks(), earlier + 1);
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn each_says_what_is_wrong_and_stops_the_deploy() {
    for (id, key, old, new, said) in [
        (
            "django-settings",
            "DEBUG",
            "\"debug\":false",
            "\"debug\":true",
            "DEBUG is True",
        ),
        (
            "django-settings",
            "SECRET_KEY",
            "\"secret_key_length\":64",
            "\"secret_key_length\":12",
            "SECRET_KEY has 12 characters",
        ),
        (
            "django-settings",
            "SECRET_KEY",
            "\"secret_key_made_for_development\":false",
            "\"secret_key_made_for_development\":true",
            "makes for development",
        ),
        (
            "django-settings",
            "ALLOWED_HOSTS",
            "[\"viatique.example.com\"]",
            "[\"*\"]",
            "any name is believed",
        ),
        (
            "django-settings",
            "ALLOWED_HOSTS",
            "[\"viatique.example.com\"]",
            "[]",
            "every request is answered 400",
        ),
        (
            "django-settings",
            "CSRF_TRUSTED_ORIGINS",
            "https://viatique.example.com",
            "http://viatique.example.com",
            "http://viatique.example.com, which is not https",
        ),
        (
            "django-settings",
            "SESSION_COOKIE_SECURE",
            "\"session_cookie_secure\":true",
            "\"session_cookie_secure\":false",
            "SESSION_COOKIE_SECURE is False",
        ),
        (
            "django-settings",
            "CSRF_COOKIE_SECURE",
            "\"csrf_cookie_secure\":true",
            "\"csrf_cookie_secure\":false",
            "CSRF_COOKIE_SECURE is False",
        ),
        (
            "django-deploy",
            "fields.E304",
            "\"messages\":[]",
            "\"messages\":[{\"id\":\"fields.E304\",\"serious\":true,\"message\":\"they clash\",\"hint\":\"rename one\"}]",
            "they clash",
        ),
        (
            "model-changes",
            "",
            "\"changes\":[]",
            "\"changes\":[\"copies: Add field mark to copy\"]",
            "no migration makes this: copies: Add field mark to copy",
        ),
        (
            "migration-graph",
            "copies",
            "\"conflicts\":[]",
            "\"conflicts\":[[\"copies\",[\"0002_a\",\"0002_b\"]]]",
            "copies has 2 last migrations: 0002_a, 0002_b",
        ),
    ] {
        let stack = serving().await;
        says(&stack, old, new);
        let ended = check(&stack).await;
        ended.ended(Outcome::Failed, ExitCode::Gate).says(said);
        let outcome = ended.check(id);
        assert_eq!(outcome.verdict, CheckVerdict::Failed, "{said}");
        assert_eq!(outcome.problems[0].key, key);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_danger_by_itself_is_told_and_stops_nothing() {
    for (id, old, new, said) in [
        (
            "django-deploy",
            "\"messages\":[]",
            "\"messages\":[{\"id\":\"security.W004\",\"serious\":false,\"message\":\"no HSTS\",\"hint\":\"\"}]",
            "no HSTS [django-deploy: security.W004]",
        ),
        (
            "schema-ahead",
            "\"ahead\":[]",
            "\"ahead\":[[\"copies\",\"0009_later\"]]",
            "copies.0009_later is applied, and the release does not know it",
        ),
    ] {
        let stack = serving().await;
        says(&stack, old, new);
        let ended = check(&stack).await;
        ended.succeeded();
        assert_eq!(ended.check(id).verdict, CheckVerdict::Failed);
        assert!(ended.warnings().contains(said), "{}", ended.warnings());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_with_a_wrong_image_stops_before_anything_is_changed() {
    let stack = serving().await;
    let before = stack.engine.peek();
    says(&stack, "\"debug\":false", "\"debug\":true");
    let ended = stack.run("v2").await;
    ended.ended(Outcome::Failed, ExitCode::Gate).says("DEBUG is True");
    assert_eq!(ended.step(StepId::Migrate), StepResult::NotRun);
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn one_question_that_django_cannot_answer_leaves_the_others() {
    let stack = serving().await;
    says(
        &stack,
        "{\"changes\":[]}",
        "{\"unknown\":[\"changes\",\"LookupError: no app\"]}",
    );
    let ended = check(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("not verified: LookupError: no app [model-changes]");
    assert_eq!(ended.check("model-changes").verdict, CheckVerdict::NotVerified);
    assert_eq!(ended.check("migration-graph").verdict, CheckVerdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_django_that_does_not_answer_has_verified_nothing() {
    for (answer, said) in [
        (
            FakeOutput::silent().and_stderr("ImproperlyConfigured\n").exits(1),
            "django could not start (exit code 1)",
        ),
        (
            FakeOutput::stdout("\nviatique-deploy:{\"half\n"),
            "asking django about itself",
        ),
        (FakeOutput::silent(), "there was no answer"),
    ] {
        let stack = serving().await;
        stack.answer(move |command| command.asks_for_production().then(|| answer.clone()));
        let ended = check(&stack).await;
        ended.ended(Outcome::Failed, ExitCode::Gate);
        for id in ALL {
            let outcome = ended.check(id);
            assert_eq!(outcome.verdict, CheckVerdict::NotVerified);
            assert!(outcome.line.contains(said), "{}", outcome.line);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_not_verified_and_its_container_is_removed() {
    let stack = serving().await;
    stack.edit_deploy_yml("backup:", "checks: { timeout: 20s }\nbackup:");
    let before = stack.engine.peek();
    stack.answer(|command| {
        command
            .asks_for_production()
            .then(|| FakeOutput::silent().taking(std::time::Duration::from_secs(100_000)))
    });
    let ended = check(&stack).await;
    ended.ended(Outcome::Failed, ExitCode::Gate).says(
        "not verified: django did not answer within 20 s, and its container was removed [django-deploy], \
             [django-settings], [model-changes], [migration-graph]",
    );
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn before_a_first_deploy_it_is_asked_alone_and_reaches_nothing() {
    let stack = Stack::viatique();
    stack.command(Chosen::build(), "v2").await.succeeded();
    let ended = check(&stack).await;
    ended.succeeded();
    let commands = stack.engine.commands();
    let look = commands.iter().find(|one| one.asks_for_production()).unwrap();
    assert!(look.line().contains("\nlook(False)"));
    assert_eq!(ended.check("django-settings").verdict, CheckVerdict::Passed);
    assert_eq!(ended.check("schema-ahead").verdict, CheckVerdict::NotVerified);
    // One that wants its database to start says nothing yet, and stops nothing.
    stack.answer(|command| {
        command
            .asks_for_production()
            .then(|| FakeOutput::silent().exits(1))
    });
    let ended = check(&stack).await;
    ended.succeeded();
    assert_eq!(ended.check("django-settings").verdict, CheckVerdict::NotVerified);
}

#[tokio::test(start_paused = true)]
async fn without_an_image_there_is_nothing_to_ask_yet() {
    let stack = Stack::viatique();
    let ended = check(&stack).await;
    ended.succeeded();
    for id in ALL {
        assert_eq!(ended.check(id).verdict, CheckVerdict::NotVerified);
    }
    assert!(
        ended
            .check("model-changes")
            .line
            .contains("there is no image of backend yet: viatique-deploy build --tag v2")
    );
}
