//! What Django says of itself in the image that is about to serve. One container is asked for all of these checks; where
//! nothing runs yet it has no network, and what only a database could say waits for the next deploy.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::registry::{Asking, Check, Look, When};
use super::verdict::{Level, Problem, Verdict};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Settings;
use crate::stack::django::production::{Answer, Message, Production, ProductionSettings, production_command};
use crate::steps::application::{Application, NO_APPLICATION, Prepared, Readiness};
use crate::steps::lines::Listener;
use crate::steps::one_off::{self, Command};

/// The name of the one-off.
const LOOK: &str = "look";

/// As long as it takes to remove a container that does not answer.
const TO_REMOVE: Duration = Duration::from_secs(30);

/// The workflow's, and Django's own advice.
const KEY_LENGTH: usize = 50;
/// As `security.W009` counts them.
const KEY_CHARACTERS: usize = 5;

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[
    check(Words {
        id: "django-deploy",
        title: "Django's own check --deploy has no complaint",
        protects_from: "settings that Django itself calls unsafe in production",
        how: "runs Django's checks and its deployment checks in the release's image, and reads each message's id",
        remedy: "mend what the message says, or waive its id with a reason",
        level: Level::Blocks,
        look: |asking| said(asking, |production| &production.messages, |found| messages(found)).boxed(),
    }),
    check(Words {
        id: "django-settings",
        title: "the settings in the new image are those of production",
        protects_from: "an image that overrides what the environment says: DEBUG on, any host, cookies in the clear",
        how: "reads django.conf.settings in the release's image with the service's environment; the key is not told",
        remedy: "set it in the environment of the service, and have the settings read it from there",
        level: Level::Blocks,
        look: |asking| said(asking, |production| &production.settings, settings).boxed(),
    }),
    check(Words {
        id: "model-changes",
        title: "every change of a model has its migration",
        protects_from: "code that asks for columns which no migration makes",
        how: "compares the models in the release's image with its migrations, as makemigrations --check does",
        remedy: "run makemigrations, commit what it writes, and build again",
        level: Level::Blocks,
        look: |asking| said(asking, |production| &production.changes, |found| changes(found)).boxed(),
    }),
    check(Words {
        id: "migration-graph",
        title: "the migrations of each app have one end",
        protects_from: "a migrate that refuses to run because two branches brought one each",
        how: "loads the migrations in the release's image, without a database",
        remedy: "run makemigrations --merge, commit what it writes, and build again",
        level: Level::Blocks,
        look: |asking| {
            said(
                asking,
                |production| &production.conflicts,
                |found| conflicts(found),
            )
            .boxed()
        },
    }),
    check(Words {
        id: "schema-ahead",
        title: "the release knows every migration that is applied",
        protects_from: "an older release on a schema that it was not made for",
        how: "compares the applied migrations with those in the release's image",
        remedy: "deploy a release that has them, or take them back: viatique-deploy rollback --reverse-migrations",
        level: Level::Warns,
        look: |asking| schema_ahead(asking).boxed(),
    }),
];

/// What of a check is not the same for all of them.
struct Words {
    id: &'static str,
    title: &'static str,
    protects_from: &'static str,
    how: &'static str,
    remedy: &'static str,
    level: Level,
    look: for<'a> fn(Asking<'a>) -> super::registry::Looking<'a>,
}

const fn check(words: Words) -> Check {
    Check {
        id: words.id,
        title: words.title,
        protects_from: words.protects_from,
        level: words.level,
        how: words.how,
        remedy: words.remedy,
        when: When::Gate,
        refuses_as: FailureKind::Gate,
        applies: |settings| settings.config.django.is_some(),
        look: Look::Asks(words.look),
        time_limit: Some(with_removing),
    }
}

/// Whoever asks Django has this much time to say that it did not answer.
pub(super) fn with_removing(settings: &Settings) -> Duration {
    settings.config.checks.timeout.0 + TO_REMOVE
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It answered; what was asked without a database, too.
    Answered(Box<Production>),
    /// There is nothing yet that could be asked, and why.
    NotYet(String),
    /// It could not be found out.
    Unanswered(Box<Problem>),
}

