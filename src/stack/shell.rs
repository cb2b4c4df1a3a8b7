//! Whether a shell stays between the engine and the program. The engine sends its stop signal to the container's
//! first process; a shell that waits for a child does not hand it on, so the program works on, unaware, until it is
//! killed.
//!
//! Some shells become the last command of a `-c` script instead of waiting for it. Measured: dash 0.5.12 (Debian's
//! `sh`) never does; bash 5.2 does where it is a simple command without redirections; busybox's ash (Alpine's `sh`)
//! does in a list, a branch and a group, too. A pipeline, and a command that another one follows, keep every shell.

use super::program;

/// What a container's words say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstProcess {
    /// The program itself, or something that hands signals on.
    Program,
    /// A shell (by its name) that stays, with the name of the program that it should become, where that can be told.
    Shell {
        shell: String,
        last: Option<String>,
        /// The script is one plain command: no shell is needed.
        plain: bool,
        /// Every shell of that name stays. Otherwise it depends on which one the image has.
        certain: bool,
    },
    /// A script: what it does stands in a file of the image.
    Script,
    /// Nothing is known of the words.
    Unknown,
}

impl FirstProcess {
    /// Whether only a container that runs can tell.
    pub const fn shows_when_it_runs(&self) -> bool {
        match self {
            Self::Script | Self::Shell { certain: false, .. } => true,
            Self::Program | Self::Unknown | Self::Shell { certain: true, .. } => false,
        }
    }
}

const SHELLS: [&str; 6] = ["sh", "dash", "ash", "bash", "zsh", "ksh"];

/// Judges a container's words. `signals_reach_group`: something before them signals every process.
pub fn first_process(words: &[String], signals_reach_group: bool) -> FirstProcess {
    let Some(first) = words.first() else {
        return FirstProcess::Unknown;
    };
    if signals_reach_group || hands_on_to_all(words) {
        return FirstProcess::Program;
    }
    if let Some((shell, script)) = shell_script(words) {
        return judge(shell, script);
    }
    let first_name = name(first);
    let behind_shell = SHELLS.contains(&first_name) && words.len() > 1;
    if behind_shell || is_script(first) {
        FirstProcess::Script
    } else {
        FirstProcess::Program
    }
}

/// Whether what runs shows a shell that stays: the first process, init left out, is a shell that has children.
/// Gives the shell's name.
pub fn running_shell(processes: &[(u32, String)]) -> Option<String> {
    let mut titles = processes.iter().map(|(_, title)| title.split_whitespace());
    let mut first = titles.next()?;
    let mut program = name(first.next()?);
    if matches!(program, "docker-init" | "tini") {
        if first.any(|word| word == "-g") {
            return None;
        }
        first = titles.next()?;
        program = name(first.next()?);
    }
    let alone = titles.next().is_none();
    (SHELLS.contains(&program) && !alone).then(|| program.to_owned())
}

/// `dumb-init`, and `tini -g`, signal every process of the container's session.
fn hands_on_to_all(words: &[String]) -> bool {
    let options = words
        .iter()
        .skip(1)
        .take_while(|word| word.starts_with('-') && *word != "--");
    let mut options = options.map(String::as_str);
    match words.first().map(|word| name(word)) {
        Some("dumb-init") => !options.any(|option| matches!(option, "-c" | "--single-child")),
        Some("tini") => options.any(|option| option == "-g"),
        Some(_) | None => false,
    }
}

/// A shell with `-c`, wherever it stands: a script before it either becomes it or stays, too.
fn shell_script(words: &[String]) -> Option<(&str, &str)> {
    words.iter().enumerate().find_map(|(position, word)| {
        let shell = name(word);
        if !SHELLS.contains(&shell) {
            return None;
        }
        let options = words.get(position + 1..)?;
        let dash_c = options
            .iter()
            .take_while(|word| word.starts_with('-') || word.starts_with('+'))
            .position(|word| !word.starts_with("--") && word.starts_with('-') && word.contains('c'))?;
        let script = options
            .get(dash_c + 1..)?
            .iter()
            .find(|word| !word.starts_with('-'))?;
        Some((shell, script.as_str()))
    })
}

