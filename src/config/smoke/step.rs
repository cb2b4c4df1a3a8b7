//! One step of a scenario: a request, what is expected of its answer, and what is kept of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error};

use super::{Expectation, JsonPath, JsonTemplate, Template, VariableName};
use crate::config::count;
use crate::config::quantity::HumanDuration;
use crate::yaml::HINT_FOLLOWS;

/// One request.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(try_from = "Written")]
pub struct SmokeStep {
    /// For people.
    pub name: Option<String>,
    pub method: SmokeMethod,
    /// From the site's root: it begins with `/`, or with a capture that does.
    pub path: Template,
    pub headers: BTreeMap<String, Template>,
    pub query: BTreeMap<String, Template>,
    pub body: SmokeBody,
    /// Whether Django's CSRF token goes with it, where there is one and the method is not GET.
    pub csrf: bool,
    /// How many redirects are followed.
    pub follow: u32,
    pub expect: Expectation,
    pub capture: BTreeMap<VariableName, Capture>,
    /// Asked again until it is as expected; of a GET only.
    pub repeat: Option<SmokeRepeat>,
}

/// How a path is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmokeMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl SmokeMethod {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for SmokeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum SmokeBody {
    None,
    /// As a browser sends a form.
    Form(BTreeMap<String, Template>),
    Json(JsonTemplate),
    /// As a browser sends a form with files.
    Multipart {
        fields: BTreeMap<String, Template>,
        files: BTreeMap<String, SmokeFile>,
    },
}

/// A file that is sent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "WrittenFile")]
pub struct SmokeFile {
    pub content: SmokeFileContent,
    /// As the browser would name it.
    pub name: String,
    /// Its MIME type: `application/octet-stream` by default.
    pub kind: String,
}

/// Where its content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmokeFileContent {
    /// As written, from the folder of `deploy.yml`.
    File(PathBuf),
    Text(Template),
}

/// How often a GET is asked again, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmokeRepeat {
    /// Between an answer and the next request.
    pub every: HumanDuration,
    pub r#for: HumanDuration,
}

/// What is kept of an answer under a name.
#[derive(Debug, Clone)]
pub struct Capture {
    pub from: CaptureFrom,
    /// It is never shown.
    pub secret: bool,
}

/// Where it stands.
#[derive(Debug, Clone)]
pub enum CaptureFrom {
    Json(JsonPath),
    Header(String),
    Cookie(String),
    /// The one group of this expression.
    Body(regex_lite::Regex),
}

impl PartialEq for Capture {
    fn eq(&self, other: &Self) -> bool {
        let from = match (&self.from, &other.from) {
            (CaptureFrom::Json(one), CaptureFrom::Json(other)) => one == other,
            (CaptureFrom::Header(one), CaptureFrom::Header(other))
            | (CaptureFrom::Cookie(one), CaptureFrom::Cookie(other)) => one == other,
            (CaptureFrom::Body(one), CaptureFrom::Body(other)) => one.as_str() == other.as_str(),
            (
                CaptureFrom::Json(_) | CaptureFrom::Header(_) | CaptureFrom::Cookie(_) | CaptureFrom::Body(_),
                _,
            ) => false,
        };
        from && self.secret == other.secret
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    get: Option<Path>,
    post: Option<Path>,
    put: Option<Path>,
    patch: Option<Path>,
    delete: Option<Path>,
    #[serde(default)]
    headers: BTreeMap<HeaderName, Template>,
    #[serde(default)]
    query: BTreeMap<String, Template>,
    form: Option<BTreeMap<String, Template>>,
    json: Option<JsonTemplate>,
    files: Option<BTreeMap<String, SmokeFile>>,
    csrf: Option<bool>,
    #[serde(default, deserialize_with = "follow")]
    follow: u32,
    #[serde(default)]
    expect: Expectation,
    #[serde(default)]
    capture: BTreeMap<VariableName, Capture>,
    repeat: Option<SmokeRepeat>,
}

fn follow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    count::from_one_to::<10, _>(deserializer)
}

/// A path of the site.
struct Path(Template);

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.starts_with('/') && !text.starts_with("${") {
            return Err(D::Error::custom(format_args!(
                "`{text}` is no path of the site: it begins with `/`, or with a `${{name}}` whose value does"
            )));
        }
        Template::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
struct HeaderName(String);

impl TryFrom<String> for HeaderName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(known) {
            return Err(format!("`{name}` is no header's name"));
        }
        Ok(Self(name))
    }
}

const ONE_METHOD: &str = "write one of `get`, `post`, `put`, `patch` and `delete`, with the path";

