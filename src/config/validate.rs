//! What `deploy.yml` says, held against the Compose project: every service and volume it names must be there.

use super::service::looks_like_nginx;
use super::{Config, ConfigError, Hook, ServiceSettings, SmokeCommand, Strategy};
use crate::compose::{Project, Service, ServiceName};
use crate::yaml::{Mark, Node, Value, nearest};

/// Everything in the configuration that does not fit the project, each with its position in `deploy.yml`.
pub fn validate(config: &Config, project: &Project) -> Vec<ConfigError> {
    let mut validation = Validation {
        config,
        project,
        errors: Vec::new(),
    };
    if let Some(django) = &config.django {
        validation.service(&["django", "service"], &django.service);
        if django.rehearse && config.backup.database.is_none() {
            validation.refuse(
                &["django", "rehearse"],
                "`django.rehearse` needs `backup.database`: what is rehearsed on is a backup of it"
                    .to_owned(),
                Some("write backup: { database: { service: <the database's service> } }".to_owned()),
            );
        }
    }
    for (name, settings) in &config.services {
        let Some(service) = validation.service(&["services", name.as_str()], name) else {
            continue;
        };
        validation.strategy(name, settings.strategy, service);
        validation.surge(name, settings);
        validation.callers(name, settings);
        if settings.test.is_some() && settings.reload.is_none() && !looks_like_nginx(service) {
            validation.refuse(
                &["services", name.as_str(), "test"],
                format!("`services.{name}.test` has no use without `reload`"),
                Some("write the command that makes the service read its configuration again".to_owned()),
            );
        }
    }
    if let Some(database) = &config.backup.database {
        validation.service(&["backup", "database", "service"], &database.service);
    }
    if let Some(repository) = &config.backup.repository {
        validation.service(&["backup", "repository", "service"], &repository.service);
    }
    if let Some(media) = &config.backup.media {
        validation.volume(&["backup", "media", "volume"], &media.volume);
    }
    for name in &config.maintenance.stop {
        validation.service(&["maintenance", "stop"], name);
    }
    if let Some(service) = config.checks.tests.as_ref().and_then(|tests| tests.r#in.as_ref()) {
        validation.service(&["checks", "tests", "in"], service);
    }
    let scanners = &config.checks.scanners;
    for (key, scanner) in [("trivy", &scanners.trivy), ("grype", &scanners.grype)] {
        for service in scanner.iter().flat_map(|scanner| &scanner.images) {
            validation.service(&["checks", "scanners", key, "images"], service);
        }
    }
    if let Some(monitor) = &config.monitor {
        if let Some(service) = &monitor.access_log.service {
            validation.service(&["monitor", "access_log", "service"], service);
        }
        if !monitor.probes.is_empty() && config.health.is_none() {
            validation.refuse(
                &["monitor", "probes"],
                "`monitor.probes` are paths below the address in `health.url`, which is not there".to_owned(),
                Some("write the section `health`".to_owned()),
            );
        }
    }
    for hook in &config.hooks {
        validation.hook(hook);
    }
    if let Some(smoke) = &config.smoke {
        for (part, commands) in [("before", &smoke.before), ("after", &smoke.after)] {
            validation.smoke_commands(part, commands);
        }
    }
    validation.errors.sort_by_key(|error| (error.line, error.column));
    validation.errors
}

struct Validation<'a> {
    config: &'a Config,
    project: &'a Project,
    errors: Vec<ConfigError>,
}

impl<'a> Validation<'a> {
    fn refuse(&mut self, steps: &[&str], message: String, hint: Option<String>) {
        let mark = self
            .config
            .origin
            .document
            .as_ref()
            .map(|root| mark_of(root, steps))
            .unwrap_or_default();
        let error = ConfigError::at(self.config.path(), mark, steps.join("."), message, hint);
        self.errors.push(error);
    }

