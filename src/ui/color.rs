//! Whether to colour, decided here and nowhere else. Which colour means what is `line::Role`'s business.

/// What was asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// Colour on a terminal, unless NO_COLOR or TERM=dumb says otherwise
    #[default]
    Auto,
    /// Colour even into a pipe
    Always,
    /// No colour
    Never,
}

/// What around the program speaks for or against colour.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    pub no_color: Option<String>,
    pub clicolor_force: Option<String>,
    pub term: Option<String>,
    pub stderr_is_terminal: bool,
}

impl Surroundings {
    /// Returns whether stderr is a terminal whose cursor can be moved.
    pub fn has_movable_cursor(&self) -> bool {
        self.stderr_is_terminal
            && self
                .term
                .as_deref()
                .is_some_and(|term| !term.is_empty() && term != "dumb")
    }
}

/// Returns whether to colour: the command line first, then NO_COLOR, then CLICOLOR_FORCE, then the terminal.
pub fn use_color(choice: ColorChoice, surroundings: &Surroundings) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            // Both count only where they are not empty: no-color.org and bixense.com/clicolors.
            let is_set = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
            if is_set(&surroundings.no_color) {
                false
            } else if is_set(&surroundings.clicolor_force)
                && surroundings.clicolor_force.as_deref() != Some("0")
            {
                true
            } else {
                surroundings.has_movable_cursor()
            }
        }
    }
}
