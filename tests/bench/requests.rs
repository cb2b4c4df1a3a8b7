//! The mix: what is asked, as which bytes, and which status is expected. The same request for the same number, always.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::http::{Answer, ask};
use super::record::Kind;

const HOST: &str = "viatique.example.com";
/// What a scan weighs: sent evenly over seconds.
const SCAN_BYTES: usize = 256 * 1024;
const BOUNDARY: &str = "----viatique-benchmark";

/// A cycle of ten: eight GET, two POST.
const CYCLE: [Kind; 10] = [
    Kind::Health,
    Kind::Page,
    Kind::Post,
    Kind::Asset,
    Kind::Health,
    Kind::Page,
    Kind::Release,
    Kind::Post,
    Kind::Asset,
    Kind::Health,
];

/// What the request with this number asks; uploads are counted on their own.
pub(crate) fn kind(number: usize) -> Kind {
    CYCLE[number % CYCLE.len()]
}

/// A request that only has to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: u16,
}

/// A teacher who is logged in, and what there is to annotate and to upload.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    cookies: String,
    token: String,
    /// A static file's path, as the release that served the login page named it.
    asset: String,
    copies: Vec<u64>,
    exam: u64,
    pupils: Vec<u64>,
    /// How many of them have a copy already, over all loads.
    uploaded: Arc<AtomicUsize>,
}

impl Visitor {
    /// Logs in as the demo's teacher. `seeded` is what seeding printed.
    pub(crate) fn log_in(port: u16, seeded: &Value) -> Result<Self> {
        let page = ask(port, &get("/admin/login/"))?.text();
        let asset = hashed_asset(&page)
            .with_context(|| format!("the login page names no static file with a hash:\n{page}"))?;
        let session = ask(port, &get("/api/session/"))?;
        let credentials = r#"{"username":"teacher","password":"viatique-demo"}"#;
        let request = post(
            "/api/login/",
            &cookies(&session),
            &token(&session)?,
            "application/json",
            credentials.as_bytes(),
        );
        let session = ask(port, &request)?;
        ensure!(session.status == 200, "logging in: {}", session.text());
        let numbers = |field: &str| -> Result<Vec<u64>> {
            let listed = seeded[field].as_array().context("seeding printed no list")?;
            Ok(listed.iter().filter_map(Value::as_u64).collect())
        };
        let visitor = Self {
            cookies: cookies(&session),
            token: token(&session)?,
            asset,
            copies: numbers("copies")?,
            exam: seeded["exam"].as_u64().context("seeding printed no exam")?,
            pupils: numbers("pupils")?,
            uploaded: Arc::default(),
        };
        ensure!(!visitor.copies.is_empty(), "seeding made no copies");
        Ok(visitor)
    }

    /// How many more uploads there can be: a pupil has one copy of an exam.
    pub(crate) fn uploads(&self) -> usize {
        self.pupils.len() - self.uploaded.load(Ordering::Relaxed)
    }

    /// The request with this number. Each upload is for the next pupil, whatever its number: a second copy would be
    /// refused.
    pub(crate) fn request(&self, kind: Kind, number: usize) -> Request {
        match kind {
            Kind::Health => expecting(200, get("/health/")),
            Kind::Page => expecting(200, get("/")),
            Kind::Release => expecting(200, get("/release.json")),
            Kind::Asset => expecting(200, get(&self.asset)),
            Kind::Post => {
                let copy = self.copies[number % self.copies.len()];
                let body = format!(r#"{{"page":1,"x":0.5,"y":0.5,"text":"request {number}","mark":0.25}}"#);
                expecting(
                    201,
                    post(
                        &format!("/api/copies/{copy}/annotations/"),
                        &self.cookies,
                        &self.token,
                        "application/json",
                        body.as_bytes(),
                    ),
                )
            }
            Kind::Upload => {
                let next = self.uploaded.fetch_add(1, Ordering::Relaxed);
                let pupil = self.pupils[next % self.pupils.len()];
                let body = form(self.exam, pupil, &scan(number));
                let kind = format!("multipart/form-data; boundary={BOUNDARY}");
                expecting(
                    201,
                    post("/api/copies/", &self.cookies, &self.token, &kind, &body),
                )
            }
        }
    }
}

/// The release that this answer names.
pub(crate) fn release(kind: Kind, answer: &Answer) -> Option<String> {
    match kind {
        Kind::Health | Kind::Release => {
            let body: Value = serde_json::from_slice(&answer.body).ok()?;
            body["release"].as_str().map(ToOwned::to_owned)
        }
        Kind::Page | Kind::Asset | Kind::Post | Kind::Upload => None,
    }
}

const fn expecting(expected: u16, bytes: Vec<u8>) -> Request {
    Request { bytes, expected }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").into_bytes()
}

fn post(path: &str, cookies: &str, token: &str, content: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nCookie: {cookies}\r\n\
         X-CSRFToken: {token}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend(body);
    bytes
}

fn form(exam: u64, pupil: u64, scan: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"exam\"\r\n\r\n{exam}\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"pupil\"\r\n\r\n{pupil}\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"scan\"; filename=\"scan.png\"\r\n\
         Content-Type: image/png\r\n\r\n"
    )
    .into_bytes();
    body.extend(scan);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// A PNG's first bytes, then noise that compresses as little as a photograph (xorshift, seeded by the number).
fn scan(number: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    while bytes.len() < SCAN_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

fn cookies(answer: &Answer) -> String {
    let set = answer.headers("set-cookie");
    let pairs: Vec<&str> = set.filter_map(|cookie| cookie.split(';').next()).collect();
    pairs.join("; ")
}

fn token(session: &Answer) -> Result<String> {
    let body: Value = serde_json::from_slice(&session.body)
        .with_context(|| format!("no session: {} {}", session.status, session.text()))?;
    let token = body["csrf_token"].as_str().context("no CSRF token")?;
    Ok(token.to_owned())
}

fn hashed_asset(page: &str) -> Option<String> {
    let paths = page.split('"').filter(|text| text.starts_with("/static/"));
    let mut hashed = paths.filter(|path| {
        let mut parts = path.rsplit('.').skip(1);
        parts
            .next()
            .is_some_and(|hash| hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    hashed.next().map(ToOwned::to_owned)
}
