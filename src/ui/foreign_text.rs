//! Makes text that others wrote (process output, log lines, names from an engine) safe to print: terminal escapes
//! are taken out, other control characters become `?`. It does not judge or shorten the text.
//!
//! A log line could otherwise clear the screen, rewrite the line above it or fake a tick.

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';
const STRING_TERMINATOR: char = '\u{9c}';

/// Returns the text as one printable line: line breaks and tabs become spaces.
pub fn printable_line(text: &str) -> String {
    neutralise(text.trim_end_matches('\n'), false)
}

/// Returns the text with its line breaks, and nothing else that could move a cursor.
pub fn printable_block(text: &str) -> String {
    neutralise(text, true)
}

fn neutralise(text: &str, keep_line_breaks: bool) -> String {
    let mut printable = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            ESCAPE => skip_escape(&mut rest, &mut printable),
            // The same introducers as a single character.
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => {
                skip_control_string(&mut rest, &mut printable);
            }
            '\n' if keep_line_breaks => printable.push('\n'),
            '\n' => printable.push(' '),
            // The other half of a line break.
            '\r' if matches!(rest.clone().next(), Some('\n') | None) => {}
            '\t' => printable.push_str("    "),
            other if moves_or_hides(other) => printable.push('?'),
            other => printable.push(other),
        }
    }
    printable
}

/// Control characters, and those that reorder or hide what stands beside them.
fn moves_or_hides(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// After ESC. Where what follows is no escape, the ESC alone is shown as `?`.
fn skip_escape(rest: &mut std::str::Chars<'_>, printable: &mut String) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            *rest = ahead;
            skip_control_sequence(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            *rest = ahead;
            skip_control_string(rest, printable);
        }
        // Intermediates, then one final character: `ESC ( B`.
        Some(' '..='/') => {
            while let Some(' '..='/') = ahead.clone().next() {
                ahead.next();
            }
            if let Some('0'..='~') = ahead.clone().next() {
                ahead.next();
            }
            *rest = ahead;
        }
        Some('0'..='~') => *rest = ahead,
        Some(_) | None => printable.push('?'),
    }
}

/// Parameters and intermediates up to one final character.
fn skip_control_sequence(rest: &mut std::str::Chars<'_>) {
    while let Some(' '..='?') = rest.clone().next() {
        rest.next();
    }
    if let Some('@'..='~') = rest.clone().next() {
        rest.next();
    }
}

/// Everything up to BEL or the string terminator. One that never ends is not allowed to swallow the text.
fn skip_control_string(rest: &mut std::str::Chars<'_>, printable: &mut String) {
    let mut ahead = rest.clone();
    while let Some(character) = ahead.next() {
        match character {
            BELL | STRING_TERMINATOR => {
                *rest = ahead;
                return;
            }
            ESCAPE if ahead.clone().next() == Some('\\') => {
                ahead.next();
                *rest = ahead;
                return;
            }
            '\n' => break,
            _ => {}
        }
    }
    printable.push('?');
}
