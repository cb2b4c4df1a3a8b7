//! Redis, asked in its own container by its own program: how long a list is, and what `INFO` says of the server. The
//! password is in the environment, which is no argument that others can read.

use crate::engine::ExecSpec;

/// Which server, and which of its databases.
#[derive(Clone)]
pub struct RedisAccess {
    pub port: String,
    pub database: String,
    pub password: Option<String>,
}

impl RedisAccess {
    /// Asks for how long a list is: a number.
    pub fn length(&self, list: &str) -> ExecSpec {
        self.ask(&["llen", list])
    }

    /// Asks for what [`Server::parse`] reads.
    pub fn info(&self) -> ExecSpec {
        self.ask(&["info"])
    }

    fn ask(&self, words: &[&str]) -> ExecSpec {
        let way = ["redis-cli", "-p", &self.port, "-n", &self.database];
        let mut spec = ExecSpec::command(&[&way, words].concat());
        if let Some(password) = &self.password {
            spec.environment
                .insert("REDISCLI_AUTH".to_owned(), password.clone());
        }
        spec
    }
}

/// The server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    pub clients: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes; `None` where it may take what it wants.
    pub memory_limit: Option<u64>,
}

impl Server {
    /// Reads what `INFO` says; `None` where it does not.
    pub fn parse(info: &str) -> Option<Self> {
        let number = |field: &str| -> Option<u64> {
            let mut lines = info.lines();
            let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
            value.trim().parse().ok()
        };
        Some(Self {
            clients: number("connected_clients")?,
            memory: number("used_memory")?,
            memory_limit: number("maxmemory").filter(|bytes| *bytes > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_read_from_info() {
        let info = "# Clients\r\nconnected_clients:7\r\nmaxclients:10000\r\n\r\n# Memory\r\nused_memory:1048576\r\n\
                    used_memory_human:1.00M\r\nmaxmemory:0\r\n";
        let server = Server {
            clients: 7,
            memory: 1_048_576,
            memory_limit: None,
        };
        assert_eq!(Server::parse(info), Some(server));
        let limited = info.replace("maxmemory:0", "maxmemory:2097152");
        assert_eq!(Server::parse(&limited).unwrap().memory_limit, Some(2_097_152));
        assert_eq!(Server::parse("NOAUTH Authentication required.\n"), None);
    }
}
