//! What program a container runs, as far as its entry point and command tell: who answers requests, who takes tasks,
//! who must not stand twice, and how long each wants when it is told to stop. What stands in the program's own
//! configuration files is not known here.

use std::time::Duration;

use crate::compose::Service;

/// A program whose manners at its end are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `graceful`: how long it lets requests finish on SIGTERM; `None` where a configuration file decides.
    Gunicorn {
        graceful: Option<Duration>,
    },
    /// `graceful` as written: without a word it waits for as long as requests take.
    Uvicorn {
        graceful: Option<Duration>,
    },
    /// Takes SIGTERM for "start again", unless told otherwise; `None` where a configuration file decides.
    Uwsgi {
        ends_on_term: Option<bool>,
    },
    Daphne,
    Hypercorn,
    /// `limit`: the longest that one task may take, as written. `schedules`: it is a beat, too (`-B`).
    CeleryWorker {
        limit: Option<Duration>,
        schedules: bool,
    },
    CeleryBeat,
}

impl Program {
    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gunicorn { .. } => "gunicorn",
            Self::Uvicorn { .. } => "uvicorn",
            Self::Uwsgi { .. } => "uWSGI",
            Self::Daphne => "Daphne",
            Self::Hypercorn => "Hypercorn",
            Self::CeleryWorker { .. } => "the Celery worker",
            Self::CeleryBeat => "Celery beat",
        }
    }

    /// Whether it answers requests.
    pub const fn serves(self) -> bool {
        match self {
            Self::Gunicorn { .. }
            | Self::Uvicorn { .. }
            | Self::Uwsgi { .. }
            | Self::Daphne
            | Self::Hypercorn => true,
            Self::CeleryWorker { .. } | Self::CeleryBeat => false,
        }
    }

    /// Whether it sends scheduled tasks: two of it send each of them twice.
    pub const fn schedules(self) -> bool {
        match self {
            Self::CeleryWorker { schedules, .. } => schedules,
            Self::CeleryBeat => true,
            Self::Gunicorn { .. }
            | Self::Uvicorn { .. }
            | Self::Uwsgi { .. }
            | Self::Daphne
            | Self::Hypercorn => false,
        }
    }
}

/// gunicorn's own default for `--graceful-timeout` (its settings page).
const GUNICORN_GRACE: Duration = Duration::from_secs(30);

/// The words that a container of the service starts with, as the engine puts them together: an entry point of the
/// service puts the image's command out of force, an empty one leaves it standing. `image` is (entry point, command).
pub fn words(service: &Service, image: Option<(&[String], &[String])>) -> Vec<String> {
    let (image_entrypoint, image_command) = image.unwrap_or_default();
    let entrypoint = service.entrypoint.as_deref().unwrap_or(image_entrypoint);
    let written = service.entrypoint.as_ref().is_some_and(|words| !words.is_empty());
    let command = match &service.command {
        Some(command) if !command.is_empty() => command.as_slice(),
        Some(_) | None if written => &[],
        Some(_) | None => image_command,
    };
    entrypoint.iter().chain(command).cloned().collect()
}