/// Judges one answer.
async fn said<T>(
    asking: Asking<'_>,
    of: fn(&Production) -> &Answer<T>,
    judge: fn(&T) -> Verdict,
) -> Result<Verdict, Failure> {
    Ok(match asked(asking).await? {
        Asked::NotYet(why) => Verdict::NotYet(why.clone()),
        Asked::Unanswered(problem) => Verdict::found((**problem).clone()),
        Asked::Answered(production) => match of(production) {
            Ok(answer) => judge(answer),
            Err(why) => Verdict::not_verified(why.clone()),
        },
    })
}

async fn schema_ahead(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let Some(application) = Application::of(asking.context.settings) else {
        return Ok(Verdict::NotYet(NO_APPLICATION.to_owned()));
    };
    match Prepared::found(asking.context.view(), &application).await? {
        Readiness::Ready(_) => said(asking, |production| &production.ahead, |found| ahead(found)).await,
        Readiness::NotYet(why) => Ok(Verdict::NotYet(why)),
    }
}

async fn asked<'a>(asking: Asking<'a>) -> Result<&'a Asked, Failure> {
    asking.shared.django.get_or_try_init(|| ask(asking)).await
}

/// # Errors
/// The engine's alone: a Django that does not answer is an answer.
async fn ask(asking: Asking<'_>) -> Result<Asked, Failure> {
    let context = asking.context;
    let Some(application) = Application::of(context.settings) else {
        return Ok(Asked::NotYet(NO_APPLICATION.to_owned()));
    };
    let not_built = || {
        Asked::NotYet(format!(
            "there is no image of {} yet: viatique-deploy build --tag {}",
            application.service.name, context.settings.tag
        ))
    };
    match Prepared::found(context.view(), &application).await? {
        Readiness::Ready(prepared) => answered(asking, &application, &prepared, true).await,
        Readiness::NotYet(_) => {
            let Some(prepared) = Prepared::image_alone(context.view(), &application).await? else {
                return Ok(not_built());
            };
            let service = one_off::alone(application.service);
            let alone = Application {
                service: &service,
                manage: application.manage,
            };
            Ok(match answered(asking, &alone, &prepared, false).await? {
                // Perhaps it wants its database to start, and there is none yet.
                Asked::Unanswered(problem) => Asked::NotYet(format!(
                    "nothing runs yet that it could reach, and alone it does not answer ({})",
                    problem.message
                )),
                asked @ (Asked::Answered(_) | Asked::NotYet(_)) => asked,
            })
        }
    }
}

async fn answered(
    asking: Asking<'_>,
    application: &Application<'_>,
    prepared: &Prepared,
    with_database: bool,
) -> Result<Asked, Failure> {
    let context = asking.context;
    let words = production_command(application.manage, with_database);
    let command = Command {
        name: LOOK,
        words: &words,
    };
    let mut hearing = Hearing::default();
    let limit = context.settings.config.checks.timeout.0;
    let run = prepared.run(context, application, command, &mut hearing);
    let unanswered = |failure: Failure| {
        let problem = Problem::unverified_for(failure.context("asking django about itself"));
        // What each check would advise is about an answer.
        Ok(Asked::Unanswered(Box::new(problem.hint(
            "its last lines say why; mend it, build again, and check again",
        ))))
    };
    let ended = match tokio::time::timeout(limit, run).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(failure)) if failure.of_engine().is_some() => return Err(failure),
        Ok(Err(failure)) => return unanswered(failure),
        Err(_) => {
            one_off::remove(context, &application.service.name, LOOK).await?;
            let problem = Problem::unverified(format!(
                "django did not answer within {} s, and its container was removed",
                limit.as_secs()
            ));
            return Ok(Asked::Unanswered(Box::new(
                problem.hint("to give it longer: checks.timeout in deploy.yml"),
            )));
        }
    };
    if let Err(failure) = ended.require_success("django could not start") {
        return unanswered(failure);
    }
    match hearing.wrong {
        None => Ok(Asked::Answered(Box::new(hearing.production))),
        Some(error) => unanswered(Failure::new(FailureKind::Failed, error)),
    }
}

#[derive(Default)]
struct Hearing {
    production: Production,
    wrong: Option<serde_json::Error>,
}

impl Listener for Hearing {
    fn line(&mut self, _line: &str) {}