fn judge(shell: &str, script: &str) -> FirstProcess {
    let commands = commands(script);
    let becomes = commands.iter().any(|command| becomes_program(&command.words));
    let traps = commands
        .iter()
        .any(|command| command.words.first().is_some_and(|word| word == "trap"));
    if becomes || traps {
        return FirstProcess::Program;
    }
    let own: Vec<&Command> = commands.iter().filter(|command| !command.only_closes()).collect();
    let Some(position) = lasting(&own) else {
        return FirstProcess::Unknown;
    };
    let (Some(lasts), followed) = (own.get(position), position + 1 < own.len()) else {
        return FirstProcess::Unknown;
    };
    let branches = own.len() < commands.len() || lasts.compound;
    // Where no shell becomes its last command.
    let waits = followed || lasts.joined == Joined::Pipe || lasts.background || lasts.is_prefixed();
    let stays = match shell {
        "bash" => Some(waits || branches),
        "ash" => Some(waits),
        "sh" => waits.then_some(true),
        _ => Some(true),
    };
    if stays == Some(false) {
        return FirstProcess::Program;
    }
    let program = lasts.words.iter().find(|word| !is_assignment(word));
    FirstProcess::Shell {
        shell: shell.to_owned(),
        last: program
            .filter(|_| !lasts.is_prefixed())
            .map(|word| name(word).to_owned()),
        plain: commands.len() == 1 && lasts.is_plain(),
        certain: stays.is_some(),
    }
}

/// Which command is the one that lasts: the last known program, else the last that does not end at once by its nature.
fn lasting(commands: &[&Command]) -> Option<usize> {
    let known = |command: &&&Command| program::program(&command.words).is_some();
    let brief = |command: &&&Command| {
        let first = command.words.first().map(String::as_str);
        matches!(
            first,
            Some("true" | "false" | ":" | "echo" | "printf" | "exit" | "wait")
        )
    };
    let last = |wanted: &dyn Fn(&&&Command) -> bool| commands.iter().rposition(|command| wanted(&command));
    last(&known)
        .or_else(|| last(&|command| !brief(command)))
        .or_else(|| commands.len().checked_sub(1))
}

/// `exec program`; `exec >file` only redirects.
fn becomes_program(words: &[String]) -> bool {
    let mut words = words.iter().skip_while(|word| is_assignment(word));
    words.next().is_some_and(|word| word == "exec")
        && words.any(|word| {
            let redirection = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
            !redirection.starts_with(['<', '>']) && !word.starts_with('-')
        })
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn is_script(word: &str) -> bool {
    let name = name(word);
    name.ends_with(".sh") || name.ends_with(".bash") || name.contains("entrypoint")
}

fn name(word: &str) -> &str {
    let word = word.rsplit('/').next().unwrap_or(word);
    // A login shell's title.
    word.strip_prefix('-').unwrap_or(word)
}

/// How a command follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// The first, or after anything but a pipe.
    After,
    Pipe,
}

struct Command {
    joined: Joined,
    words: Vec<String>,
    /// Has a redirection, a subshell or a group.
    compound: bool,
    /// Has something that only a shell understands.
    expands: bool,
    /// Ended by `&`.
    background: bool,
}

impl Command {
    /// `fi`, `done`, `}`.
    fn only_closes(&self) -> bool {
        let closes = |word: &String| matches!(word.as_str(), "fi" | "done" | "esac" | "}");
        self.words.iter().all(closes) && !self.words.is_empty()
    }

    /// By a word for which the shell must see how the command ends.
    fn is_prefixed(&self) -> bool {
        let first = self.words.first().map(String::as_str);
        matches!(
            first,
            Some("!" | "time" | "if" | "elif" | "while" | "until" | "for" | "case")
        )
    }

    fn is_plain(&self) -> bool {
        !self.compound
            && !self.background
            && !self.is_prefixed()
            && !self.expands
            && !self.words.first().is_some_and(|word| is_assignment(word))
    }
}

