//! Celery: which command is a worker, and how one worker, and no other, is asked whether it takes tasks.

/// Asks a worker until it answers, or the time is over. Starting Celery takes seconds of processor time, which
/// `inspect ping` in a loop takes again and again from the worker that it waits for.
const AWAIT: &str = r#"
import sys, time
from celery.app.utils import find_app

application = find_app(sys.argv[1])
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    if application.control.ping(destination=[sys.argv[2]], timeout=1.0, limit=1):
        sys.exit(0)
sys.exit(1)
"#;

/// Counts what a worker has taken since it was started, and what it is at, twice with a pause between: a worker at a long
/// task takes no other, and is not idle.
const COUNT: &str = r#"
import json, sys, time
from celery.app.utils import find_app

worker = sys.argv[2]
inspect = find_app(sys.argv[1]).control.inspect(destination=[worker], timeout=3.0)
for look in range(2):
    if look:
        time.sleep(2.0)
    stats = (inspect.stats() or {}).get(worker)
    active = (inspect.active() or {}).get(worker)
    seen = stats is not None and active is not None
    counted = {"taken": sum(stats["total"].values()), "active": len(active)} if seen else None
    print("viatique-deploy:" + json.dumps(counted), flush=True)
"#;

/// The command that counts a worker's tasks, twice; `None` as [`await_command`]. [`has_taken_nothing`] reads what it
/// prints.
pub fn count_command(command: &[String], hostname: &str) -> Option<Vec<String>> {
    let (celery, name) = worker(command, hostname)?;
    let application = option(celery, &["-A", "--app"])?;
    Some(vec![
        python(celery)?,
        "-c".to_owned(),
        COUNT.to_owned(),
        application.to_owned(),
        name,
    ])
}

/// Whether a worker that was counted took no task in between and is at none, although it was asked twice. `None` where
/// what was printed does not say.
pub fn has_taken_nothing(printed: &str) -> Option<bool> {
    #[derive(PartialEq, serde::Deserialize)]
    struct Counted {
        taken: u64,
        active: u64,
    }
    let mut looks = printed.lines().filter_map(|line| {
        let counted = line.strip_prefix("viatique-deploy:")?;
        serde_json::from_str::<Option<Counted>>(counted).ok()
    });
    let (first, second) = (looks.next()?, looks.next()?);
    Some(match (first, second) {
        (Some(first), Some(second)) => first == second && second.active == 0,
        // It runs, and does not answer.
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    })
}

/// The command that pings the worker which `command` starts in a container with this host name; `None` where it
/// starts no worker, or hides behind a shell or a name that cannot be worked out.
///
/// The command exits with 0 if that worker answers: `inspect ping` fails where no destination replies.
pub fn ping_command(command: &[String], hostname: &str) -> Option<Vec<String>> {
    let (celery, name) = worker(command, hostname)?;
    let mut ping = celery.to_vec();
    ping.extend(["inspect", "ping", "--timeout", "5", "-d"].map(ToOwned::to_owned));
    ping.push(name);
    Some(ping)
}

/// The command that waits until that worker answers, this many seconds at most: it exits with 0 once it does. `None` as
/// [`ping_command`], and where no application is named. It needs the Python that Celery is started with, and fails at
/// once where it has guessed another.
pub fn await_command(command: &[String], hostname: &str, seconds: u64) -> Option<Vec<String>> {
    let (celery, name) = worker(command, hostname)?;
    let application = option(celery, &["-A", "--app"])?;
    Some(vec![
        python(celery)?,
        "-c".to_owned(),
        AWAIT.to_owned(),
        application.to_owned(),
        name,
        seconds.to_string(),
    ])
}

/// What Celery is started with.
fn python(celery: &[String]) -> Option<String> {
    let first = celery.first()?;
    Some(match first.rsplit_once('/') {
        Some((folder, "celery")) => format!("{folder}/python3"),
        None if first == "celery" => "python3".to_owned(),
        Some(_) | None => first.clone(),
    })
}

/// The Python and the application that a beat, or a worker that is one too, is started with; `None` where `command` does
/// not tell them.
pub(super) fn started_by(command: &[String]) -> Option<(String, String)> {
    let celery = command
        .iter()
        .position(|word| word.rsplit('/').next() == Some("celery"))?;
    let schedules = |word: &String| word == "beat" || word == "worker";
    let celery = command.get(..celery + command.iter().skip(celery).position(schedules)?)?;
    let application = option(celery, &["-A", "--app"])?;
    Some((python(celery)?, application.to_owned()))
}

/// Whether the worker that `command` starts hears nothing while it is at a task: the pool `solo` works in the very process
/// that would answer.
pub fn is_deaf_at_work(command: &[String]) -> bool {
    option(command, &["-P", "--pool"]) == Some("solo")
}

