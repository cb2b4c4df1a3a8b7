//! The Python of the application's image, for scripts of ours: how one is started that needs nothing of the application.

/// Without its site, user and environment, of which nothing is needed: it starts in half the time.
const ALONE: &str = "-IS";

/// A process that does nothing until its container is removed.
pub fn waiting(python: &str) -> Vec<String> {
    script(python, "import signal; signal.pause()", &[])
}

/// A script, given as an argument: nothing has to be in the image but the interpreter.
pub fn script(python: &str, script: &str, arguments: &[&str]) -> Vec<String> {
    let words = [python, ALONE, "-c", script];
    words
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect()
}
