//! The addresses of the database and the broker: whether they can be read, lead somewhere, and name what the Compose
//! files make and the backup saves. Nothing of an address is shown: a password with an unescaped `/` or `@` may stand
//! anywhere in it.

use url::Url;

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::placeholders::weakness;
use super::reach::{Reach, reach};
use super::{Findings, Variable, concerned, doubtful, not_known};
use crate::compose::Service;
use crate::pipeline::Settings;

pub(super) const DATABASE: &[&str] = &["DATABASE_URL"];
pub(super) const BROKERS: &[&str] = &[
    "CELERY_BROKER_URL",
    "BROKER_URL",
    "CELERY_RESULT_BACKEND",
    "REDIS_URL",
];

const POSTGRESQL: [&str; 9] = [
    "postgres",
    "postgresql",
    "postgis",
    "psql",
    "pgsql",
    "postgresql+psycopg",
    "postgresql+psycopg2",
    "timescale",
    "timescalegis",
];
/// Brokers that are reached over a network.
const SERVERS: [&str; 8] = [
    "redis", "rediss", "amqp", "amqps", "pyamqp", "sentinel", "valkey", "valkeys",
];
/// What else can be a broker, or keep results: nothing of the project is asked for.
const OTHERS: [&str; 13] = [
    "sqs",
    "gcpubsub",
    "confluentkafka",
    "rpc",
    "cache+memcached",
    "db+postgresql",
    "django-db",
    "file",
    "s3",
    "mongodb",
    "dynamodb",
    "elasticsearch",
    "azureblockblob",
];
/// Only within one process.
const NO_SERVERS: [&str; 4] = ["memory", "cache+memory", "filesystem", "sqla+sqlite"];

/// An address, decoded.
struct Address {
    host: String,
    port: Option<u16>,
    user: String,
    password: Option<String>,
    /// What stands behind the host, without its `/`.
    name: String,
}

fn address(text: &str) -> Option<Address> {
    let url = Url::parse(text.trim()).ok()?;
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .ok()
            .map(String::from)
    };
    Some(Address {
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port(),
        user: decoded(url.username())?,
        password: match url.password() {
            Some(password) => Some(decoded(password)?),
            None => None,
        },
        name: decoded(url.path().trim_start_matches('/'))?,
    })
}

fn scheme(text: &str) -> &str {
    text.trim().split_once(':').map_or("", |(scheme, _)| scheme)
}

const UNREADABLE: &str =
    "cannot be read as an address: a character of the password may have to be percent-encoded";

pub(super) fn database(at: At<'_>) -> Verdict {
    let settings = at.view.settings;
    let services = concerned(settings, DATABASE);
    let mut findings = Findings::among(services.clone());
    for service in services {
        let Some(variable) = Variable::of(service, "DATABASE_URL") else {
            let why = "DATABASE_URL is not set; the settings may take the database from elsewhere";
            findings.without(service, "DATABASE_URL", not_known(why));
            continue;
        };
        for problem in database_problems(settings, &variable) {
            findings.about(&variable, problem);
        }
    }
    findings.verdict("leads to the database that is meant")
}

fn database_problems(settings: &Settings, variable: &Variable<'_>) -> Vec<Problem> {
    let key = variable.key;
    let scheme = scheme(variable.value).to_ascii_lowercase();
    if variable.value.trim().is_empty() {
        return vec![Problem::wrong(format!("{key} is empty"))];
    }
    if !variable.value.contains("://") {
        return vec![Problem::wrong(format!("{key} is no address"))];
    }
    if !POSTGRESQL.contains(&scheme.as_str()) {
        return vec![doubtful(format!("{key} does not lead to PostgreSQL"))];
    }
    let Some(address) = address(variable.value) else {
        return vec![Problem::wrong(format!("{key} {UNREADABLE}"))];
    };
    let mut problems = Vec::new();
    let wrong = |why: &str| Problem::wrong(format!("{key} {why}"));
    if address.name.is_empty() {
        problems.push(wrong("names no database"));
    }
    if address.user.is_empty() {
        problems.push(wrong("names no user"));
    }
    match &address.password {
        None => problems.push(doubtful(format!("{key} has no password"))),
        Some(password) => {
            if weakness(password).is_some() || *password == address.user {
                problems.push(wrong("has a password that everybody tries first"));
            }
        }
    }
    if address.host.is_empty() {
        problems.push(wrong("names no host"));
        return problems;
    }
    problems.extend(database_reached(settings, variable, &address));
    problems
}

fn database_reached(settings: &Settings, variable: &Variable<'_>, address: &Address) -> Vec<Problem> {
    let key = variable.key;
    match lead(settings, variable, &address.host) {
        Ok(server) => {
            let saved = settings.config.backup.database.as_ref();
            if is_postgres(server) || saved.is_some_and(|saved| saved.service == server.name) {
                against_server(settings, key, address, server)
            } else if saved.is_some() {
                let name = &server.name;
                vec![not_known(format!(
                    "{key} leads to `{name}`, and whether that leads to the database that is backed up is not known"
                ))]
            } else {
                Vec::new()
            }
        }
        Err(problem) => vec![*problem],
    }
}

fn is_postgres(service: &Service) -> bool {
    let image = service.image.as_deref().unwrap_or_default();
    let of_postgres = |key: &String| key.starts_with("POSTGRES_");
    ["postgres", "postgis", "timescale", "pgvector"]
        .iter()
        .any(|name| image.contains(name))
        || service.environment.keys().any(of_postgres)
}

