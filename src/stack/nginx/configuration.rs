//! What an nginx configuration, as `nginx -T` prints it, says about the hosts it passes requests to and the ports it
//! listens on. Reads words, not grammar: variables are not worked out, and what is not understood is left away.

use std::collections::{BTreeMap, BTreeSet};

/// A configuration, as far as a deploy needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// By host name, as written.
    upstreams: BTreeMap<String, BTreeSet<Upstream>>,
    pub listeners: Vec<Listener>,
    /// Names are looked up while it serves, by a `resolver`, and not when it is loaded alone.
    pub resolves: bool,
}

/// A port that requests for a host are passed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    pub port: u16,
    /// Whether HTTP is spoken to it, and not FastCGI, uwsgi or a plain stream.
    pub http: bool,
}

/// A port that nginx listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    pub port: u16,
    pub tls: bool,
}

impl Configuration {
    /// Reads what `nginx -T` prints.
    pub fn parse(text: &str) -> Self {
        let mut configuration = Self::default();
        let mut blocks: BTreeMap<&str, Block<'_>> = BTreeMap::new();
        let mut inside = None;
        let mut passes = Vec::new();
        for statement in statements(text) {
            match statement.as_slice() {
                ["}"] => inside = None,
                ["upstream", name, "{"] => inside = Some(*name),
                ["server", host, ..] if *host != "{" => {
                    if let Some(name) = inside {
                        blocks.entry(name).or_default().servers.push(host);
                    }
                }
                ["listen", address, options @ ..] => {
                    configuration.listeners.extend(listener(address, options));
                }
                ["resolver", ..] => configuration.resolves = true,
                ["set", _, value, ..] => passes.extend(Host::parse(value)),
                [directive, target, ..] if directive.ends_with("_pass") => {
                    passes.extend(Host::parse(target));
                }
                _ => {}
            }
        }
        for host in passes {
            match blocks.get_mut(host.name) {
                Some(block) => block.http |= host.http(),
                None => configuration.add(&host, host.http()),
            }
        }
        for block in blocks.values() {
            for server in block.servers.iter().filter_map(|server| Host::parse(server)) {
                let port = Some(server.port.unwrap_or(80));
                configuration.add(&Host { port, ..server }, block.http);
            }
        }
        configuration.listeners.sort_unstable();
        configuration.listeners.dedup();
        configuration
    }

    /// The ports of a host that requests are passed to; `None` where it is not named.
    pub fn upstreams_of(&self, host: &str) -> Option<&BTreeSet<Upstream>> {
        self.upstreams.get(host)
    }

    fn add(&mut self, host: &Host<'_>, http: bool) {
        let default = match host.scheme {
            Some("http") => Some(80),
            Some("https") => Some(443),
            Some(_) | None => None,
        };
        let ports = self.upstreams.entry(host.name.to_owned()).or_default();
        if let Some(port) = host.port.or(default) {
            ports.insert(Upstream { port, http });
        }
    }
}

#[derive(Default)]
struct Block<'a> {
    servers: Vec<&'a str>,
    /// Passed to over HTTP: `proxy_pass http://<its name>`.
    http: bool,
}

/// `scheme://name:port/path`, as far as it is written.
struct Host<'a> {
    scheme: Option<&'a str>,
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    fn parse(word: &'a str) -> Option<Self> {
        let word = word.trim_matches(['"', '\'']);
        let (scheme, rest) = match word.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, word),
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        let (name, port) = match authority.split_once(':') {
            // What follows a port may be a variable: `backend:8000$request_uri`.
            Some((name, port)) => {
                let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
                (name, port.get(..digits).and_then(|digits| digits.parse().ok()))
            }
            None => (authority, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        (!name.is_empty() && name.bytes().all(plain)).then_some(Self { scheme, name, port })
    }

    fn http(&self) -> bool {
        matches!(self.scheme, Some("http" | "https"))
    }
}

