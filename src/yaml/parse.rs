//! Text to tree, with anchors, aliases and merge keys worked out. What would be dropped or guessed elsewhere is
//! refused here with its position: duplicate keys, further documents, tags with a meaning we do not know.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::error::{Error, ErrorKind};
use super::node::{Entry, Mapping, Mark, Node, Origin, Scalar, Style, Value};
use super::scalar::{Resolved, resolve};

/// How many nodes aliases may add in all. Large stacks that merge several anchors into each of a hundred services
/// need some twenty thousand; a "billion laughs" text needs more than any number.
const ALIAS_BUDGET: usize = 400_000;

/// How deep a text may nest: far more than anyone writes, far less than the stack holds.
const DEEPEST: usize = 100;

/// Reads one YAML document. An empty text is the null value.
///
/// `source` is put into every [`Mark`], so that trees from several texts can be merged.
///
/// # Errors
/// Syntax, duplicate keys, keys that are not scalars, a second document, unknown tags, an alias to an unknown
/// anchor or to its own parent, aliases beyond a budget, nesting deeper than 100.
pub fn parse(text: &str, source: usize) -> Result<Node, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        source,
        anchors: HashMap::new(),
        budget: ALIAS_BUDGET,
        depth: 0,
    };
    builder.document()
}

struct Builder<'input> {
    events: Parser<'input, StrInput<'input>>,
    source: usize,
    /// The finished node of each anchor, and how many nodes it holds.
    anchors: HashMap<usize, (Node, usize)>,
    budget: usize,
    depth: usize,
}

