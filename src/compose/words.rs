//! A command written as one text, cut into words: quotes and backslashes as in a shell, and nothing else of a
//! shell. What only a shell could do is refused, where Compose cuts the command short without a word.

/// Cuts a command into words.
///
/// # Errors
/// A quote that does not close, or an operator that needs a shell; in words, without the text.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(inner) => word.push(inner),
                        None => return Err("a single quote does not close".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => word.extend(characters.next()),
                        Some(inner) => word.push(inner),
                        None => return Err("a double quote does not close".to_owned()),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            ';' | '&' | '|' | '<' | '>' | '(' | ')' | '`' => {
                return Err(format!("`{character}` means nothing without a shell"));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}