/// Cuts a script into its commands. Quotes are honoured; what stands in a compound command counts as commands too, so
/// that an `exec` in a branch is found.
fn commands(script: &str) -> Vec<Command> {
    let mut cut = Cut::new();
    let mut characters = script.chars().peekable();
    let mut quote = None;
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '\'' | '"') => {
                quote = Some(character);
                cut.in_word = true;
            }
            (Some(open), _) if open == character => quote = None,
            (Some('\''), _) => cut.push(character),
            (_, '\\') => {
                if let Some(next) = characters.next().filter(|next| *next != '\n') {
                    cut.push(next);
                }
            }
            (_, '$' | '`') => {
                cut.current.expands = true;
                cut.push(character);
                // `$(…)` is a word, whatever stands in it.
                if character == '$' && characters.peek() == Some(&'(') {
                    let mut depth = 0_u32;
                    for inner in characters.by_ref() {
                        match inner {
                            '(' => depth += 1,
                            ')' => depth -= 1,
                            _ => {}
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                }
            }
            (Some(_), _) => cut.push(character),
            (None, '#') if !cut.in_word => while characters.next_if(|next| *next != '\n').is_some() {},
            (None, ';' | '\n') => cut.command(Joined::After),
            (None, '&') if cut.word.ends_with(['>', '<']) => cut.push('&'),
            (None, '&') if characters.next_if_eq(&'&').is_some() => cut.command(Joined::After),
            (None, '&') if characters.peek() == Some(&'>') => cut.push('&'),
            (None, '&') => {
                cut.current.background = true;
                cut.command(Joined::After);
            }
            (None, '|') if characters.next_if_eq(&'|').is_some() => cut.command(Joined::After),
            (None, '|') => cut.command(Joined::Pipe),
            (None, '(' | ')') => {
                cut.end_word();
                cut.current.compound = true;
            }
            (None, '<' | '>') => {
                cut.current.compound = true;
                cut.push(character);
            }
            (None, '*' | '?' | '~' | '[') => {
                cut.current.expands = true;
                cut.push(character);
            }
            (None, _) if character.is_whitespace() => cut.end_word(),
            (None, _) => cut.push(character),
        }
    }
    cut.command(Joined::After);
    cut.done
}

struct Cut {
    done: Vec<Command>,
    current: Command,
    word: String,
    in_word: bool,
}

impl Cut {
    fn new() -> Self {
        Self {
            done: Vec::new(),
            current: Self::empty(Joined::After),
            word: String::new(),
            in_word: false,
        }
    }

    const fn empty(joined: Joined) -> Command {
        Command {
            joined,
            words: Vec::new(),
            compound: false,
            expands: false,
            background: false,
        }
    }

    fn push(&mut self, character: char) {
        self.in_word = true;
        self.word.push(character);
    }

    fn end_word(&mut self) {
        if !std::mem::take(&mut self.in_word) {
            return;
        }
        let word = std::mem::take(&mut self.word);
        // Words that only open a branch are not the command's own.
        let opens = matches!(word.as_str(), "then" | "else" | "do" | "{");
        if !(opens && self.current.words.is_empty()) {
            self.current.words.push(word);
        } else {
            self.current.compound = true;
        }
    }

