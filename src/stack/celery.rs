//! Celery: which command is a worker, and how one worker, and no other, is asked whether it takes tasks.

/// The command that pings the worker which `command` starts in a container with this host name; `None` where it
/// starts no worker, or hides behind a shell or a name that cannot be worked out.
///
/// The command exits with 0 if that worker answers: `inspect ping` fails where no destination replies.
pub fn ping_command(command: &[String], hostname: &str) -> Option<Vec<String>> {
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
    let mut ping = command.get(..worker)?.to_vec();
    ping.extend(["inspect", "ping", "--timeout", "5", "-d"].map(ToOwned::to_owned));
    ping.push(name);
    Some(ping)
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
    use super::ping_command;

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
    fn what_is_no_worker_or_cannot_be_named_is_not_asked() {
        assert_eq!(ping("celery -A app beat"), None);
        assert_eq!(ping("celery -A app worker -n %n%i"), None);
        assert_eq!(ping("gunicorn app.worker"), None);
    }
}
