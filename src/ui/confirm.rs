//! Questions before something is done. Whether it may be asked at all (both ends are terminals, `--yes` was not given) is the
//! caller's decision.

use std::io::{BufRead, Write};

use super::line::{Line, Role};
use crate::pipeline::Reply;

/// Asks on the terminal. Anything but a clear yes is no: an empty line, the end of input, an error.
pub fn confirm(question: &str) -> bool {
    confirm_on(
        question,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr().lock(),
    )
}

/// Asks for a word to be typed, on the terminal: for what cannot be answered by habit.
pub fn confirm_by_typing(question: &str, word: &str) -> bool {
    confirm_by_typing_on(
        question,
        word,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr().lock(),
    )
}

/// The same, on the given streams.
pub fn confirm_by_typing_on(
    question: &str,
    word: &str,
    answers: &mut dyn BufRead,
    prompt: &mut dyn Write,
) -> bool {
    let question = format!("{question} Type {word} to go on:");
    asked(&question, answers, prompt).is_some_and(|answer| answer == word)
}

/// Asks on the given streams.
pub fn confirm_on(question: &str, answers: &mut dyn BufRead, prompt: &mut dyn Write) -> bool {
    let answer = asked(&format!("{question} [y/N]"), answers, prompt);
    answer.is_some_and(|answer| matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks how something is, on the terminal.
pub fn reply(question: &str) -> Reply {
    reply_on(
        question,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr().lock(),
    )
}

/// The same, on the given streams. What is none of the answers is asked again: a slip of a finger says nothing about the
/// site.
pub fn reply_on(question: &str, answers: &mut dyn BufRead, prompt: &mut dyn Write) -> Reply {
    // On a line of their own: with it the question would be wider than a terminal.
    let choices = "[y]es, [n]o, Enter: later:";
    let question = Line::of(Role::Plain, question).painted(false);
    if writeln!(prompt, "{question}").is_err() {
        return Reply::Gone;
    }
    loop {
        let Some(answer) = asked(choices, answers, prompt) else {
            return Reply::Gone;
        };
        match answer.to_lowercase().as_str() {
            "y" | "yes" => return Reply::Yes,
            "n" | "no" => return Reply::No,
            "" | "s" | "skip" | "later" => return Reply::Later,
            _ => {}
        }
    }
}

/// What was answered; `None` where nobody saw the question, or there is nobody.
fn asked(question: &str, answers: &mut dyn BufRead, prompt: &mut dyn Write) -> Option<String> {
    let question = Line::of(Role::Plain, question).painted(false);
    write!(prompt, "{question} ").and_then(|()| prompt.flush()).ok()?;
    let mut answer = String::new();
    match answers.read_line(&mut answer) {
        Ok(0) | Err(_) => {
            // The cursor still stands behind the question.
            let _ = writeln!(prompt);
            None
        }
        Ok(_) => Some(answer.trim().to_owned()),
    }
}
