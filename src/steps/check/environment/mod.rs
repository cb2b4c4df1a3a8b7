//! The production configuration: what the services really get once files are merged and variables are put in, held
//! against what a Django application in production needs. A value is revealed to be judged and never told, but for
//! those that are no secret: switches, host names, ports. What the settings make of it is for Django itself to say.

mod declared;
mod email;
mod files;
mod hosts;
mod keys;
mod placeholders;
mod reach;
mod secret_key;
mod switches;
mod urls;

pub(crate) use placeholders::is_secret;

use std::collections::BTreeSet;

use futures_util::FutureExt as _;

use super::registry::{At, Check, Look, When, always};
use super::verdict::{Level, Problem, Verdict};
use crate::compose::{EnvironmentValue, Service};
use crate::error::FailureKind;
use crate::pipeline::Settings;

const fn reads(
    id: &'static str,
    texts: [&'static str; 4],
    applies: fn(&Settings) -> bool,
    look: fn(At<'_>) -> Verdict,
) -> Check {
    let [title, protects_from, how, remedy] = texts;
    Check {
        id,
        title,
        protects_from,
        level: Level::Blocks,
        how,
        remedy,
        when: When::First,
        refuses_as: FailureKind::Configuration,
        applies,
        look: Look::Reads(look),
        time_limit: None,
    }
}

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[
    reads(
        "secret-key",
        [
            "the secret key is long, random and the project's own",
            "sessions and password links that anybody can sign",
            "counts the characters of SECRET_KEY and what of them cannot be guessed from those before",
            "write a key of 50 random characters or more into the env file: openssl rand -base64 60",
        ],
        |settings| concerns(settings, secret_key::KEYS),
        secret_key::look,
    ),
    reads(
        "placeholders",
        [
            "no variable still holds a placeholder or a default password",
            "a secret that stands in every copy of the sample file",
            "holds every value of every service, and the passwords inside addresses, against what samples are filled with",
            "write a value of your own",
        ],
        always,
        placeholders::look,
    ),
    reads(
        "debug-off",
        [
            "debugging is off",
            "error pages that show settings and code to everybody",
            "reads DEBUG as the application's services get it",
            "write DEBUG=False into the env file",
        ],
        |settings| concerns(settings, switches::DEBUG),
        switches::debug,
    ),
    reads(
        "allowed-hosts",
        [
            "the application answers to its own hosts and to no others",
            "poisoned links in mails and caches, and a site that answers 400 to everybody",
            "reads each entry of ALLOWED_HOSTS, and looks for the host that `health` asks for",
            "write the host names alone, with commas between them: ALLOWED_HOSTS=example.org,www.example.org",
        ],
        |settings| concerns(settings, hosts::ALLOWED),
        hosts::allowed,
    ),
    reads(
        "csrf-origins",
        [
            "every trusted origin is https, and a host of the application",
            "forms that are refused after the deploy, and forms that anybody on the way may send",
            "reads each entry of CSRF_TRUSTED_ORIGINS, and looks its host up in ALLOWED_HOSTS",
            "write the origins with their scheme: CSRF_TRUSTED_ORIGINS=https://example.org",
        ],
        |settings| concerns(settings, hosts::ORIGINS),
        hosts::origins,
    ),
    reads(
        "database-url",
        [
            "the application's database can be reached, and is the one that is backed up",
            "an application without a database, and a backup of one that nobody uses",
            "takes DATABASE_URL apart: the service and network of its host, POSTGRES_* of that service, backup.database",
            "write DATABASE_URL=postgresql://USER:PASSWORD@SERVICE:5432/DATABASE, with `@`, `/`, `#` and `%` of the \
             password percent-encoded",
        ],
        |settings| concerns(settings, urls::DATABASE),
        urls::database,
    ),
    reads(
        "broker-url",
        [
            "the broker can be reached, with a password of its own",
            "tasks that nobody takes, and a broker that anybody may use",
            "takes CELERY_BROKER_URL and its like apart: scheme, password, the service and network of the host",
            "write the address of the broker's service, as in redis://redis:6379/0",
        ],
        |settings| has_any(settings, urls::BROKERS),
        urls::broker,
    ),
    reads(
        "secure-cookies",
        [
            "cookies travel over https only",
            "sessions that anybody on the way can take over",
            "reads SESSION_COOKIE_SECURE, CSRF_COOKIE_SECURE, SECURE_SSL_REDIRECT and SSL_ENABLED",
            "write True for it into the env file",
        ],
        |settings| concerns(settings, switches::COOKIES),
        switches::cookies,
    ),
    reads(
        "email",
        [
            "mail is configured completely where it was begun",
            "password links and errors that are never sent",
            "reads EMAIL_HOST and what belongs to it",
            "complete the EMAIL_ variables in the env file, or leave them all out",
        ],
        email::is_begun,
        email::look,
    ),
    reads(
        "env-declared",
        [
            "the environment is as deploy.yml declares it",
            "a release that misses a variable at its first request",
            "holds the services' variables against checks.environment in deploy.yml",
            "mend the env file, or checks.environment in deploy.yml",
        ],
        |settings| {
            let declared = &settings.config.checks.environment;
            !declared.required.is_empty() || !declared.forbidden.is_empty()
        },
        declared::look,
    ),
    Check {
        id: "env-keys",
        title: "no variable came or went unnoticed",
        protects_from: "a variable that was forgotten, or lost with a new env file",
        level: Level::Warns,
        how: "holds the names of variables against those of the running release, and against checks.environment.sample",
        remedy: "add the variable, or take it out of the sample file",
        when: When::First,
        refuses_as: FailureKind::Configuration,
        applies: |settings| settings.current.is_some() || settings.config.checks.environment.sample.is_some(),
        look: Look::Looks(|at| keys::look(at).map(Ok).boxed()),
        time_limit: None,
    },
    Check {
        id: "env-permissions",
        title: "files with secrets can be read by their owner alone",
        protects_from: "secrets that every account of the machine can read",
        // A checkout by CI leaves 644 whatever is wanted, and git keeps nothing narrower.
        level: Level::Warns,
        how: "looks at the modes of the env files, the backups' identity and the copies' credentials; a warning only, \
              because git keeps no narrower mode than 644",
        remedy: "chmod 600",
        when: When::First,
        refuses_as: FailureKind::Configuration,
        applies: |settings| !files::secret_files(settings).is_empty(),
        look: Look::Looks(|at| files::look(at).map(Ok).boxed()),
        time_limit: None,
    },
];

/// One variable of one service, as its container gets it.
#[derive(Clone, Copy)]
struct Variable<'a> {
    service: &'a Service,
    key: &'a str,
    value: &'a str,
}

impl<'a> Variable<'a> {
    fn of(service: &'a Service, key: &str) -> Option<Self> {
        let (key, value) = service.environment.get_key_value(key)?;
        Some(Self {
            service,
            key,
            value: value.reveal()?,
        })
    }

    /// Those of the names that are set.
    fn all(service: &'a Service, keys: &[&str]) -> Vec<Self> {
        keys.iter().filter_map(|key| Self::of(service, key)).collect()
    }

    /// `.env.production:3`, or `docker-compose.yml:7: services.backend.environment.DEBUG`.
    fn place(&self) -> Option<String> {
        let source = self.service.environment_source.get(self.key)?;
        let at = format!("{}:{}", source.file.display(), source.line);
        Some(if source.in_compose_file {
            format!("{at}: services.{}.environment.{}", self.service.name, self.key)
        } else {
            at
        })
    }
}

/// Whether it is set, with a value or without.
fn is_set(service: &Service, key: &str) -> bool {
    service
        .environment
        .get(key)
        .and_then(EnvironmentValue::reveal)
        .is_some()
}

/// The services of the Django application: the one that `django` names, and those of the same image. `None` where no
/// service is named.
fn application(settings: &Settings) -> Option<Vec<&Service>> {
    let django = settings.config.django.as_ref()?;
    let services = &settings.project.services;
    let named = services.get(&django.service)?;
    let same = |other: &&Service| {
        other.name == named.name
            || (named.image.is_some() && other.image == named.image)
            || (named.build.is_some() && other.build == named.build)
    };
    Some(services.values().filter(same).collect())
}

/// The services whose variables of these names are judged.
fn concerned<'a>(settings: &'a Settings, keys: &[&str]) -> Vec<&'a Service> {
    application(settings).unwrap_or_else(|| {
        let has = |service: &&Service| keys.iter().any(|key| is_set(service, key));
        settings.project.services.values().filter(has).collect()
    })
}

