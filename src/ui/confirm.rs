//! A yes-or-no question. Whether it may be asked at all (both ends are terminals, `--yes` was not given) is the
//! caller's decision.

use std::io::{BufRead, Write};

use super::line::{Line, Role};

/// Asks on the terminal. Anything but a clear yes is no: an empty line, the end of input, an error.
pub fn confirm(question: &str) -> bool {
    confirm_on(
        question,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr().lock(),
    )
}

/// Asks on the given streams.
pub fn confirm_on(question: &str, answers: &mut dyn BufRead, prompt: &mut dyn Write) -> bool {
    let question = Line::of(Role::Plain, question).painted(false);
    if write!(prompt, "{question} [y/N] ")
        .and_then(|()| prompt.flush())
        .is_err()
    {
        // Nobody saw the question.
        return false;
    }
    let mut answer = String::new();
    match answers.read_line(&mut answer) {
        Ok(0) | Err(_) => {
            // The cursor still stands behind the question.
            let _ = writeln!(prompt);
            false
        }
        Ok(_) => matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"),
    }
}
