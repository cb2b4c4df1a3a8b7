//! Where something stands in JSON: `copies[0].exam.title`.
//!
//! Names are parted by dots. A position in a list stands in brackets, counted from 0; `[-1]` is the last one. A name that has
//! a dot or a bracket in it stands in brackets and double quotes: `headers["x.y"]`. Nothing else is understood: no `$`,
//! no filters, no wildcards.

use std::fmt;

use serde_json::Value;

/// The way to one value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct JsonPath {
    written: String,
    steps: Vec<PathStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PathStep {
    Name(String),
    /// Counted from the end where negative.
    Position(i64),
}

impl JsonPath {
    /// What stands there; `None` where nothing does.
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.steps.iter().try_fold(value, |value, step| match step {
            PathStep::Name(name) => value.as_object()?.get(name),
            PathStep::Position(position) => {
                let list = value.as_array()?;
                let length = i64::try_from(list.len()).ok()?;
                let from_start = if *position < 0 {
                    length + position
                } else {
                    *position
                };
                list.get(usize::try_from(from_start).ok()?)
            }
        })
    }
}

/// As it was written.
impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl TryFrom<String> for JsonPath {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        match steps(&written) {
            Some(steps) => Ok(Self { written, steps }),
            None => Err(format!(
                "`{written}` is no way into JSON; it is written as in `copies[0].exam` or `headers[\"x.y\"]`"
            )),
        }
    }
}

fn steps(written: &str) -> Option<Vec<PathStep>> {
    let mut steps = Vec::new();
    let mut rest = written;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (name, after) = quoted.split_once("\"]")?;
            steps.push(PathStep::Name(name.to_owned()));
            rest = after;
        } else if let Some(position) = rest.strip_prefix('[') {
            let (position, after) = position.split_once(']')?;
            steps.push(PathStep::Position(position.parse().ok()?));
            rest = after;
        } else {
            let name = match rest.strip_prefix('.') {
                Some(_) if steps.is_empty() => return None,
                Some(name) => name,
                None if steps.is_empty() => rest,
                None => return None,
            };
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            if name.is_empty() || name.contains(']') {
                return None;
            }
            steps.push(PathStep::Name(name.to_owned()));
            rest = after;
        }
    }
    (!steps.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::JsonPath;

    #[test]
    fn a_way_leads_to_one_value() {
        let value = json!({"a": {"b": [{"c": 1}, {"c": null}]}, "x.y": [[2, 3]], "": 4});
        for (way, found) in [
            ("a.b[0].c", Some(json!(1))),
            ("a.b[1].c", Some(json!(null))),
            ("a.b[-1].c", Some(json!(null))),
            ("a.b[2].c", None),
            ("a.b[-3]", None),
            ("a.b.c", None),
            ("a[0]", None),
            ("[\"x.y\"][0][1]", Some(json!(3))),
            ("[\"\"]", Some(json!(4))),
            ("b", None),
        ] {
            let path = JsonPath::try_from(way.to_owned()).unwrap();
            assert_eq!(path.find(&value).cloned(), found, "{way}");
            assert_eq!(path.to_string(), way);
        }
        let list = JsonPath::try_from("[0].id".to_owned()).unwrap();
        assert_eq!(list.find(&json!([{"id": 7}])), Some(&json!(7)));
    }

    #[test]
    fn what_is_no_way_is_refused() {
        for way in ["", ".a", "a..b", "a.", "a[", "a[b]", "a[0]b", "a]", "a[]"] {
            assert!(JsonPath::try_from(way.to_owned()).is_err(), "{way}");
        }
    }
}