fn concerns(settings: &Settings, keys: &[&str]) -> bool {
    !concerned(settings, keys).is_empty()
}

fn has_any(settings: &Settings, keys: &[&str]) -> bool {
    concerned(settings, keys)
        .iter()
        .any(|service| keys.iter().any(|key| is_set(service, key)))
}

/// A value that is no secret, on one line and not long.
fn shown(value: &str) -> String {
    let clean: String = value
        .chars()
        .map(|one| if one.is_control() { '?' } else { one })
        .collect();
    match clean.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &clean[..end]),
        None => format!("`{clean}`"),
    }
}

/// What is found, service by service; equal problems of several services are told once.
struct Findings<'a> {
    concerned: Vec<&'a Service>,
    groups: Vec<Group>,
}

struct Group {
    key: String,
    problem: Problem,
    services: BTreeSet<String>,
    places: Vec<String>,
}

impl<'a> Findings<'a> {
    const fn among(concerned: Vec<&'a Service>) -> Self {
        Self {
            concerned,
            groups: Vec::new(),
        }
    }

    /// Of a variable that is set.
    fn about(&mut self, variable: &Variable<'_>, problem: Problem) {
        self.add(variable.key, variable.service, variable.place(), problem);
    }

    /// Of a variable that is not set.
    fn without(&mut self, service: &Service, key: &str, problem: Problem) {
        self.add(key, service, Some(format!("services.{}", service.name)), problem);
    }