/// Words, with `{`, `}` and `;` as words of their own; comments left away.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for line in text.lines() {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        for word in line.split_whitespace() {
            let mut rest = word;
            while let Some(at) = rest.find(['{', '}', ';']) {
                // `${name}` is a variable, not a block.
                if rest.get(..at).is_some_and(|before| before.ends_with('$')) {
                    break;
                }
                let (before, mark_and_rest) = rest.split_at(at);
                let (mark, after) = mark_and_rest.split_at(1);
                words.extend((!before.is_empty()).then_some(before));
                words.push(mark);
                rest = after;
            }
            words.extend((!rest.is_empty()).then_some(rest));
        }
    }
    words
}

/// Directives with their words; one that opens a block ends in `{`, a block's end is a `}` of its own.
fn statements(text: &str) -> Vec<Vec<&str>> {
    let mut statements = Vec::new();
    let mut open = Vec::new();
    for word in words(text) {
        match word {
            ";" => statements.push(std::mem::take(&mut open)),
            "{" => {
                open.push(word);
                statements.push(std::mem::take(&mut open));
            }
            "}" => statements.push(vec![word]),
            word => open.push(word),
        }
    }
    statements
}

/// The port of `80`, `*:80`, `127.0.0.1:80` or `[::]:80`; none for a socket file.
fn listener(address: &str, options: &[&str]) -> Option<Listener> {
    let port = address.rsplit(':').next().unwrap_or(address);
    let tls = options.iter().any(|word| matches!(*word, "ssl" | "quic"));
    port.parse().ok().map(|port| Listener { port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, host: &str) -> Option<Vec<(u16, bool)>> {
        let configuration = Configuration::parse(text);
        let found = configuration.upstreams_of(host)?;
        Some(
            found
                .iter()
                .map(|upstream| (upstream.port, upstream.http))
                .collect(),
        )
    }

    #[test]
    fn a_static_upstream_names_its_servers() {
        let text = "http {\n upstream backend { server backend:8000 max_fails=0; server backup:9000; }\n\
                    server { listen 80 default_server; location / { proxy_pass http://backend; } } }";
        assert_eq!(of(text, "backend").unwrap(), [(8000, true)]);
        assert_eq!(of(text, "backup").unwrap(), [(9000, true)]);
        assert_eq!(of(text, "frontend"), None);
    }

    #[test]
    fn an_upstream_of_another_name_is_not_a_host() {
        let text = "upstream app { server backend:8000; } location / { proxy_pass http://app/; }";
        assert_eq!(of(text, "app"), None);
        assert_eq!(of(text, "backend").unwrap(), [(8000, true)]);
    }

    #[test]
    fn a_variable_that_is_resolved_at_run_time_names_its_host() {
        let text = "resolver 127.0.0.11 valid=2s;\nset $upstream http://backend:8000;\nproxy_pass $upstream;";
        assert_eq!(of(text, "backend").unwrap(), [(8000, true)]);
        let text = "set $upstream \"backend\";\nproxy_pass http://backend:8000$request_uri;";
        assert_eq!(of(text, "backend").unwrap(), [(8000, true)]);
        let text = "set $upstream backend;\nproxy_pass http://$upstream:8000;";
        assert_eq!(of(text, "backend").unwrap(), []);
    }

    #[test]
    fn other_protocols_are_told_from_http() {
        assert_eq!(
            of("uwsgi_pass backend:3031;", "backend").unwrap(),
            [(3031, false)]
        );
        assert_eq!(
            of("proxy_pass https://backend;", "backend").unwrap(),
            [(443, true)]
        );
        let text = "upstream app { server backend:9000; } fastcgi_pass app;";
        assert_eq!(of(text, "backend").unwrap(), [(9000, false)]);
    }

    #[test]
    fn comments_say_nothing() {
        assert_eq!(of("# proxy_pass http://backend:1;", "backend"), None);
    }

    #[test]
    fn listeners_are_ports() {
        let text = "listen 80; listen [::]:80; listen 127.0.0.1:8443 ssl http2; listen unix:/run/x;";
        assert_eq!(
            Configuration::parse(text).listeners,
            [
                Listener { port: 80, tls: false },
                Listener {
                    port: 8443,
                    tls: true
                }
            ]
        );
    }
}