    fn command(&mut self, next: Joined) {
        self.end_word();
        let command = std::mem::replace(&mut self.current, Self::empty(next));
        if command.words.is_empty() && !command.compound {
            // An empty line does not change how the next one follows.
            self.current.joined = command.joined;
            return;
        }
        self.done.push(command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(words: &[&str]) -> FirstProcess {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        first_process(&words, false)
    }

    /// Whether the shell stays; `None` where it depends on which shell is called so.
    fn stays(shell: &str, script: &str) -> Option<bool> {
        match judged(&[shell, "-c", script]) {
            FirstProcess::Shell { certain, .. } => certain.then_some(true),
            FirstProcess::Program => Some(false),
            other @ (FirstProcess::Script | FirstProcess::Unknown) => panic!("{script}: {other:?}"),
        }
    }

    /// The scripts that were run in containers, and which shell was their first process then.
    #[test]
    fn which_shell_stays_is_as_measured() {
        for (script, dash, bash, ash) in [
            ("sleep 600", true, false, false),
            ("sleep 600\n", true, false, false),
            ("true && sleep 600", true, false, false),
            ("false || sleep 600", true, false, false),
            ("true || true; sleep 600", true, false, false),
            ("true; sleep 600", true, false, false),
            ("set -e\nsleep 600", true, false, false),
            ("A=1 sleep 600", true, false, false),
            ("sleep $((600)) # exec", true, false, false),
            ("exec sleep 600", false, false, false),
            ("true && exec sleep 600", false, false, false),
            ("sleep 600 >/dev/null", true, true, false),
            ("(sleep 600)", true, true, false),
            ("{ sleep 600; }", true, true, false),
            ("if true; then sleep 600; fi", true, true, false),
            ("sleep 600; true", true, true, true),
            ("sleep 600 || true", true, true, true),
            ("sleep 600 | cat", true, true, true),
            ("sleep 600 & wait", true, true, true),
            ("! sleep 600", true, true, true),
        ] {
            assert_eq!(stays("dash", script), Some(dash), "dash -c {script:?}");
            assert_eq!(stays("bash", script), Some(bash), "bash -c {script:?}");
            assert_eq!(stays("ash", script), Some(ash), "ash -c {script:?}");
            let all_agree = (dash == ash).then_some(dash);
            assert_eq!(stays("sh", script), all_agree, "sh -c {script:?}");
        }
        assert_eq!(stays("bash", "time sleep 600"), Some(true));
    }

    #[test]
    fn an_exec_in_a_branch_counts_and_a_redirection_does_not() {
        assert_eq!(
            Some(false),
            stays("dash", "if [ -n \"$X\" ]; then exec a; else exec b; fi")
        );
        assert_eq!(Some(false), stays("dash", "export A=1\nexec gunicorn app 2>&1"));
        assert_eq!(
            Some(false),
            stays("dash", "trap 'kill $!' TERM; gunicorn app & wait")
        );
        assert_eq!(Some(true), stays("dash", "exec 2>&1; gunicorn app"));
        assert_eq!(Some(true), stays("dash", "exec >/tmp/log; gunicorn app"));
        assert_eq!(Some(true), stays("dash", "echo 'exec gunicorn'; gunicorn app"));
        // What lasts is the known program, whatever follows it.
        assert_eq!(Some(true), stays("bash", "gunicorn app; cleanup"));
    }

    #[test]
    fn the_shell_is_found_behind_init_and_scripts() {
        for words in [
            &["/bin/sh", "-c", "gunicorn app"][..],
            &["tini", "--", "sh", "-c", "gunicorn app"],
            &["docker-entrypoint.sh", "sh", "-ec", "gunicorn app"],
            &["/usr/bin/env", "sh", "-c", "gunicorn app"],
        ] {
            assert_eq!(
                judged(words),
                FirstProcess::Shell {
                    shell: "sh".to_owned(),
                    last: Some("gunicorn".to_owned()),
                    plain: true,
                    certain: false
                },
                "{words:?}"
            );
        }
        for words in [
            &["dumb-init", "--", "sh", "-c", "gunicorn app"][..],
            &["tini", "-g", "--", "sh", "-c", "gunicorn app"],
            &["gunicorn", "-c", "conf.py"],
        ] {
            assert_eq!(judged(words), FirstProcess::Program, "{words:?}");
        }
        assert_eq!(judged(&["entrypoint.sh", "gunicorn"]), FirstProcess::Script);
        assert_eq!(judged(&["bash", "/start.sh"]), FirstProcess::Script);
        assert_eq!(judged(&[]), FirstProcess::Unknown);
    }

    #[test]
    fn a_running_shell_with_children_is_proof() {
        let running = |titles: &[&str]| {
            let processes: Vec<(u32, String)> = titles.iter().map(|title| (1, (*title).to_owned())).collect();
            running_shell(&processes)
        };
        assert_eq!(
            running(&["/bin/sh /entrypoint.sh gunicorn", "gunicorn: master"]),
            Some("sh".to_owned())
        );
        assert_eq!(
            running(&[
                "/sbin/docker-init -- bash -c gunicorn",
                "bash -c gunicorn",
                "gunicorn"
            ]),
            Some("bash".to_owned())
        );
        assert_eq!(running(&["gunicorn: master", "gunicorn: worker"]), None);
        assert_eq!(
            running(&["/bin/sh /entrypoint.sh"]),
            None,
            "it may yet become the program"
        );
        assert_eq!(
            running(&["tini -g -- sh -c gunicorn", "sh -c gunicorn", "gunicorn"]),
            None
        );
        assert_eq!(running(&[]), None);
    }
}
