//! Which services keep what must not be lost: databases, brokers, caches and search engines, told by image, command or
//! where they mount. A broker without a volume counts too: the tasks in it are data.

use crate::compose::{MountKind, Service};

/// The last component of the image's repository.
const IMAGES: [&str; 35] = [
    "postgres",
    "postgresql",
    "postgis",
    "timescaledb",
    "timescaledb-ha",
    "pgvector",
    "mysql",
    "mysql-server",
    "percona",
    "percona-server",
    "mariadb",
    "mongo",
    "mongodb",
    "mongodb-community-server",
    "redis",
    "redis-stack",
    "redis-stack-server",
    "valkey",
    "keydb",
    "dragonfly",
    "memcached",
    "rabbitmq",
    "nats",
    "kafka",
    "cp-kafka",
    "zookeeper",
    "elasticsearch",
    "opensearch",
    "meilisearch",
    "typesense",
    "solr",
    "minio",
    "clickhouse",
    "clickhouse-server",
    "cassandra",
];

/// Programs that are such a server.
const SERVERS: [&str; 19] = [
    "postgres",
    "mysqld",
    "mysqld_safe",
    "mariadbd",
    "mariadbd-safe",
    "mongod",
    "mongos",
    "redis-server",
    "valkey-server",
    "keydb-server",
    "memcached",
    "rabbitmq-server",
    "nats-server",
    "elasticsearch",
    "opensearch",
    "meilisearch",
    "minio",
    "clickhouse-server",
    "cassandra",
];

/// Programs of the same images that only ask such a server: a job, not a store.
const CLIENTS: [&str; 20] = [
    "psql",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_isready",
    "createdb",
    "vacuumdb",
    "mysql",
    "mysqldump",
    "mysqladmin",
    "mariadb",
    "mariadb-dump",
    "mariadb-admin",
    "mongosh",
    "mongodump",
    "mongorestore",
    "redis-cli",
    "valkey-cli",
    "rabbitmqctl",
    "rabbitmqadmin",
];

/// Where such servers keep their files, in their usual images.
const FOLDERS: [&str; 15] = [
    "/var/lib/postgresql",
    "/bitnami/postgresql",
    "/var/lib/mysql",
    "/bitnami/mysql",
    "/bitnami/mariadb",
    "/data/db",
    "/bitnami/mongodb",
    "/var/lib/redis",
    "/bitnami/redis",
    "/var/lib/rabbitmq",
    "/usr/share/elasticsearch/data",
    "/usr/share/opensearch/data",
    "/var/lib/clickhouse",
    "/var/lib/cassandra",
    "/meili_data",
];

/// Whether it is such a server, by its command, else by its image.
pub fn is_data_store(service: &Service) -> bool {
    let words = service
        .entrypoint
        .iter()
        .flatten()
        .chain(service.command.iter().flatten());
    let programs: Vec<&str> = words
        .flat_map(|word| word.split_whitespace())
        .map(|word| word.rsplit('/').next().unwrap_or(word))
        .collect();
    // The first that is one of them decides: `postgres -c …` is a server, `psql -U postgres` is not.
    let first = programs
        .iter()
        .find(|program| SERVERS.contains(program) || CLIENTS.contains(program));
    match first {
        Some(program) => SERVERS.contains(program),
        None => service.image.as_deref().is_some_and(is_image_of_one),
    }
}

/// Whether this image is usually such a server.
pub fn is_image_of_one(image: &str) -> bool {
    IMAGES.contains(&repository_name(image))
}

/// Whether it writes to a folder of the host, or a volume, where such servers keep their files.
pub fn writes_to_data_folder(service: &Service) -> bool {
    service.mounts.iter().any(|mount| {
        let lasts = match &mount.kind {
            MountKind::Volume { .. } | MountKind::Bind { .. } | MountKind::AnonymousVolume => true,
            MountKind::Tmpfs { .. } => false,
        };
        lasts
            && !mount.read_only
            && FOLDERS.iter().any(|folder| {
                mount
                    .target
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    })
}

/// `registry:5000/bitnami/postgresql:17@sha256:…` is called `postgresql`.
fn repository_name(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(before, _)| before);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map_or(last, |(name, _)| name)
}
