//! S3-compatible storage on 127.0.0.1, as far as copies of backups use it: objects in memory, whole or in parts, listed
//! by prefix. Can be told to fail, and to damage what it keeps.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The storage, until it is dropped with the test.
pub(crate) struct FakeS3 {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By `bucket/key`.
    objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// Answers so many times with this status before anything is done.
    refuses: Vec<u16>,
    /// Keeps what it is sent with a bit flipped.
    damages: bool,
    /// Whoever is not this one may nothing.
    key: String,
}

impl FakeS3 {
    /// Whoever has this access key may everything.
    pub(crate) fn start(key: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let state = Arc::new(Mutex::new(State {
            key: key.to_owned(),
            ..State::default()
        }));
        let started = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::clone(&state),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        started
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().objects.get(name).cloned()
    }

    pub(crate) fn change(&self, name: &str, content: &[u8]) {
        self.state
            .lock()
            .unwrap()
            .objects
            .insert(name.to_owned(), content.to_vec());
    }

    /// The next requests are answered with these, one after the other.
    pub(crate) fn refuse(&self, statuses: &[u16]) {
        self.state.lock().unwrap().refuses = statuses.to_vec();
    }

    pub(crate) fn damage(&self, damages: bool) {
        self.state.lock().unwrap().damages = damages;
    }

    /// Uploads in parts that were neither finished nor given up.
    pub(crate) fn unfinished(&self) -> usize {
        self.state.lock().unwrap().parts.len()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut answers = stream.try_clone().unwrap();
    let mut requests = BufReader::new(stream);
    while let Some((method, target, headers, body)) = request(&mut requests) {
        let (status, content) = answer(state, &method, &target, &headers, body);
        let length = content.len();
        let etag = "ETag: \"1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
        let head = format!("HTTP/1.1 {status} so\r\n{etag}Content-Length: {length}\r\n\r\n");
        let body = if method == "HEAD" { &[][..] } else { &content };
        if answers
            .write_all(head.as_bytes())
            .and_then(|()| answers.write_all(body))
            .is_err()
        {
            return;
        }
    }
}

type Headers = BTreeMap<String, String>;

fn request(from: &mut impl BufRead) -> Option<(String, String, Headers, Vec<u8>)> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Headers::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((method, target, headers, body))
}

fn answer(
    state: &Mutex<State>,
    method: &str,
    target: &str,
    headers: &Headers,
    mut body: Vec<u8>,
) -> (u16, Vec<u8>) {
    let mut state = state.lock().unwrap();
    if !state.refuses.is_empty() {
        return (state.refuses.remove(0), Vec::new());
    }
    let signed = headers.get("authorization").cloned().unwrap_or_default();
    if !signed.contains(&format!("Credential={}/", state.key)) {
        return (403, b"<Error><Code>AccessDenied</Code></Error>".to_vec());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let name = decoded(path.trim_start_matches('/'));
    let query: BTreeMap<String, String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), decoded(value)))
        .collect();
    if state.damages && method == "PUT" && !body.is_empty() {
        body[0] ^= 1;
    }
    let found = |content: Option<Vec<u8>>| content.map_or((404, Vec::new()), |content| (200, content));
    match (method, query.get("uploadId")) {
        ("GET", _) if query.contains_key("list-type") => (200, listed(&state, &name, &query).into_bytes()),
        ("GET" | "HEAD", _) => found(state.objects.get(&name).cloned()),
        ("DELETE", Some(upload)) => {
            state.parts.remove(upload);
            (204, Vec::new())
        }
        ("DELETE", None) => {
            state.objects.remove(&name);
            (204, Vec::new())
        }
        ("POST", None) if query.contains_key("uploads") => {
            let upload = format!("upload-{}", state.parts.len() + state.objects.len());
            state.parts.insert(upload.clone(), BTreeMap::new());
            let told = format!(
                "<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            );
            (200, told.into_bytes())
        }
        ("PUT", Some(upload)) => {
            let number = query["partNumber"].parse().unwrap();
            state.parts.get_mut(upload).unwrap().insert(number, body);
            (200, Vec::new())
        }
        ("POST", Some(upload)) => {
            let parts = state.parts.remove(upload).unwrap_or_default();
            state
                .objects
                .insert(name, parts.into_values().flatten().collect());
            let told = "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>";
            (200, told.as_bytes().to_vec())
        }
        ("PUT", None) => {
            state.objects.insert(name, body);
            (200, Vec::new())
        }
        (_, _) => (405, Vec::new()),
    }
}

/// All on one page.
fn listed(state: &State, bucket: &str, query: &BTreeMap<String, String>) -> String {
    let bucket = format!("{}/", bucket.trim_end_matches('/'));
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let (mut keys, mut folders) = (String::new(), std::collections::BTreeSet::new());
    for (name, content) in &state.objects {
        let Some(key) = name.strip_prefix(&bucket).filter(|key| key.starts_with(&prefix)) else {
            continue;
        };
        let rest = &key[prefix.len()..];
        match rest.split_once('/').filter(|_| query.contains_key("delimiter")) {
            Some((folder, _)) => {
                folders.insert(format!("{prefix}{folder}/"));
            }
            None => keys.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{}</Size>\
                 <ETag>\"1\"</ETag></Contents>",
                content.len()
            )),
        }
    }
    let folders: String = folders
        .iter()
        .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"))
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{keys}{folders}</ListBucketResult>")
}
