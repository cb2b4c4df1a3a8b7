//! Texts with `{{name}}` in them, in which a notice puts its facts. Which names there are, and that no other is written;
//! what they become is `notify`'s business.

use std::fmt;

/// A text with places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeTemplate(Vec<Piece>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Place(Placeholder),
}

/// What can stand between `{{` and `}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    Title,
    Text,
    Moment,
    Project,
    Command,
    Run,
    Release,
    ReleaseBefore,
    Serves,
    By,
    Started,
    Seconds,
    ExitCode,
    Step,
    Service,
    Error,
    Evidence,
    Warnings,
    Changes,
    Next,
}

impl Placeholder {
    /// In the order in which they are told.
    pub const ALL: [Self; 20] = [
        Self::Title,
        Self::Text,
        Self::Moment,
        Self::Project,
        Self::Command,
        Self::Run,
        Self::Release,
        Self::ReleaseBefore,
        Self::Serves,
        Self::By,
        Self::Started,
        Self::Seconds,
        Self::ExitCode,
        Self::Step,
        Self::Service,
        Self::Error,
        Self::Evidence,
        Self::Warnings,
        Self::Changes,
        Self::Next,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Text => "text",
            Self::Moment => "moment",
            Self::Project => "project",
            Self::Command => "command",
            Self::Run => "run",
            Self::Release => "release",
            Self::ReleaseBefore => "release_before",
            Self::Serves => "serves",
            Self::By => "by",
            Self::Started => "started",
            Self::Seconds => "seconds",
            Self::ExitCode => "exit_code",
            Self::Step => "step",
            Self::Service => "service",
            Self::Error => "error",
            Self::Evidence => "evidence",
            Self::Warnings => "warnings",
            Self::Changes => "changes",
            Self::Next => "next",
        }
    }
}

impl NoticeTemplate {
    /// Its pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Takes it apart.
    ///
    /// # Errors
    /// A name that nobody knows, and `{{` without its `}}`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                return Err(TemplateError::Open);
            };
            let name = name.trim();
            let known = Placeholder::ALL.into_iter().find(|known| known.as_str() == name);
            let Some(known) = known else {
                return Err(TemplateError::Unknown(name.to_owned()));
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Place(known));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// With every place filled.
    pub fn filled(&self, value: impl Fn(Placeholder) -> String) -> String {
        let filled = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Place(placeholder) => value(*placeholder),
        });
        filled.collect()
    }
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    Unknown(String),
    Open,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let names = Placeholder::ALL.map(Placeholder::as_str);
                write!(f, "there is no `{{{{{name}}}}}`")?;
                if let Some(near) = crate::yaml::nearest(name, names) {
                    write!(f, "; did you mean `{{{{{near}}}}}`?")?;
                }
                write!(f, "{}known are {}", crate::yaml::HINT_FOLLOWS, names.join(", "))
            }
            Self::Open => f.write_str("`{{` without its `}}`"),
        }
    }
}

impl<'de> serde::Deserialize<'de> for NoticeTemplate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