/// The words before `worker`, and the name that this worker gives itself.
fn worker<'a>(command: &'a [String], hostname: &str) -> Option<(&'a [String], String)> {
    let celery = command
        .iter()
        .position(|word| word.rsplit('/').next() == Some("celery"))?;
    let worker = command.iter().skip(celery).position(|word| word == "worker")? + celery;
    let name = match option(command.get(worker..)?, &["-n", "--hostname"]) {
        None => format!("celery@{hostname}"),
        Some(name) => {
            let name = name.replace("%h", hostname);
            if name.contains('%') {
                return None;
            }
            if name.contains('@') {
                name
            } else {
                format!("{name}@{hostname}")
            }
        }
    };
    Some((command.get(..worker)?, name))
}

/// The value of an option, written `-n NAME`, `-nNAME` or `--hostname=NAME`.
fn option<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        for name in names {
            if word == name {
                return rest.next().map(String::as_str);
            }
            if let Some(value) = word.strip_prefix(name).filter(|value| !value.is_empty()) {
                return Some(value.strip_prefix('=').unwrap_or(value));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{await_command, count_command, has_taken_nothing, is_deaf_at_work, ping_command};

    fn ping(command: &str) -> Option<String> {
        let words: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
        ping_command(&words, "0123").map(|words| words.join(" "))
    }

    #[test]
    fn a_worker_is_asked_by_the_name_it_gives_itself() {
        assert_eq!(
            ping("python3 -m celery -A viatique worker --loglevel INFO").unwrap(),
            "python3 -m celery -A viatique inspect ping --timeout 5 -d celery@0123"
        );
        assert_eq!(
            ping("celery -A app worker -n papers@%h").unwrap(),
            "celery -A app inspect ping --timeout 5 -d papers@0123"
        );
        assert_eq!(
            ping("celery -A app worker --hostname=papers").unwrap(),
            "celery -A app inspect ping --timeout 5 -d papers@0123"
        );
    }

    #[test]
    fn a_worker_is_awaited_with_the_python_it_was_started_with() {
        let awaited = |command: &str| {
            let words: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
            let words = await_command(&words, "0123", 60)?;
            Some((words[0].clone(), words[3..].join(" ")))
        };
        let expected = |python: &str, rest: &str| Some((python.to_owned(), rest.to_owned()));
        assert_eq!(
            awaited("python3.13 -m celery -A viatique worker"),
            expected("python3.13", "viatique celery@0123 60")
        );
        assert_eq!(
            awaited("celery --app=app worker -n papers@%h"),
            expected("python3", "app papers@0123 60")
        );
        assert_eq!(
            awaited("/venv/bin/celery -A app worker"),
            expected("/venv/bin/python3", "app celery@0123 60")
        );
        assert_eq!(awaited("celery worker"), None);
        assert_eq!(awaited("celery -A app beat"), None);
    }

    #[test]
    fn a_worker_takes_nothing_where_two_counts_are_the_same_and_it_is_at_nothing() {
        let printed =
            |first: &str, second: &str| format!("noise\nviatique-deploy:{first}\nviatique-deploy:{second}\n");
        let counted = |taken: u32, active: u32| format!("{{\"taken\": {taken}, \"active\": {active}}}");
        for (first, second, nothing) in [
            (counted(7, 0), counted(7, 0), true),
            (counted(7, 0), counted(8, 0), false),
            (counted(7, 1), counted(7, 1), false),
            ("null".to_owned(), "null".to_owned(), true),
            ("null".to_owned(), counted(0, 0), false),
        ] {
            assert_eq!(
                has_taken_nothing(&printed(&first, &second)),
                Some(nothing),
                "{first} {second}"
            );
        }
        assert_eq!(has_taken_nothing("viatique-deploy:null\n"), None);
        let words: Vec<String> = "celery -A app worker".split(' ').map(ToOwned::to_owned).collect();
        let command = count_command(&words, "0123").unwrap();
        assert_eq!(command[3..].join(" "), "app celery@0123");
    }

    #[test]
    fn a_worker_alone_in_its_process_is_deaf_at_work() {
        let is_deaf = |command: &str| {
            let words: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
            is_deaf_at_work(&words)
        };
        assert!(is_deaf("celery -A app worker --pool=solo"));
        assert!(is_deaf("celery -A app worker -P solo"));
        assert!(!is_deaf("celery -A app worker --pool=prefork"));
        assert!(!is_deaf("celery -A app worker"));
    }

    #[test]
    fn what_is_no_worker_or_cannot_be_named_is_not_asked() {
        assert_eq!(ping("celery -A app beat"), None);
        assert_eq!(ping("celery -A app worker -n %n%i"), None);
        assert_eq!(ping("gunicorn app.worker"), None);
    }
}