/// Held against what makes the server, and what saves it.
fn against_server(settings: &Settings, key: &str, address: &Address, server: &Service) -> Vec<Problem> {
    let name = &server.name;
    let of_server = |key: &str| Variable::of(server, key).filter(|variable| !variable.value.is_empty());
    let mut problems = Vec::new();
    let port = of_server("PGPORT")
        .and_then(|port| port.value.parse().ok())
        .unwrap_or(5432);
    let asked = address.port.unwrap_or(5432);
    if asked != port {
        problems.push(Problem::wrong(format!(
            "{key} asks for port {asked}, and `{name}` listens on {port}"
        )));
    }
    let user = of_server("POSTGRES_USER");
    let is_its_user = match &user {
        Some(user) => user.value == address.user,
        None => address.user == "postgres",
    };
    if user.is_some() && !is_its_user {
        let message =
            format!("{key} names another user than POSTGRES_USER of `{name}`: nothing here makes that one");
        problems.push(doubtful(message));
    }
    if let (true, Some(password)) = (is_its_user, of_server("POSTGRES_PASSWORD"))
        && address.password.as_deref() != Some(password.value)
    {
        problems.push(
            Problem::wrong(format!(
                "{key} has another password than POSTGRES_PASSWORD of `{name}`"
            ))
            .hint("write the same password in both places; percent-encoded in the address"),
        );
    }
    match settings.config.backup.database.as_ref() {
        Some(saved) if saved.service != *name => problems.push(
            Problem::wrong(format!(
                "{key} leads to `{name}`, and what is backed up is `{}`",
                saved.service
            ))
            .hint("write the service that the application uses under backup.database in deploy.yml"),
        ),
        Some(saved) if !address.name.is_empty() && saved.name_in(server) != address.name => problems.push(
            Problem::wrong(format!(
                "{key} names another database of `{name}` than the one that is backed up"
            ))
            .hint("write the database that the application uses under backup.database.name in deploy.yml"),
        ),
        Some(_) => {}
        None => {
            if let Some(database) = of_server("POSTGRES_DB")
                && database.value != address.name
            {
                let message = format!("{key} names another database than POSTGRES_DB of `{name}`");
                problems.push(doubtful(message));
            }
        }
    }
    problems
}

/// The service that a host is.
fn lead<'a>(
    settings: &'a Settings,
    variable: &Variable<'_>,
    host: &str,
) -> Result<&'a Service, Box<Problem>> {
    let key = variable.key;
    let problem = match reach(&settings.project, variable.service, host) {
        Reach::Service(service) => return Ok(service),
        Reach::Apart(other) => Problem::wrong(format!(
            "{key} leads to `{}`, which is on none of its networks",
            other.name
        ))
        .hint(format!(
            "put `{}` and `{}` on one network in the Compose file",
            variable.service.name, other.name
        )),
        Reach::Itself => Problem::wrong(format!("{key} leads to the container itself"))
            .hint("write the name of the service that is meant"),
        Reach::Outside => not_known(format!(
            "{key} leads out of the project, where nothing is known from here"
        )),
        Reach::Nobody => Problem::wrong(format!("{key} names a host that no service has"))
            .hint(format!("the services are {}", services(settings))),
    };
    Err(Box::new(problem))
}

fn services(settings: &Settings) -> String {
    let names = settings.project.services.keys().map(|name| format!("`{name}`"));
    names.collect::<Vec<_>>().join(", ")
}

pub(super) fn broker(at: At<'_>) -> Verdict {
    let settings = at.view.settings;
    let services = concerned(settings, BROKERS);
    let mut findings = Findings::among(services.clone());
    for service in services {
        for variable in Variable::all(service, BROKERS) {
            // Several servers, the next where one fails.
            for one in variable.value.split(';') {
                if let Some(problem) = broker_problem(settings, &variable, one.trim()) {
                    findings.about(&variable, problem);
                }
            }
        }
    }
    findings.verdict("leads to the broker that is meant")
}

fn broker_problem(settings: &Settings, variable: &Variable<'_>, text: &str) -> Option<Problem> {
    let key = variable.key;
    let keeps_results = key == "CELERY_RESULT_BACKEND";
    let wrong = |why: &str| Some(Problem::wrong(format!("{key} {why}")));
    if text.is_empty() {
        return if keeps_results { None } else { wrong("is empty") };
    }
    let scheme = match text.split_once("://") {
        Some((scheme, _)) => scheme.to_ascii_lowercase(),
        None if keeps_results => return None,
        None => return wrong("is no address"),
    };
    if NO_SERVERS.contains(&scheme.as_str()) {
        return wrong("names no server: what one process sends, no other takes");
    }
    if OTHERS.contains(&scheme.as_str()) {
        return Some(not_known(format!(
            "{key} leads out of the project, where nothing is known from here"
        )));
    }
    if !SERVERS.contains(&scheme.as_str()) {
        return wrong("has a scheme that is no broker's");
    }
    let Some(address) = address(text) else {
        return wrong(UNREADABLE);
    };
    let is_amqp = scheme.contains("amqp");
    let by_default = is_amqp && address.user.is_empty();
    if by_default || (address.user == "guest" && address.password.as_deref() == Some("guest")) {
        return wrong("uses RabbitMQ's own user and password, `guest`");
    }
    if address
        .password
        .as_deref()
        .is_some_and(|password| weakness(password).is_some() || password == address.user)
    {
        return wrong("has a password that everybody tries first");
    }
    if address.host.is_empty() {
        return wrong("names no host");
    }
    let problem = lead(settings, variable, &address.host).err();
    problem.map(|problem| *problem)
}