impl<'input> Builder<'input> {
    fn document(&mut self) -> Result<Node, Error> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self.refused(span, "a second document in one file", None));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.require(span)?;
                    root = Some(self.node(event, span)?.0);
                }
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => return Err(self.refused(span, "a value outside of a document", None)),
            }
        }
        Ok(root.unwrap_or_else(|| {
            Node::null(Mark {
                source: self.source,
                line: 1,
                column: 1,
            })
        }))
    }

    fn next(&mut self) -> Result<Option<(Event<'input>, Span)>, Error> {
        self.events.next_event().transpose().map_err(|error| {
            let marker = error.marker();
            let mark = Mark {
                source: self.source,
                line: marker.line(),
                column: marker.col() + 1,
            };
            Error::at(mark, ErrorKind::Syntax(error.info().to_owned()))
        })
    }

    fn require(&mut self, last: Span) -> Result<(Event<'input>, Span), Error> {
        self.next()?
            .ok_or_else(|| Error::at(self.mark(last), ErrorKind::Syntax("ends too early".to_owned())))
    }

    /// One value and how many nodes it holds.
    fn node(&mut self, event: Event<'input>, span: Span) -> Result<(Node, usize), Error> {
        let mark = self.mark(span);
        let (node, size, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.scalar_style(style, tag.as_deref(), span)?;
                (Node::scalar(text, plain, Origin::Written, mark), 1, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", span)?;
                let (items, size) = self.deeper(span, |builder| builder.sequence(span))?;
                (
                    Node {
                        value: Value::Sequence(items),
                        mark,
                    },
                    size,
                    anchor,
                )
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", span)?;
                let (mapping, size) = self.deeper(span, |builder| builder.mapping(span))?;
                (
                    Node {
                        value: Value::Mapping(mapping),
                        mark,
                    },
                    size,
                    anchor,
                )
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(Error::at(
                    mark,
                    ErrorKind::Syntax("a value is missing here".to_owned()),
                ));
            }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    fn deeper<T>(
        &mut self,
        span: Span,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.depth >= DEEPEST {
            return Err(self.refused(span, &format!("nested more than {DEEPEST} deep"), None));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(Node, usize), Error> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(self.refused(span, "an alias to something that holds the alias itself", None));
        };
        let size = *size;
        let Some(left) = self.budget.checked_sub(size) else {
            let what = format!("aliases that add more than {ALIAS_BUDGET} values in all");
            return Err(self.refused(span, &what, None));
        };
        let node = node.clone();
        self.budget = left;
        Ok((node, size))
    }

    fn sequence(&mut self, opened: Span) -> Result<(Vec<Node>, usize), Error> {
        let mut items = Vec::new();
        let mut size = 1;
        loop {
            let (event, span) = self.require(opened)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((items, size));
            }
            let (node, more) = self.node(event, span)?;
            items.push(node);
            size += more;
        }
    }

    fn mapping(&mut self, opened: Span) -> Result<(Mapping, usize), Error> {
        let mut mapping = Mapping::default();
        let mut merges: Option<Node> = None;
        let mut size = 1;
        loop {
            let (event, span) = self.require(opened)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_mark = self.mark(span);
            let (key, style) = match self.node(event, span)?.0.value {
                Value::Scalar(Scalar { text, style, .. }) => (text, style),
                Value::Sequence(_) | Value::Mapping(_) => {
                    return Err(self.refused(span, "a key that is a list or a mapping", None));
                }
            };
            Self::require_text(&key, style, key_mark)?;
            let (event, span) = self.require(span)?;
            let (value, more) = self.node(event, span)?;
            size += more + 1;
            if key == "<<" && style == Style::Plain {
                if merges.replace(value).is_some() {
                    let hint = "write `<<: [*first, *second]`: the first wins where both have a key";
                    return Err(Error::at(key_mark, duplicate("<<", Some(hint))));
                }
            } else if mapping.entries.contains_key(&key) {
                return Err(Error::at(key_mark, duplicate(&key, None)));
            } else {
                mapping.entries.insert(key, Entry { key_mark, value });
            }
        }
        if let Some(merges) = merges {
            Self::merge(&mut mapping, merges)?;
        }
        Ok((mapping, size))
    }

    /// `true:` and `1:` are no texts; other readers of the file refuse them or read something else.
    fn require_text(key: &str, style: Style, mark: Mark) -> Result<(), Error> {
        let scalar = Scalar {
            text: key.to_owned(),
            style,
            origin: Origin::Written,
        };
        if matches!(resolve(&scalar), Resolved::Text(_)) {
            return Ok(());
        }
        let what = format!("the key `{key}` is not text");
        let hint = Some(format!("write `\"{key}\"`"));
        Err(Error::at(mark, ErrorKind::Refused { what, hint }))
    }

    /// What is merged here was itself finished before, so nested merge keys need no second round.
    fn merge(mapping: &mut Mapping, merges: Node) -> Result<(), Error> {
        let sources = match merges.value {
            Value::Mapping(source) => vec![source],
            Value::Sequence(items) => items
                .into_iter()
                .map(|item| match item.value {
                    Value::Mapping(source) => Ok(source),
                    Value::Scalar(_) | Value::Sequence(_) => Err(Self::no_mapping(item.mark)),
                })
                .collect::<Result<_, _>>()?,
            Value::Scalar(_) => return Err(Self::no_mapping(merges.mark)),
        };
        for source in sources {
            for (key, entry) in source.entries {
                mapping.entries.entry(key).or_insert(entry);
            }
        }
        Ok(())
    }

    fn no_mapping(mark: Mark) -> Error {
        let what = "`<<` takes a mapping or a list of mappings".to_owned();
        Error::at(mark, ErrorKind::Refused { what, hint: None })
    }

    fn scalar_style(&self, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Style, Error> {
        let written = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted
            | ScalarStyle::DoubleQuoted
            | ScalarStyle::Literal
            | ScalarStyle::Folded => Style::Quoted,
        };
        match tag {
            None => Ok(written),
            Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
                "str" => Ok(Style::Quoted),
                "int" | "float" | "bool" | "null" => Ok(Style::Plain),
                _ => Err(self.unknown_tag(tag, span)),
            },
            Some(tag) => Err(self.unknown_tag(tag, span)),
        }
    }

    fn collection_tag(&self, tag: Option<&Tag>, expected: &str, span: Span) -> Result<(), Error> {
        match tag {
            None => Ok(()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == expected => Ok(()),
            Some(tag) => Err(self.unknown_tag(tag, span)),
        }
    }

    fn unknown_tag(&self, tag: &Tag, span: Span) -> Error {
        let name = if tag.is_yaml_core_schema() {
            format!("!!{}", tag.suffix)
        } else {
            format!("{}{}", tag.handle, tag.suffix)
        };
        let hint = matches!(name.as_str(), "!reset" | "!override")
            .then_some("leave the key out of the earlier file, or write the value whole in one file");
        self.refused(span, &format!("the tag `{name}` is not supported"), hint)
    }

    fn refused(&self, span: Span, what: &str, hint: Option<&str>) -> Error {
        let kind = ErrorKind::Refused {
            what: what.to_owned(),
            hint: hint.map(str::to_owned),
        };
        Error::at(self.mark(span), kind)
    }

    fn mark(&self, span: Span) -> Mark {
        Mark {
            source: self.source,
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }
}

fn duplicate(key: &str, hint: Option<&str>) -> ErrorKind {
    ErrorKind::Refused {
        what: format!("the key `{key}` stands twice"),
        hint: hint.map(str::to_owned),
    }
}
