//! `.dockerignore`: which paths of a build context stay behind. The rules are those of the Docker builder, not of
//! git: patterns are anchored at the context's root, `*` stops at a slash, `**` does not, the last pattern that says
//! something wins, and what lies below a matched folder is matched with it, but can be taken back by `!`.
//! Pure: works on texts.

/// The patterns of one file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnorePatterns {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    takes_back: bool,
    tokens: Vec<Token>,
    /// The text up to the first wildcard: what any match begins with.
    fixed_start: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Exactly(char),
    /// `?`: one character of a name.
    One,
    /// `*`: any characters of a name.
    Some,
    /// `**` before something: any folders, or none.
    Folders,
    /// `**` at the end: everything.
    Rest,
    /// `[a-z]`, `[^a-z]`.
    Class {
        except: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern that means nothing: which, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{pattern}`: {why}")]
pub struct InvalidPattern {
    pub line: usize,
    pub pattern: String,
    pub why: &'static str,
}

impl IgnorePatterns {
    /// Reads a `.dockerignore`.
    ///
    /// # Errors
    /// The first line whose pattern means nothing.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // A comment begins in the first column; `#` elsewhere is part of a name.
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            patterns.push(Pattern::parse(line).map_err(|why| InvalidPattern {
                line: index + 1,
                pattern: line.to_owned(),
                why,
            })?);
        }
        Ok(Self { patterns })
    }

    /// Whether a path (relative to the context, with `/`) stays behind.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for pattern in &self.patterns {
            // Only a pattern that would change the answer is asked.
            if pattern.takes_back == excluded && pattern.matches_or_holds(path) {
                excluded = !pattern.takes_back;
            }
        }
        excluded
    }

    /// Whether something below an excluded folder may be taken back, so that it must be looked into.
    pub fn may_take_back_below(&self, folder: &str) -> bool {
        let folder = format!("{folder}/");
        self.patterns
            .iter()
            .filter(|pattern| pattern.takes_back)
            .any(|pattern| {
                // Either may be the longer one.
                pattern.fixed_start.starts_with(&folder)
                    || (pattern.has_wildcard() && folder.starts_with(&pattern.fixed_start))
            })
    }
}

impl Pattern {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let (takes_back, text) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if text.is_empty() {
            return Err("nothing follows the `!`");
        }
        let text = cleaned(text);
        let tokens = tokens(&text)?;
        let fixed_start = tokens
            .iter()
            .map_while(|token| match token {
                Token::Exactly(character) => Some(*character),
                Token::One | Token::Some | Token::Folders | Token::Rest | Token::Class { .. } => None,
            })
            .collect();
        Ok(Self {
            takes_back,
            tokens,
            fixed_start,
        })
    }

    fn has_wildcard(&self) -> bool {
        self.tokens.len() > self.fixed_start.chars().count()
    }

    /// The path itself, or a folder that it lies in.
    fn matches_or_holds(&self, path: &str) -> bool {
        self.matches(path)
            || path
                .char_indices()
                .filter(|(_, character)| *character == '/')
                .any(|(end, _)| path.get(..end).is_some_and(|folder| self.matches(folder)))
    }

    /// Follows every way through the pattern at once: `reached[n]` says that the tokens so far can end before the
    /// n-th character. Linear in both lengths, whatever the pattern.
    fn matches(&self, path: &str) -> bool {
        let text: Vec<char> = path.chars().collect();
        let mut reached = vec![false; text.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        for token in &self.tokens {
            reached = token.step(&text, &reached);
        }
        reached.last().copied().unwrap_or_default()
    }
}

impl Token {
    fn step(&self, text: &[char], reached: &[bool]) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        let mut running = false;
        for (position, now) in reached.iter().enumerate() {
            let before = position.checked_sub(1).and_then(|index| text.get(index));
            let was = position
                .checked_sub(1)
                .and_then(|index| reached.get(index))
                .copied()
                .unwrap_or_default();
            let ends_here = match self {
                Self::Exactly(wanted) => was && before == Some(wanted),
                Self::One => was && before != Some(&'/'),
                Self::Class { except, ranges } => {
                    was && before.is_some_and(|character| {
                        ranges.iter().any(|(low, high)| (low..=high).contains(&character)) != *except
                    })
                }
                Self::Some => {
                    running = *now || (running && before != Some(&'/'));
                    running
                }
                Self::Folders => {
                    running = running || was;
                    *now || (running && before == Some(&'/'))
                }
                Self::Rest => {
                    running = running || *now;
                    running
                }
            };
            if let Some(slot) = next.get_mut(position) {
                *slot = ends_here;
            }
        }
        next
    }
}

/// Without `.` parts, doubled slashes, `x/..`, and the slash at either end.
fn cleaned(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if text.starts_with('/') => {}
            other => parts.push(other),
        }
    }
    parts.join("/")
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        tokens.push(match character {
            '*' if rest.next_if_eq(&'*').is_some() => {
                let more = rest.next_if_eq(&'/').is_some();
                if rest.peek().is_none() && !more {
                    Token::Rest
                } else {
                    Token::Folders
                }
            }
            '*' => Token::Some,
            '?' => Token::One,
            '\\' => Token::Exactly(rest.next().ok_or("nothing follows the `\\`")?),
            '[' => class(&mut rest)?,
            other => Token::Exactly(other),
        });
    }
    Ok(tokens)
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "the `[` is not closed";
    let except = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let mut single = || match rest.next().ok_or(OPEN)? {
            '\\' => rest.next().ok_or(OPEN),
            other => Ok(other),
        };
        let low = single()?;
        if low == ']' {
            if ranges.is_empty() {
                return Err("the `[…]` holds nothing");
            }
            return Ok(Token::Class { except, ranges });
        }
        let high = if rest.next_if_eq(&'-').is_some() {
            match rest.next().ok_or(OPEN)? {
                ']' => return Err("the range in `[…]` has no end"),
                '\\' => rest.next().ok_or(OPEN)?,
                other => other,
            }
        } else {
            low
        };
        ranges.push((low, high));
    }
}