    fn add(&mut self, key: &str, service: &Service, place: Option<String>, problem: Problem) {
        let same = |group: &Group| group.key == key && group.problem == problem;
        let found = match self.groups.iter().position(same) {
            Some(index) => self.groups.get_mut(index),
            None => {
                self.groups.push(Group {
                    key: key.to_owned(),
                    problem,
                    services: BTreeSet::new(),
                    places: Vec::new(),
                });
                self.groups.last_mut()
            }
        };
        if let Some(group) = found {
            group.services.insert(service.name.as_str().to_owned());
            if let Some(place) = place
                && !group.places.contains(&place)
            {
                group.places.push(place);
            }
        }
    }

    /// A problem of all services that have the variable goes by its name alone.
    fn verdict(self, line: impl Into<String>) -> Verdict {
        let Self { concerned, groups } = self;
        let problems = groups.into_iter().map(|group| {
            let having: BTreeSet<&str> = concerned
                .iter()
                .filter(|service| is_set(service, &group.key))
                .map(|service| service.name.as_str())
                .collect();
            let all = having.iter().all(|name| group.services.contains(*name));
            let services: Vec<&str> = group.services.iter().map(String::as_str).collect();
            let key = if all {
                group.key.clone()
            } else {
                format!("{}.{}", services.join("+"), group.key)
            };
            let problem = group.problem.key(key);
            if group.places.is_empty() {
                problem
            } else {
                problem.at(group.places.join(", "))
            }
        });
        Verdict::of(problems.collect(), line)
    }
}

/// What is not known from here, and stops nothing.
fn not_known(why: impl Into<String>) -> Problem {
    Problem::unverified(why).level(Level::Warns)
}

/// What is told, and stops nothing.
fn doubtful(message: impl Into<String>) -> Problem {
    Problem::wrong(message).level(Level::Warns)
}
