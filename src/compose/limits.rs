//! What a container may use: `deploy.resources`, the older keys beside `image`, and `ulimits`; and how many
//! containers there are.

use std::collections::BTreeMap;

use crate::yaml::Value;

use super::model::{Limits, RestartPolicy, Ulimit};
use super::reader::{At, Fields};

/// What `deploy` says.
#[derive(Default)]
pub(super) struct Deploy {
    pub(super) replicas: Option<u32>,
    pub(super) restart: Option<RestartPolicy>,
    memory: Option<u64>,
    memory_reservation: Option<u64>,
    nano_cpus: Option<u64>,
    pids: Option<i64>,
}

/// Reads `deploy`.
pub(super) fn deploy(at: &At<'_>) -> Deploy {
    let mut deploy = Deploy::default();
    let Some(fields) = at.fields() else { return deploy };
    if let Some(at) = fields.get("mode")
        && let Some(mode) = at.text()
        && mode != "replicated"
    {
        at.refuse_with(
            format!("unsupported mode {}", at.node.describe()),
            "the only mode is `replicated`",
        );
    }
    deploy.replicas = fields
        .get("replicas")
        .and_then(|at| at.integer("a number of containers"));
    deploy.restart = fields.get("restart_policy").and_then(|at| restart_policy(&at));
    if let Some(at) = fields.get("resources")
        && let Some(fields) = at.fields()
    {
        resources(&fields, &mut deploy);
        fields.finish(&[]);
    }
    fields.finish(&[
        ("endpoint_mode", "it belongs to Swarm"),
        (
            "labels",
            "they belong to Swarm's service; write `labels` beside `image`",
        ),
        ("placement", "it belongs to Swarm"),
        (
            "rollback_config",
            "it belongs to Swarm; viatique-deploy rolls back by itself",
        ),
        (
            "update_config",
            "it belongs to Swarm; say how a service is replaced under `services` in deploy.yml",
        ),
    ]);
    deploy
}

fn resources(fields: &Fields<'_>, deploy: &mut Deploy) {
    if let Some(at) = fields.get("limits")
        && let Some(fields) = at.fields()
    {
        deploy.memory = fields.bytes("memory");
        deploy.nano_cpus = fields.get("cpus").and_then(|at| at.nano_cpus());
        deploy.pids = fields
            .get("pids")
            .and_then(|at| at.integer("a number of processes"));
        fields.finish(&[]);
    }
    if let Some(at) = fields.get("reservations")
        && let Some(fields) = at.fields()
    {
        deploy.memory_reservation = fields.bytes("memory");
        fields.finish(&[
            ("cpus", "outside of Swarm it has no effect; `cpu_shares` has"),
            ("devices", ""),
            ("generic_resources", "they belong to Swarm"),
        ]);
    }
}

/// Compose takes it where `restart` is absent.
fn restart_policy(at: &At<'_>) -> Option<RestartPolicy> {
    let fields = at.fields()?;
    let condition = fields.get("condition");
    let attempts = fields
        .get("max_attempts")
        .and_then(|at| at.integer::<u32>("a number of attempts"));
    let policy = match &condition {
        None => Some(RestartPolicy::Always),
        Some(at) => match at.text()?.as_str() {
            "none" => Some(RestartPolicy::No),
            "any" => Some(RestartPolicy::Always),
            "on-failure" => Some(RestartPolicy::OnFailure {
                max_retries: attempts,
            }),
            _ => {
                at.expected("`none`, `on-failure` or `any`");
                None
            }
        },
    };
    fields.finish(&[
        ("delay", "it belongs to Swarm"),
        ("window", "it belongs to Swarm"),
    ]);
    policy
}

/// Reads the keys beside `image`, and puts what `deploy` says with them; where both speak they must agree.
pub(super) fn limits(fields: &Fields<'_>, deploy: &Deploy) -> Limits {
    Limits {
        memory: agreed(
            fields,
            "mem_limit",
            |at| at.bytes(),
            deploy.memory,
            "deploy.resources.limits.memory",
        ),
        memory_reservation: agreed(
            fields,
            "mem_reservation",
            |at| at.bytes(),
            deploy.memory_reservation,
            "deploy.resources.reservations.memory",
        ),
        memory_swap: fields.get("memswap_limit").and_then(|at| match &at.node.value {
            Value::Scalar(scalar) if scalar.text == "-1" => Some(-1),
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => {
                at.bytes().and_then(|bytes| i64::try_from(bytes).ok())
            }
        }),
        memory_swappiness: fields.get("mem_swappiness").and_then(|at| {
            at.integer::<u64>("a number from 0 to 100")
                .filter(|number| *number <= 100)
        }),
        nano_cpus: agreed(
            fields,
            "cpus",
            |at| at.nano_cpus(),
            deploy.nano_cpus,
            "deploy.resources.limits.cpus",
        ),
        cpu_shares: fields
            .get("cpu_shares")
            .and_then(|at| at.integer("a whole number")),
        cpuset: fields.text("cpuset"),
        pids: agreed(
            fields,
            "pids_limit",
            |at| at.integer("a number of processes"),
            deploy.pids,
            "deploy.resources.limits.pids",
        ),
        oom_kill_disable: fields.boolean("oom_kill_disable"),
        oom_score_adj: fields.get("oom_score_adj").and_then(|at| {
            at.integer::<i64>("a number from -1000 to 1000")
                .filter(|number| (-1000..=1000).contains(number))
        }),
    }
}

/// Reads `scale`, and puts `deploy.replicas` with it.
pub(super) fn replicas(fields: &Fields<'_>, deploy: &Deploy) -> u32 {
    agreed(
        fields,
        "scale",
        |at| at.integer("a number of containers"),
        deploy.replicas,
        "deploy.replicas",
    )
    .unwrap_or(1)
}

fn agreed<T: PartialEq + Copy>(
    fields: &Fields<'_>,
    key: &'static str,
    read: impl Fn(&At<'_>) -> Option<T>,
    deploy: Option<T>,
    deploy_key: &str,
) -> Option<T> {
    let Some(at) = fields.get(key) else { return deploy };
    let own = read(&at)?;
    if deploy.is_some_and(|deploy| deploy != own) {
        at.refuse_with(format!("differs from `{deploy_key}`"), "write one of the two");
    }
    Some(own)
}

/// Reads `ulimits`: a number for both, or `{soft, hard}`.
pub(super) fn ulimits(at: &At<'_>) -> BTreeMap<String, Ulimit> {
    let mut ulimits = BTreeMap::new();
    for (name, _, at) in at.named() {
        let ulimit = match &at.node.value {
            Value::Mapping(_) => at.fields().and_then(|fields| {
                let soft = fields.get("soft").and_then(|at| at.integer("a whole number"));
                let hard = fields.get("hard").and_then(|at| at.integer("a whole number"));
                fields.finish(&[]);
                match (soft, hard) {
                    (Some(soft), Some(hard)) => Some(Ulimit { soft, hard }),
                    _ => {
                        at.refuse("both `soft` and `hard` must be whole numbers");
                        None
                    }
                }
            }),
            Value::Scalar(_) | Value::Sequence(_) => at.integer("a whole number").map(|both| Ulimit {
                soft: both,
                hard: both,
            }),
        };
        if let Some(ulimit) = ulimit {
            ulimits.insert(name.to_owned(), ulimit);
        }
    }
    ulimits
}