/// The known program among a container's words; a shell's script is searched too.
pub fn program(words: &[String]) -> Option<Program> {
    let words: Vec<&str> = words
        .iter()
        .flat_map(|word| word.split(|c: char| c.is_whitespace() || ";&|()\"'".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    words.iter().enumerate().find_map(|(position, word)| {
        let rest = words.get(position + 1..).unwrap_or_default();
        known(word.rsplit('/').next().unwrap_or(word), rest)
    })
}

fn known(name: &str, rest: &[&str]) -> Option<Program> {
    match name {
        "gunicorn" => Some(Program::Gunicorn {
            graceful: match seconds(rest, &["--graceful-timeout"]) {
                Some(written) => Some(written),
                None if has(rest, &["-c", "--config"]) => None,
                None => Some(GUNICORN_GRACE),
            },
        }),
        "uvicorn" => Some(Program::Uvicorn {
            graceful: seconds(rest, &["--timeout-graceful-shutdown"]),
        }),
        "uwsgi" => {
            let elsewhere = |word: &&&str| {
                ["ini", "xml", "yaml", "yml", "json"]
                    .iter()
                    .any(|kind| word.ends_with(&format!(".{kind}")) || word.starts_with(&format!("--{kind}")))
            };
            let says = rest
                .iter()
                .any(|word| word.starts_with("--die-on-term") || word.starts_with("--hook-master-start"));
            Some(Program::Uwsgi {
                ends_on_term: match (says, rest.iter().find(elsewhere)) {
                    (true, _) => Some(true),
                    (false, Some(_)) => None,
                    (false, None) => Some(false),
                },
            })
        }
        "daphne" => Some(Program::Daphne),
        "hypercorn" => Some(Program::Hypercorn),
        "celery" => celery(rest),
        _ => None,
    }
}

/// The subcommand is the first word that is neither an option nor an option's value.
fn celery(rest: &[&str]) -> Option<Program> {
    const WITH_VALUE: [&str; 8] = [
        "-A",
        "--app",
        "-b",
        "--broker",
        "--result-backend",
        "--loader",
        "--config",
        "--workdir",
    ];
    let mut words = rest.iter();
    let subcommand = loop {
        let word = *words.next()?;
        if WITH_VALUE.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            break word;
        }
    };
    match subcommand {
        "beat" => Some(Program::CeleryBeat),
        "worker" => Some(Program::CeleryWorker {
            limit: seconds(rest, &["--time-limit"]).or_else(|| seconds(rest, &["--soft-time-limit"])),
            schedules: has(rest, &["-B", "--beat"]),
        }),
        _ => None,
    }
}

fn has(words: &[&str], names: &[&str]) -> bool {
    words.iter().any(|word| {
        names
            .iter()
            .any(|name| word == name || word.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
    })
}

/// The value of an option, `--name 30` or `--name=30`; the last one counts.
fn seconds(words: &[&str], names: &[&str]) -> Option<Duration> {
    let mut values = words.iter().enumerate().filter_map(|(position, word)| {
        let name = names.iter().find(|name| word.starts_with(**name))?;
        match word.strip_prefix(name)? {
            "" => words.get(position + 1).copied(),
            rest => rest.strip_prefix('='),
        }
    });
    let number: f64 = values.next_back()?.parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Option<Program> {
        program(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_program_is_known_behind_scripts_shells_and_python() {
        let worker = Some(Program::CeleryWorker {
            limit: None,
            schedules: false,
        });
        assert_eq!(of(&["celery", "-A", "beat", "worker"]), worker);
        assert_eq!(of(&["python3", "-m", "celery", "-A", "x", "worker"]), worker);
        assert_eq!(
            of(&["/entrypoint.sh", "/venv/bin/celery", "worker", "-A", "x"]),
            worker
        );
        assert_eq!(
            of(&["sh", "-c", "migrate && celery -A x beat"]),
            Some(Program::CeleryBeat)
        );
        assert_eq!(of(&["celery", "-A", "x", "inspect", "ping"]), None);
        assert_eq!(of(&["node", "server.js"]), None);
        assert_eq!(
            of(&["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "app"]),
            Some(Program::Gunicorn {
                graceful: Some(Duration::from_secs(30))
            })
        );
    }

    #[test]
    fn a_worker_with_a_beat_in_it_schedules() {
        for flag in ["-B", "--beat"] {
            let program = of(&["celery", "-A", "x", "worker", flag, "--time-limit=900"]);
            assert_eq!(
                program,
                Some(Program::CeleryWorker {
                    limit: Some(Duration::from_secs(900)),
                    schedules: true
                })
            );
        }
    }

    #[test]
    fn what_a_configuration_file_decides_is_not_guessed() {
        assert_eq!(
            of(&["gunicorn", "-c", "conf.py", "app"]),
            Some(Program::Gunicorn { graceful: None })
        );
        assert_eq!(
            of(&["gunicorn", "-c", "conf.py", "--graceful-timeout", "90", "app"]),
            Some(Program::Gunicorn {
                graceful: Some(Duration::from_secs(90))
            })
        );
        assert_eq!(
            of(&["uwsgi", "--ini", "uwsgi.ini"]),
            Some(Program::Uwsgi { ends_on_term: None })
        );
        assert_eq!(
            of(&["uwsgi", "--http", ":8000"]),
            Some(Program::Uwsgi {
                ends_on_term: Some(false)
            })
        );
    }
}