    fn service(&mut self, steps: &[&str], name: &ServiceName) -> Option<&'a Service> {
        let found = self.project.services.get(name);
        if found.is_none() {
            let known: Vec<&str> = self.project.services.keys().map(ServiceName::as_str).collect();
            let message = absent("service", name.as_str(), &steps.join("."), &known);
            self.refuse(steps, message, list("services", &known));
        }
        found
    }

    fn volume(&mut self, steps: &[&str], key: &str) {
        if !self.project.volumes.contains_key(key) {
            let known: Vec<&str> = self.project.volumes.keys().map(String::as_str).collect();
            let message = absent("volume", key, &steps.join("."), &known);
            self.refuse(steps, message, list("volumes", &known));
        }
    }

    fn hook(&mut self, hook: &Hook) {
        let line = hook.run.join(" ");
        if let Some(service) = &hook.r#in {
            self.service(&["hooks"], service);
        }
        if hook.before.is_some() == hook.after.is_some() {
            self.refuse(
                &["hooks"],
                format!(
                    "the hook `{line}` must say before or after which step it is run, and one of them only"
                ),
                Some("write `before: deploy`, or `after: deploy`".to_owned()),
            );
        }
    }

    fn smoke_commands(&mut self, part: &str, commands: &[SmokeCommand]) {
        for (index, command) in commands.iter().enumerate() {
            let index = format!("[{index}]");
            if let Some(service) = &command.r#in {
                self.service(&["smoke", part, &index, "in"], service);
            } else if self.config.django.is_none() {
                self.refuse(
                    &["smoke", part, &index],
                    format!("`smoke.{part}{index}` says nothing of where it is run, and there is no `django.service`"),
                    Some("write `in: <service>`".to_owned()),
                );
            }
        }
    }

    fn surge(&mut self, name: &ServiceName, settings: &ServiceSettings) {
        if settings.max_surge == 0 && settings.max_unavailable == 0 {
            self.refuse(
                &["services", name.as_str(), "max_surge"],
                format!(
                    "`services.{name}.max_surge` and `services.{name}.max_unavailable` are both 0, so that nothing \
                     could be replaced"
                ),
                Some(
                    "leave `max_surge` out, or write `max_unavailable: 1` where two containers do not fit".to_owned(),
                ),
            );
        }
    }

    fn callers(&mut self, name: &ServiceName, settings: &ServiceSettings) {
        for caller in &settings.callers {
            let steps = ["services", name.as_str(), "callers"];
            if caller == name {
                self.refuse(
                    &steps,
                    format!("`services.{name}.callers` names the service itself"),
                    None,
                );
            } else {
                self.service(&steps, caller);
            }
        }
    }

    fn strategy(&mut self, name: &ServiceName, strategy: Option<Strategy>, service: &Service) {
        let Some(strategy) = strategy else { return };
        let steps = ["services", name.as_str(), "strategy"];
        match strategy {
            Strategy::Reload if self.config.reload_commands(service).is_none() => self.refuse(
                &steps,
                format!("`services.{name}.strategy` is `reload`, and nothing says how it reloads"),
                Some(format!("write `reload: [<command>]` under `services.{name}`")),
            ),
            Strategy::Singleton if service.replicas > 1 => self.refuse(
                &steps,
                format!(
                    "`services.{name}.strategy` is `singleton`, and the Compose files ask for {} containers",
                    service.replicas
                ),
                Some("leave `deploy.replicas` or `scale` out there".to_owned()),
            ),
            Strategy::Rolling if service.container_name.is_some() => self.refuse(
                &steps,
                format!(
                    "`services.{name}.strategy` is `rolling`, and its `container_name` can be had only once"
                ),
                Some(
                    "leave `container_name` out of the Compose file, or write `strategy: recreate`"
                        .to_owned(),
                ),
            ),
            Strategy::Reload
            | Strategy::Singleton
            | Strategy::Rolling
            | Strategy::Recreate
            | Strategy::Untouched
            | Strategy::OneShot => {}
        }
    }
}

fn absent(what: &str, name: &str, path: &str, known: &[&str]) -> String {
    let suggestion = match nearest(name, known.iter().copied()) {
        Some(word) => format!("; did you mean `{word}`?"),
        None => String::new(),
    };
    format!("`{path}`: the Compose files have no {what} `{name}`{suggestion}")
}

fn list(what: &str, known: &[&str]) -> Option<String> {
    let words: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    (!words.is_empty()).then(|| format!("{what} there: {}", words.join(", ")))
}

/// Where the value at the end of the way stands; a mapping stands where its key does. `[2]` is a position in a list.
pub(super) fn mark_of(root: &Node, steps: &[&str]) -> Mark {
    let mut node = root;
    let mut mark = root.mark;
    for step in steps {
        if let Some(item) = item_of(node, step) {
            node = item;
            mark = item.mark;
            continue;
        }
        let entry = node.as_mapping().and_then(|mapping| mapping.entries.get(*step));
        let Some(entry) = entry else { break };
        node = &entry.value;
        mark = match &node.value {
            Value::Scalar(_) | Value::Sequence(_) => node.mark,
            Value::Mapping(_) => entry.key_mark,
        };
    }
    mark
}

fn item_of<'a>(node: &'a Node, step: &str) -> Option<&'a Node> {
    let position: usize = step.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    match &node.value {
        Value::Sequence(items) => items.get(position),
        Value::Scalar(_) | Value::Mapping(_) => None,
    }
}
