//! A line for people: stretches of text, each with a role, that can be measured, cut, wrapped and painted. What a
//! line says is decided elsewhere. Every text passes through `printable_line` here, so no reporter can forget it.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::foreign_text::printable_line;

/// What a stretch of text is, which decides its colour. The words must be enough without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Warning,
    Accent,
}

impl Role {
    const fn codes(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Bad => Some("1;31"),
            Self::Warning => Some("33"),
            Self::Accent => Some("36"),
        }
    }
}

/// One line. Contains no control character.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line {
    spans: Vec<(Role, String)>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn of(role: Role, text: &str) -> Self {
        Self::new().and(role, text)
    }

    /// Adds text at the end.
    #[must_use]
    pub(super) fn and(mut self, role: Role, text: &str) -> Self {
        if !text.is_empty() {
            self.spans.push((role, printable_line(text)));
        }
        self
    }

    /// Adds another line at the end of this one.
    #[must_use]
    pub(super) fn then(mut self, other: Self) -> Self {
        self.spans.extend(other.spans);
        self
    }

    /// Fills up with spaces to a width; what is longer stays.
    #[must_use]
    pub(super) fn padded(self, columns: usize) -> Self {
        let missing = columns.saturating_sub(self.width());
        self.and(Role::Plain, &" ".repeat(missing))
    }

    /// Cuts to a width; `…` says that something was cut.
    #[must_use]
    pub(super) fn truncated(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns;
        let mut spans = Vec::new();
        for (role, text) in self.spans {
            if text.width() < left {
                left -= text.width();
                spans.push((role, text));
            } else {
                spans.push((role, cut(&text, left)));
                break;
            }
        }
        Self { spans }
    }

    /// Broken between words into lines of a width, the later ones indented so far. A longer word keeps its line.
    pub(super) fn wrapped(self, columns: usize, indent: usize) -> Vec<Self> {
        if self.width() <= columns {
            return vec![self];
        }
        let mut lines = Vec::new();
        let mut line = Self::new();
        let mut gap = String::new();
        for (role, text) in self.spans {
            for piece in text.split_inclusive(' ') {
                let word = piece.trim_end_matches(' ');
                let is_begun = !line.spans.is_empty() && !gap.is_empty();
                if is_begun && !word.is_empty() && line.width() + gap.width() + word.width() > columns {
                    gap.clear();
                    let next = Self::of(Role::Plain, &" ".repeat(indent));
                    lines.push(std::mem::replace(&mut line, next));
                }
                let word_and_gap = std::mem::take(&mut gap) + word;
                match line.spans.last_mut() {
                    Some((last, so_far)) if *last == role => so_far.push_str(&word_and_gap),
                    Some(_) | None => line.spans.push((role, word_and_gap)),
                }
                gap.push_str(piece.get(word.len()..).unwrap_or_default());
            }
        }
        lines.push(line);
        lines
    }

    pub(super) fn width(&self) -> usize {
        self.spans.iter().map(|(_, text)| text.width()).sum()
    }

    /// Returns the line as it is written, without a line break.
    pub(super) fn painted(&self, color: bool) -> String {
        let mut written = String::new();
        for (role, text) in &self.spans {
            match role.codes() {
                Some(codes) if color => {
                    written.push_str("\u{1b}[");
                    written.push_str(codes);
                    written.push('m');
                    written.push_str(text);
                    written.push_str("\u{1b}[0m");
                }
                Some(_) | None => written.push_str(text),
            }
        }
        if color {
            written
        } else {
            written.trim_end().to_owned()
        }
    }
}

/// Returns the text cut to a width, with `…` in place of what was cut.
pub(super) fn fitted(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        text.to_owned()
    } else {
        cut(text, columns)
    }
}

fn cut(text: &str, columns: usize) -> String {
    let room = columns.saturating_sub(1);
    let mut kept = String::new();
    let mut used = 0;
    for character in text.chars() {
        let width = character.width().unwrap_or(0);
        if used + width > room {
            break;
        }
        used += width;
        kept.push(character);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Breaks text between words into lines of a width. A longer word keeps its line: a path or a command is of no use
/// in two halves.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