impl TryFrom<Written> for SmokeStep {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let asked = [
            (SmokeMethod::Get, written.get),
            (SmokeMethod::Post, written.post),
            (SmokeMethod::Put, written.put),
            (SmokeMethod::Patch, written.patch),
            (SmokeMethod::Delete, written.delete),
        ];
        let mut asked = asked
            .into_iter()
            .filter_map(|(method, path)| Some((method, path?.0)));
        let (method, path) = asked
            .next()
            .ok_or_else(|| format!("the step asks for nothing{HINT_FOLLOWS}{ONE_METHOD}"))?;
        if let Some((other, _)) = asked.next() {
            return Err(format!(
                "the step is a {method} and a {other}{HINT_FOLLOWS}{ONE_METHOD}"
            ));
        }
        let body = body(written.form, written.json, written.files)?;
        let is_get = method == SmokeMethod::Get;
        if is_get && body != SmokeBody::None {
            return Err(format!(
                "a GET has no body{HINT_FOLLOWS}write `query`, for what stands behind the `?`"
            ));
        }
        if !is_get && written.repeat.is_some() {
            return Err("only a GET is asked again: `repeat` would write several times".to_owned());
        }
        if is_get && written.csrf.is_some() {
            return Err("a GET needs no CSRF token: `csrf` has no use here".to_owned());
        }
        Ok(Self {
            name: written.name,
            method,
            path,
            headers: written
                .headers
                .into_iter()
                .map(|(name, value)| (name.0, value))
                .collect(),
            query: written.query,
            body,
            csrf: written.csrf.unwrap_or(true),
            follow: written.follow,
            expect: written.expect,
            capture: written.capture,
            repeat: written.repeat,
        })
    }
}

fn body(
    form: Option<BTreeMap<String, Template>>,
    json: Option<JsonTemplate>,
    files: Option<BTreeMap<String, SmokeFile>>,
) -> Result<SmokeBody, String> {
    match (form, json, files) {
        (None, None, None) => Ok(SmokeBody::None),
        (Some(form), None, None) => Ok(SmokeBody::Form(form)),
        (None, Some(json), None) => Ok(SmokeBody::Json(json)),
        (fields, None, Some(files)) => Ok(SmokeBody::Multipart {
            fields: fields.unwrap_or_default(),
            files,
        }),
        (Some(_), Some(_), _) | (_, Some(_), Some(_)) => {
            Err("a body is `json`, or a `form`, with `files` or without, and not both".to_owned())
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    file: Option<PathBuf>,
    text: Option<Template>,
    name: Option<String>,
    r#type: Option<String>,
}

impl TryFrom<WrittenFile> for SmokeFile {
    type Error = String;

    fn try_from(written: WrittenFile) -> Result<Self, String> {
        let (content, own_name) = match (written.file, written.text) {
            (Some(file), None) => {
                let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
                (SmokeFileContent::File(file), name)
            }
            (None, Some(text)) => (SmokeFileContent::Text(text), None),
            (Some(_), Some(_)) | (None, None) => {
                return Err(
                    "what is sent is a `file` of this machine, or a `text`: write one of them".to_owned(),
                );
            }
        };
        let name = written.name.or(own_name);
        let name = name.ok_or_else(|| format!("the file has no name{HINT_FOLLOWS}write `name`"))?;
        Ok(Self {
            content,
            name,
            kind: written
                .r#type
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
        })
    }
}

impl<'de> Deserialize<'de> for Capture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            json: Option<JsonPath>,
            header: Option<String>,
            cookie: Option<String>,
            body: Option<String>,
            #[serde(default)]
            secret: bool,
        }

        let written = Written::deserialize(deserializer)?;
        let from = match (written.json, written.header, written.cookie, written.body) {
            (Some(path), None, None, None) => CaptureFrom::Json(path),
            (None, Some(name), None, None) => CaptureFrom::Header(name),
            (None, None, Some(name), None) => CaptureFrom::Cookie(name),
            (None, None, None, Some(expression)) => {
                CaptureFrom::Body(regular(&expression).map_err(D::Error::custom)?)
            }
            (_, _, _, _) => {
                return Err(D::Error::custom(
                    "a capture comes from one place: write one of `json`, `header`, `cookie` and `body`",
                ));
            }
        };
        Ok(Self {
            from,
            secret: written.secret,
        })
    }
}

fn regular(expression: &str) -> Result<regex_lite::Regex, String> {
    let compiled = regex_lite::Regex::new(expression)
        .map_err(|error| format!("`{expression}` is no regular expression: {error}"))?;
    // The whole match is counted, too.
    match compiled.captures_len() {
        2 => Ok(compiled),
        groups => Err(format!(
            "`{expression}` must have one group, which is what is kept, and has {}",
            groups - 1
        )),
    }
}
