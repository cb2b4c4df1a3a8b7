//! Reads what `secrets` of `deploy.yml` names: files, outputs of commands, credentials of systemd. Before anything is
//! touched; no value is in any error. What becomes of the variables is the Compose files' affair.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::session::config_errors;
use crate::compose::variables_in;
use crate::config::{Config, HumanDuration, SecretEntry, SecretSource};
use crate::error::Failure;
use crate::secret::Secret;

/// Variables by their names.
pub type Variables = BTreeMap<String, Secret<String>>;

/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// What a source may give at most.
const LIMIT: u64 = 1024 * 1024;

/// How many of the last lines of a command's errors are shown, and of how many bytes.
const LINES_SHOWN: usize = 20;
const BYTES_SHOWN: usize = 16 * 1024;

/// Why an entry could not be read.
struct Unreadable {
    message: String,
    hint: Option<String>,
    /// What the command wrote to its error output.
    stderr: Vec<String>,
}

impl Unreadable {
    fn because(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            stderr: Vec::new(),
        }
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

/// Reads every entry, all at once; a later one over an earlier one. `process` is this process's environment.
///
/// # Errors
/// Every entry that cannot be read, with its position in `deploy.yml`.
pub async fn read(config: &Config, process: &Variables) -> Result<Variables, Failure> {
    let contents = config
        .secrets
        .iter()
        .map(|entry| content(&entry.from, config.directory(), process));
    let contents = join_all(contents).await;
    let mut variables = Variables::new();
    let (mut errors, mut evidence) = (Vec::new(), Vec::new());
    for (index, (entry, content)) in config.secrets.iter().zip(contents).enumerate() {
        let taken = content.and_then(|content| take(entry, &content, process, &mut variables));
        if let Err(wrong) = taken {
            let error = config.wrong_secret(index, &wrong.message, wrong.hint);
            evidence.push((
                format!("what the command of {} wrote to stderr", error.path),
                wrong.stderr,
            ));
            errors.push(error);
        }
    }
    if errors.is_empty() {
        return Ok(variables);
    }
    let failure = config_errors(errors);
    Err(evidence
        .into_iter()
        .fold(failure, |failure, (title, lines)| failure.evidence(title, lines)))
}

/// The content as text.
async fn content(
    source: &SecretSource,
    folder: &Path,
    process: &Variables,
) -> Result<Secret<String>, Unreadable> {
    let (bytes, what) = match source {
        SecretSource::File(file) => (of_file(&folder.join(file)).await?, "the file"),
        SecretSource::Command { words, timeout } => {
            (of_command(words, *timeout, folder).await?, "its output")
        }
        SecretSource::Credential(name) => {
            let directory = process.get(CREDENTIALS).ok_or_else(|| {
                Unreadable::because(format!("there are no credentials: {CREDENTIALS} is not set")).hint(
                    "systemd sets it for a unit with LoadCredential= or LoadCredentialEncrypted=; systemd-run -p too",
                )
            })?;
            let file = PathBuf::from(directory.reveal()).join(name);
            (of_file(&file).await?, "the credential")
        }
    };
    if bytes.reveal().len() as u64 > LIMIT {
        return Err(Unreadable::because(format!("{what} is larger than 1 MiB")));
    }
    let Ok(text) = std::str::from_utf8(bytes.reveal()) else {
        return Err(Unreadable::because(format!("{what} is not UTF-8")));
    };
    if text.contains('\0') {
        return Err(Unreadable::because(format!(
            "{what} has a NUL byte, which no variable can have"
        )));
    }
    if text.trim().is_empty() {
        return Err(Unreadable::because(format!("{what} is empty")));
    }
    Ok(Secret::new(text.to_owned()))
}

/// Adds the entry's variables: the one it names, or those of its lines.
fn take(
    entry: &SecretEntry,
    content: &Secret<String>,
    process: &Variables,
    variables: &mut Variables,
) -> Result<(), Unreadable> {
    let text = content.reveal();
    if let Some(name) = &entry.name {
        let without = text.strip_suffix('\n').unwrap_or(text);
        let value = without.strip_suffix('\r').unwrap_or(without);
        variables.insert(name.clone(), Secret::new(value.to_owned()));
        return Ok(());
    }
    // What the parser says may quote a part of a value: a `$` in a password begins a variable.
    let found = variables_in(text, process, variables).map_err(|error| {
        Unreadable::because(format!(
            "line {} of it is no `KEY=value`, or uses a variable that is not set",
            error.line
        ))
        .hint("put a value in single quotes if its `$` is meant as it stands; a single secret needs a `name`")
    })?;
    if found.is_empty() {
        return Err(
            Unreadable::because("there is no `KEY=value` in it").hint("a single secret needs a `name`")
        );
    }
    variables.extend(found);
    Ok(())
}

async fn of_file(path: &Path) -> Result<Secret<Vec<u8>>, Unreadable> {
    let read = async {
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(LIMIT + 1).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    read.await
        .map(Secret::new)
        .map_err(|error| Unreadable::because(format!("cannot read {}: {}", path.display(), why(&error))))
}

/// What it writes to its output, if it succeeds in time.
async fn of_command(
    words: &[String],
    timeout: HumanDuration,
    folder: &Path,
) -> Result<Secret<Vec<u8>>, Unreadable> {
    let Some((name, arguments)) = words.split_first() else {
        return Err(Unreadable::because("the command has no word"));
    };
    let cannot = |what: &str, error: &std::io::Error| {
        Unreadable::because(format!("{what} the command `{name}`: {}", why(error)))
    };
    // A path is meant from the folder of deploy.yml; a name is looked up as a shell would.
    let program = if name.contains('/') {
        std::path::absolute(folder.join(name)).map_err(|error| cannot("finding", &error))?
    } else {
        name.into()
    };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // When it takes too long, says too much, or the operator interrupts.
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| cannot("starting", &error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut last = VecDeque::new();
    let ran = tokio::time::timeout(timeout.0, async {
        let output = async {
            let mut bytes = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(LIMIT + 1).read_to_end(&mut bytes).await?;
            }
            // A program that says more is not listened to: it gets a broken pipe.
            Ok::<_, std::io::Error>(Secret::new(bytes))
        };
        tokio::try_join!(output, hear(stderr, &mut last), child.wait())
    })
    .await;
    let ran = match ran {
        Ok(ran) => ran.map_err(|error| cannot("listening to", &error))?,
        Err(_) => {
            return Err(Unreadable {
                message: format!(
                    "the command `{name}` was not done after {} s",
                    timeout.0.as_secs_f64()
                ),
                hint: Some(
                    "it is asked for nothing: its input is closed; to give it longer: `timeout` beside it"
                        .to_owned(),
                ),
                stderr: lines(last),
            });
        }
    };
    let (output, (), status) = ran;
    let too_much = output.reveal().len() as u64 > LIMIT;
    if status.success() || too_much {
        return Ok(output);
    }
    Err(Unreadable {
        message: format!("the command `{name}` failed ({status})"),
        hint: None,
        stderr: lines(last),
    })
}

/// Keeps the last of it.
async fn hear(stderr: Option<impl AsyncRead + Unpin>, last: &mut VecDeque<u8>) -> std::io::Result<()> {
    let Some(mut stderr) = stderr else { return Ok(()) };
    let mut chunk = [0; 4096];
    loop {
        let read = stderr.read(&mut chunk).await?;
        let Some(heard) = chunk.get(..read).filter(|heard| !heard.is_empty()) else {
            return Ok(());
        };
        last.extend(heard);
        last.drain(..last.len().saturating_sub(BYTES_SHOWN));
    }
}

fn lines(last: VecDeque<u8>) -> Vec<String> {
    let bytes: Vec<u8> = last.into();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.split_off(lines.len().saturating_sub(LINES_SHOWN))
}

fn why(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        "no such file".to_owned()
    } else {
        error.to_string()
    }
}
