//! The lint before the roll: each trap is named with its place, its consequence and what to write; a stack without one
//! is left in peace.

use std::path::Path;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{ChangeKind, Outcome, StepId};
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, FakeEngine, ImageBehaviour, Stack};

const DEPLOY_YML: &str = "project: viatique\ncompose: [docker-compose.yml]\n";

/// Nothing is wrong with it: nginx in front of `web`.
const SOUND: &str = "\
services:
  nginx:
    image: nginx:1.28
    ports: [\"8080:80\"]
  web:
    image: web:${RELEASE_TAG}
    expose: [\"8000\"]
    healthcheck: { test: [CMD, ok], interval: 2s }
";

fn of(compose: &str, services: &str) -> Stack {
    let deploy_yml = match services {
        "" => DEPLOY_YML.to_owned(),
        services => format!("{DEPLOY_YML}services: {services}\n"),
    };
    let stack = Stack::of(compose, &deploy_yml);
    image(&stack, ImageBehaviour::running());
    stack
}

fn image(stack: &Stack, behaviour: ImageBehaviour) {
    for tag in ["v1", "v2"] {
        let _ = stack
            .engine
            .clone()
            .with_image(&format!("web:{tag}"), behaviour.clone());
        let id = FakeEngine::image_id(&format!("web:{tag}"));
        stack.engine.image_behaves(&id, behaviour.clone());
    }
}

/// `web` without its health test, and with these lines.
fn web(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let sound = SOUND.replace("    healthcheck: { test: [CMD, ok], interval: 2s }\n", "");
    if lines.contains("healthcheck:") {
        sound + &lines
    } else {
        SOUND.to_owned() + &lines
    }
}

async fn check(stack: &Stack) -> Ended {
    stack.command(Chosen::check(), "v1").await
}

/// The one warning of a check, and that a dry run shows it too.
async fn warns(stack: &Stack, id: &str) -> String {
    let ended = check(stack).await;
    ended.succeeded();
    let warnings = ended.warnings();
    assert_eq!(warnings.lines().count(), 1, "{id}: {warnings}");
    assert!(warnings.contains(&format!("[lint: {id}]")), "{id}: {warnings}");
    assert_eq!(
        ended.task_message(StepId::Check, "lint").as_deref(),
        Some("1 warning")
    );
    let plan = stack.dry_run(Chosen::run(), "v1").await;
    let planned = plan.planned(StepId::Check);
    let shown: Vec<_> = planned
        .iter()
        .filter(|change| change.kind == ChangeKind::Warn)
        .collect();
    assert_eq!(shown.len(), 1, "{planned:?}");
    assert_eq!(shown[0].target, format!("lint: {id}"));
    warnings
}

async fn finds_nothing(stack: &Stack, why: &str) {
    let ended = check(stack).await;
    ended.succeeded();
    assert_eq!(ended.warnings(), "", "{why}");
    assert_eq!(
        ended.task_message(StepId::Check, "lint").as_deref(),
        Some("nothing found"),
        "{why}"
    );
}

async fn refuses(stack: &Stack, id: &str) -> Ended {
    let ended = check(stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says(&format!("[lint: {id}]"));
    assert!(stack.engine.calls().iter().all(|call| !call.changes()));
    ended
}

#[tokio::test(start_paused = true)]
async fn a_sound_stack_is_left_in_peace() {
    finds_nothing(&of(SOUND, ""), "first deploy").await;
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.command(Chosen::build(), "v2").await.succeeded();
    let ended = stack.command(Chosen::check(), "v2").await;
    assert_eq!(ended.warnings(), "");
}

/// The example, with the commands that its Dockerfiles give.
#[tokio::test(start_paused = true)]
async fn the_example_is_sound() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/viatique");
    let read = |path: &str| std::fs::read_to_string(example.join(path)).unwrap();
    let deploy_yml = read("deploy.yml").replace("docker-compose.prod.yml", "docker-compose.yml");
    let stack = Stack::of(&read("docker-compose.prod.yml"), &deploy_yml);
    for file in [".env.production", ".env.db"] {
        let path = stack.directory.path().join(file);
        std::fs::write(&path, read(file)).unwrap();
        let owner_alone = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, owner_alone).unwrap();
    }
    for context in ["backend", "frontend", "nginx", "db", "redis"] {
        let folder = stack.directory.path().join(context);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
        let text = read(&format!("{context}/Dockerfile"));
        let (entrypoint, command) = (words(&text, "ENTRYPOINT"), words(&text, "CMD"));
        let behaviour = ImageBehaviour::running().starting_with(&borrowed(&entrypoint), &borrowed(&command));
        for tag in ["v1", "v2", "1"] {
            let _ = stack
                .engine
                .clone()
                .with_image(&format!("viatique-{context}:{tag}"), behaviour.clone());
        }
    }
    // What its scenarios send, before a switch too.
    let sent = stack.directory.path().join("smoke");
    std::fs::create_dir(&sent).unwrap();
    std::fs::copy(example.join("smoke/copy.pdf"), sent.join("copy.pdf")).unwrap();
    let first = check(&stack).await;
    first.succeeded();
    assert_eq!(first.warnings(), "");
    stack.command(Chosen::deploy(), "v1").await.succeeded();
    let no_backups = ["backup-database", "backup-media"].map(str::to_owned);
    let but = Selection::of(&[], &no_backups).unwrap();
    let second = stack.command(Chosen::check_with(but), "v2").await;
    second.succeeded();
    assert_eq!(second.warnings(), "");
    assert_eq!(
        second.task_message(StepId::Check, "lint").as_deref(),
        Some("nothing found")
    );
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What `CMD […]` or `ENTRYPOINT […]` of a Dockerfile says.
fn words(dockerfile: &str, instruction: &str) -> Vec<String> {
    let text = dockerfile.replace("\\\n", " ");
    let list = text
        .lines()
        .find_map(|line| line.strip_prefix(instruction)?.trim().strip_prefix('['));
    list.map(|list| serde_json::from_str(&format!("[{list}")).unwrap())
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_stays_is_named_where_it_is_written() {
    let stack = of(
        &web("command: [\"sh\", \"-c\", \"python manage.py migrate && gunicorn app\"]"),
        "",
    );
    let warning = warns(&stack, "shell-as-pid-1").await;
    for part in [
        "docker-compose.yml:9: services.web.command: `sh -c`, where the image's `sh` is dash, as in Debian, stays the first process",
        "killed after 30s",
        "what it has in flight is cut off",
        "`command: [\"sh\", \"-c\", \"… && exec gunicorn …\"]`",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    // A script's text may hold a secret.
    assert!(!warning.contains("migrate"), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn an_images_own_shell_is_found_too() {
    let stack = of(SOUND, "");
    image(
        &stack,
        ImageBehaviour::running().starting_with(&[], &["/bin/sh", "-c", "gunicorn app"]),
    );
    let warning = warns(&stack, "shell-as-pid-1").await;
    assert!(warning.contains("`command: [\"gunicorn\", …]`"), "{warning}");
    image(
        &stack,
        ImageBehaviour::running().starting_with(&[], &["/bin/sh", "-c", "exec gunicorn app"]),
    );
    finds_nothing(&stack, "exec").await;
}

#[tokio::test(start_paused = true)]
async fn whether_sh_becomes_its_program_is_seen_in_the_container_that_runs() {
    for (titles, stays) in [
        (&["sh -c gunicorn app", "gunicorn: master"][..], true),
        (&["gunicorn: master", "gunicorn: worker"], false),
    ] {
        let stack = of(&web("command: [\"sh\", \"-c\", \"gunicorn app\"]"), "");
        image(&stack, ImageBehaviour::running().showing(titles));
        let warning = warns(&stack, "shell-as-pid-1").await;
        assert!(warning.contains("is dash, as in Debian"), "{warning}");
        stack.command(Chosen::deploy(), "v1").await.succeeded();
        if stays {
            let warning = warns(&stack, "shell-as-pid-1").await;
            assert!(!warning.contains("Debian"), "{warning}");
        } else {
            finds_nothing(&stack, "as in Alpine").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_script_does_is_seen_in_the_container_that_runs() {
    for (titles, stays) in [
        (&["/bin/sh /entrypoint.sh gunicorn", "gunicorn: master"][..], true),
        (&["gunicorn: master", "gunicorn: worker"], false),
    ] {
        let stack = of(SOUND, "");
        image(
            &stack,
            ImageBehaviour::running()
                .starting_with(&["/entrypoint.sh"], &["gunicorn", "app"])
                .showing(titles),
        );
        finds_nothing(&stack, "nothing runs yet").await;
        stack.command(Chosen::deploy(), "v1").await.succeeded();
        if stays {
            let warning = warns(&stack, "shell-as-pid-1").await;
            assert!(warning.contains("in the container that runs now"), "{warning}");
        } else {
            finds_nothing(&stack, "it became the program").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_grace_shorter_than_the_programs_own_is_named() {
    for (lines, services, part) in [
        (
            "command: [gunicorn, --graceful-timeout, '120', app]\nstop_grace_period: 45s",
            "",
            "gunicorn lets requests finish for 2m, and is killed after 45s",
        ),
        (
            "command: [gunicorn, --graceful-timeout=120, app]",
            "{ web: { drain: 90s } }",
            "is killed after 90s",
        ),
        (
            "command: [uvicorn, --timeout-graceful-shutdown, '60', app]",
            "",
            "uvicorn lets requests finish for 60s, and is killed after 30s",
        ),
        (
            "command: [celery, -A, app, worker]",
            "",
            "write `services.web.drain: 10m` in deploy.yml",
        ),
        (
            "command: [celery, -A, app, worker, --time-limit, '900']\nstop_grace_period: 60s",
            "",
            "a task of this worker may take 15m, and is killed 60s after the stop signal",
        ),
        (
            "command: [gunicorn, app]",
            "{ web: { strategy: recreate } }",
            "is killed after 10s",
        ),
    ] {
        let stack = of(&web(lines), services);
        let warning = warns(&stack, "stop-grace-too-short").await;
        assert!(warning.contains(part), "{warning}");
    }
    for (lines, services) in [
        ("command: [gunicorn, --graceful-timeout, '25', app]", ""),
        ("command: [gunicorn, app]", ""),
        (
            "command: [gunicorn, -c, conf.py, app]",
            "{ web: { strategy: recreate } }",
        ),
        ("command: [celery, -A, app, worker]", "{ web: { drain: 5m } }"),
        ("command: [celery, -A, app, worker]\nstop_grace_period: 60s", ""),
    ] {
        finds_nothing(&of(&web(lines), services), lines).await;
    }
}

#[tokio::test(start_paused = true)]
async fn uwsgi_that_starts_again_on_the_stop_signal_is_named() {
    let warning = warns(
        &of(&web("command: [uwsgi, --http, ':8000']"), ""),
        "sigterm-reloads-uwsgi",
    )
    .await;
    assert!(
        warning.contains("unix_signal:15 gracefully_kill_them_all"),
        "{warning}"
    );
    finds_nothing(
        &of(&web("command: [uwsgi, --ini, uwsgi.ini]"), ""),
        "its file may say",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_health_test_is_named_unless_the_image_has_one() {
    for lines in ["healthcheck: { disable: true }", "healthcheck: { interval: 2s }"] {
        let warning = warns(&of(&web(lines), ""), "no-health-test").await;
        assert!(
            warning.contains("write `healthcheck: { test: [\"CMD\", \"curl\""),
            "{warning}"
        );
    }
    let stack = of(&web("healthcheck: { interval: 2s }"), "");
    image(&stack, ImageBehaviour::healthy());
    finds_nothing(&stack, "the image has one").await;
    let beat = web("healthcheck: { disable: true }\ncommand: [celery, -A, app, beat]");
    finds_nothing(&of(&beat, ""), "beat").await;
}

#[tokio::test(start_paused = true)]
async fn health_timings_that_cannot_do_are_refused_and_slow_ones_named() {
    let timings = |text: &str| web(&format!("healthcheck: {{ test: [CMD, ok], {text} }}"));
    refuses(&of(&timings("interval: 3m"), ""), "first-probe-after-timeout")
        .await
        .says("runs 3m after the start, and the deploy gives up after 2m")
        .hints_at("`interval: 2s`");
    refuses(
        &of(&timings("retries: 1"), "{ web: { health_timeout: 20s } }"),
        "first-probe-after-timeout",
    )
    .await;
    // The engine is an old one, which has no `start_interval`.
    refuses(
        &of(&timings("interval: 3m, start_period: 5s"), ""),
        "first-probe-after-timeout",
    )
    .await
    .says("docker-compose.yml:8: services.web.healthcheck.interval");
    let warning = warns(&of(&timings("retries: 2"), ""), "slow-health-interval").await;
    assert!(warning.contains("runs 30s after the start"), "{warning}");
    let warning = warns(
        &of(
            &timings("interval: 5s, timeout: 5s, retries: 3, start_period: 3m"),
            "",
        ),
        "health-budget-over-timeout",
    )
    .await;
    assert!(
        warning.contains("200s to become healthy") && warning.contains("services.web.health_timeout: 200s"),
        "{warning}"
    );
    let stack = of(
        &timings("interval: 5s, timeout: 5s, retries: 3, start_period: 3m"),
        "{ web: { health_timeout: 4m } }",
    );
    finds_nothing(&stack, "it is given the time").await;
}

#[tokio::test(start_paused = true)]
async fn what_costs_a_gap_is_named_unless_it_is_meant() {
    let port = web("ports: [\"8001:8000\"]");
    let warning = warns(&of(&port, ""), "gap-by-host-port").await;
    assert!(
        warning.contains("write `expose: [\"8000\"]` instead of `ports`"),
        "{warning}"
    );
    let name = web("container_name: the-web");
    let warning = warns(&of(&name, ""), "gap-by-container-name").await;
    assert!(warning.contains("find it as `web` without it"), "{warning}");
    for text in [&port, &name] {
        finds_nothing(&of(text, "{ web: { strategy: recreate } }"), text).await;
    }
    let alone = port.replace("  nginx:\n    image: nginx:1.28\n    ports: [\"8080:80\"]\n", "");
    finds_nothing(&of(&alone, ""), "nobody is in front of it").await;
}

#[tokio::test(start_paused = true)]
async fn an_application_taken_for_a_database_is_named() {
    let compose = web("command: [gunicorn, app]\nvolumes: [media:/srv/media]") + "volumes: { media: }\n";
    let warning = warns(&of(&compose, ""), "app-never-replaced").await;
    assert!(warning.contains("`services.web.strategy: rolling`"), "{warning}");
    finds_nothing(&of(&compose, "{ web: { strategy: rolling } }"), "it is said").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_scheduler_is_refused() {
    let beat = web("command: [celery, -A, app, beat]");
    refuses(&of(&beat, "{ web: { strategy: rolling } }"), "two-schedulers")
        .await
        .hints_at("`services.web.strategy: singleton`");
    refuses(
        &of(&web("command: [celery, -A, app, beat]\nscale: 2"), ""),
        "two-schedulers",
    )
    .await
    .says("2 schedulers send every scheduled task 2 times");
    // What only the image says is known here, and not to the choice of the strategy.
    let stack = of(SOUND, "");
    image(
        &stack,
        ImageBehaviour::running().starting_with(&[], &["celery", "-A", "app", "beat"]),
    );
    refuses(&stack, "two-schedulers").await;
    let both = web("command: [celery, -A, app, worker, -B]\nstop_grace_period: 60s");
    warns(&of(&both, ""), "beat-in-worker").await;
}

#[tokio::test(start_paused = true)]
async fn a_job_must_be_waited_for_and_must_end() {
    let job = "  seed:\n    image: web:${RELEASE_TAG}\n    restart: \"no\"\n";
    let compose = web("depends_on: [seed]") + job;
    let warning = warns(&of(&compose, ""), "one-shot-not-awaited").await;
    assert!(
        warning.contains("`depends_on: { seed: { condition: service_completed_successfully } }`"),
        "{warning}"
    );
    let waits = web("depends_on: { seed: { condition: service_completed_successfully } }");
    finds_nothing(&of(&(waits.clone() + job), ""), "it waits").await;
    let again = waits + &job.replace("\"no\"", "always");
    warns(&of(&again, ""), "one-shot-restarts").await;
}

#[tokio::test(start_paused = true)]
async fn equal_findings_are_told_once() {
    let second = "  api:\n    image: web:${RELEASE_TAG}\n    healthcheck: { disable: true }\n";
    let compose = web("healthcheck: { disable: true }") + second;
    let warning = warns(&of(&compose, ""), "no-health-test").await;
    assert!(
        warning.starts_with(
            "docker-compose.yml:11: services.api.healthcheck, docker-compose.yml:8: services.web.healthcheck: there"
        ),
        "{warning}"
    );
}

/// Deployed, using this much memory, with the next release on the engine.
async fn using(bytes: u64, lines: &str, services: &str) -> Stack {
    let stack = of(&web(lines), services);
    image(&stack, ImageBehaviour::running().using(bytes));
    stack.command(Chosen::deploy(), "v1").await.succeeded();
    stack
}

const MEGABYTE: u64 = 1_000_000;

#[tokio::test(start_paused = true)]
async fn memory_for_two_must_be_free() {
    let next = async |stack: &Stack| stack.command(Chosen::check(), "v2").await;
    let stack = using(400 * MEGABYTE, "", "").await;
    stack
        .engine
        .has_room(|room| room.memory_available = Some(399 * MEGABYTE));
    let ended = next(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("takes about 400.0 MB, by what they use now (web 400.0 MB)")
        .says("399.0 MB are free")
        .hints_at("services.web: { max_surge: 0, max_unavailable: 1 }");
    // What will not be replaced needs no second place.
    stack.command(Chosen::check(), "v1").await.succeeded();
    stack
        .engine
        .has_room(|room| room.memory_available = Some(410 * MEGABYTE));
    let ended = next(&stack).await;
    ended.succeeded();
    assert!(
        ended.warnings().contains("[lint: no-room-in-memory]"),
        "{}",
        ended.warnings()
    );
    stack
        .engine
        .has_room(|room| room.memory_available = Some(481 * MEGABYTE));
    assert_eq!(next(&stack).await.warnings(), "");
    // Where there is plenty nobody is asked.
    let before = stack.engine.calls().len();
    stack
        .engine
        .has_room(|room| room.memory_available = Some(10 << 30));
    assert_eq!(next(&stack).await.warnings(), "");
    assert!(
        stack.engine.calls()[before..]
            .iter()
            .all(|call| call.name != "usage")
    );
    // Where it cannot be known it is not passed.
    stack.engine.has_room(|room| room.memory_available = None);
    let ended = next(&stack).await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "lint").as_deref(),
        Some(
            "nothing found; not verified: memory for two of each, because the engine's host cannot be looked into from \
             here"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn limits_surge_and_replicas_decide_how_much_that_is() {
    for (lines, services, megabytes) in [
        ("mem_limit: 100000000", "", 100),
        ("scale: 3", "", 400),
        ("scale: 3", "{ web: { max_surge: 2 } }", 800),
        ("", "{ web: { max_surge: 2 } }", 400),
    ] {
        let stack = using(400 * MEGABYTE, lines, services).await;
        stack
            .engine
            .has_room(|room| room.memory_available = Some(megabytes * MEGABYTE - 1));
        stack
            .command(Chosen::check(), "v2")
            .await
            .ended(Outcome::Failed, ExitCode::Configuration)
            .says(&format!("takes about {megabytes}.0 MB"));
    }
    let stack = using(
        400 * MEGABYTE,
        "",
        "{ web: { max_surge: 0, max_unavailable: 1 } }",
    )
    .await;
    stack.engine.has_room(|room| room.memory_available = Some(1));
    stack.command(Chosen::check(), "v2").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn disk_for_a_build_must_be_free() {
    let stack = of(SOUND, "");
    stack
        .engine
        .has_room(|room| room.disk_available = Some(150 * MEGABYTE));
    refuses(&stack, "no-room-on-disk")
        .await
        .says("only 150.0 MB are free in /var/lib/docker")
        .hints_at("docker image prune");
    stack
        .engine
        .has_room(|room| room.disk_available = Some(1000 * MEGABYTE));
    let warning = warns(&stack, "no-room-on-disk").await;
    assert!(warning.contains("a build may take 2.1 GB"), "{warning}");
    stack.engine.has_room(|room| room.disk_available = None);
    let ended = check(&stack).await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "lint").as_deref(),
        Some(
            "nothing found; not verified: free disk in /var/lib/docker on the engine's host, which cannot be looked into from here"
        )
    );
}