    fn answer(&mut self, answer: &str) {
        if let Err(error) = self.production.take(answer) {
            self.wrong = Some(error);
        }
    }
}

fn messages(messages: &[Message]) -> Verdict {
    let problems = Production::by_id(messages).into_iter().map(|(id, messages)| {
        let mut texts: Vec<&str> = messages.iter().map(|one| one.message.as_str()).collect();
        texts.dedup();
        let mut problem = Problem::wrong(texts.join("; ")).key(id);
        if !messages.iter().any(|one| one.serious) {
            problem = problem.level(Level::Warns);
        }
        let hints: BTreeSet<&str> = messages.iter().map(|one| one.hint.as_str()).collect();
        hints
            .into_iter()
            .filter(|hint| !hint.is_empty())
            .fold(problem, Problem::hint)
    });
    Verdict::of(problems.collect(), "no message")
}

fn settings(settings: &ProductionSettings) -> Verdict {
    let ProductionSettings {
        debug,
        secret_key_length,
        secret_key_characters,
        secret_key_made_for_development,
        allowed_hosts,
        trusted_origins,
        session_cookie_secure,
        csrf_cookie_secure,
    } = settings;
    let mut problems = Vec::new();
    let mut wrong = |name: &str, why: String| problems.push(Problem::wrong(why).key(name));
    if *debug {
        wrong(
            "DEBUG",
            "DEBUG is True: errors show code and settings to everybody".to_owned(),
        );
    }
    if *secret_key_made_for_development {
        wrong(
            "SECRET_KEY",
            "SECRET_KEY is the one that startproject makes for development".to_owned(),
        );
    } else if *secret_key_length < KEY_LENGTH || *secret_key_characters < KEY_CHARACTERS {
        wrong(
            "SECRET_KEY",
            format!(
                "SECRET_KEY has {secret_key_length} characters, {secret_key_characters} different ones; it wants \
                 {KEY_LENGTH}, at random"
            ),
        );
    }
    if allowed_hosts.is_empty() {
        wrong(
            "ALLOWED_HOSTS",
            "ALLOWED_HOSTS is empty: every request is answered 400".to_owned(),
        );
    } else if allowed_hosts.iter().any(|host| host == "*") {
        wrong(
            "ALLOWED_HOSTS",
            "ALLOWED_HOSTS has `*`: any name is believed".to_owned(),
        );
    }
    for origin in trusted_origins
        .iter()
        .filter(|origin| !origin.starts_with("https://"))
    {
        wrong(
            "CSRF_TRUSTED_ORIGINS",
            format!("CSRF_TRUSTED_ORIGINS has {origin}, which is not https"),
        );
    }
    for (secure, name) in [
        (session_cookie_secure, "SESSION_COOKIE_SECURE"),
        (csrf_cookie_secure, "CSRF_COOKIE_SECURE"),
    ] {
        if !secure {
            wrong(
                name,
                format!("{name} is False: the cookie goes over plain http too"),
            );
        }
    }
    Verdict::of(problems, "as production wants them")
}

fn changes(changes: &[String]) -> Verdict {
    let problems = match changes {
        [] => Vec::new(),
        [change] => vec![Problem::wrong(format!("no migration makes this: {change}"))],
        [first, ..] => vec![
            Problem::wrong(format!(
                "no migration makes {} changes of the models, the first: {first}",
                changes.len()
            ))
            .evidence("what makemigrations would write", changes.to_vec()),
        ],
    };
    Verdict::of(problems, "none is missing")
}

fn conflicts(conflicts: &[(String, Vec<String>)]) -> Verdict {
    let problems = conflicts.iter().map(|(app, names)| {
        let what = format!("{app} has {} last migrations: {}", names.len(), names.join(", "));
        Problem::wrong(what).key(app)
    });
    Verdict::of(problems.collect(), "no conflict")
}

/// Old names of squashed migrations stay in the database when their files go: nobody can tell these from newer ones.
fn ahead(ahead: &[crate::release::Migration]) -> Verdict {
    let problems = ahead.iter().map(|migration| {
        Problem::wrong(format!(
            "{migration} is applied, and the release does not know it"
        ))
        .key(migration.to_string())
    });
    Verdict::of(problems.collect(), "all are known")
}
