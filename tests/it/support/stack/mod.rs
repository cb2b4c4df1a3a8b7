//! A Viatique-like stack on the simulated engine, driven by whole commands: lock, ledger, journal, steps, record.
//! What a test changes is the files, the images' behaviour, and what the commands in the containers answer.

mod ended;
mod server;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::sync::watch;
use viatique_deploy::app::deliver::Deliver;
use viatique_deploy::clock::Clock as _;
use viatique_deploy::commands::drive::Drive;
use viatique_deploy::commands::notices::{self, Notices};
use viatique_deploy::commands::rebuilt::rebuilt;
use viatique_deploy::commands::reported::ReportPlace;
use viatique_deploy::commands::resume::Resumed;
use viatique_deploy::commands::rollback;
use viatique_deploy::commands::steps::{Chosen, asked_for};
use viatique_deploy::compose::{self, LoadRequest, Source};
use viatique_deploy::config;
use viatique_deploy::error::Failure;
use viatique_deploy::ledger::{self, Memory, Releases};
use viatique_deploy::notify::target;
use viatique_deploy::pipeline::{Interrupt, Reply, Settings};
use viatique_deploy::release::{RecordedFile, Release, RunId, Tag};
use viatique_deploy::secret::Secret;
use viatique_deploy::steps::reverse::Newer;

pub(crate) use ended::Ended;
use ended::Recorder;
pub(crate) use server::{FakeDatabase, LIVE, Server};
pub(crate) use texts::{COMPOSE, DEPLOY_YML, DUMP, PASSWORD, fit_for_production};

use super::{FakeApp, FakeCommand, FakeEngine, FakeOutput, ImageBehaviour};

/// The project's name.
pub(crate) const PROJECT: &str = "viatique";

/// Longer than any command takes that does not hang, in tokio's time.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// What Django's database knows: which migrations stand, and which the next image brings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    pub(crate) applied: Vec<(String, String)>,
    pub(crate) pending: Vec<(String, String)>,
    /// What the script says of pending ones beyond that they are harmless: by `app.name`, the kind, and the words.
    pub(crate) judged: Vec<(String, &'static str, &'static str)>,
    pub(crate) server: Server,
    /// Of the container in which a backup is tried.
    pub(crate) scratch: Server,
}

type Answers = dyn Fn(&FakeCommand) -> Option<FakeOutput> + Send + Sync;

/// The stack, and the person who types commands.
pub(crate) struct Stack {
    pub(crate) engine: FakeEngine,
    pub(crate) app: FakeApp,
    pub(crate) directory: Arc<TempDir>,
    pub(crate) database: Arc<Mutex<Database>>,
    /// What is typed as `--lock-wait`.
    pub(crate) lock_wait: Duration,
    /// What somebody who sits at the terminal answers; nobody does where `None`.
    pub(crate) person: Option<bool>,
    /// What they say of a release that serves, one after the other.
    pub(crate) replies: Vec<Reply>,
    /// With this they interrupt when they have said all that.
    pub(crate) interrupter: Option<watch::Sender<u32>>,
    /// What carries notices, where `deploy.yml` says that there are any.
    pub(crate) courier: Option<Arc<dyn Deliver>>,
    /// What is typed as `--report`; nothing is written by itself.
    pub(crate) report: Option<ReportPlace>,
    compose: Mutex<String>,
    deploy_yml: Mutex<String>,
    runs: Arc<AtomicU32>,
}

/// Calls that hang forever are what tests wait for, not the limits of checks.
const PATIENT: &str = "checks: { timeout: 100h }\n";

impl Stack {
    /// The stack of the workflow.
    pub(crate) fn viatique() -> Self {
        Self::of(COMPOSE, DEPLOY_YML)
    }

    /// A stack of these files. Every context that they build from exists.
    pub(crate) fn of(compose: &str, deploy_yml: &str) -> Self {
        let engine = FakeEngine::new()
            .with_image("postgres:17", ImageBehaviour::running())
            .with_image("redis:7", ImageBehaviour::running())
            .with_image("nginx:1.28", ImageBehaviour::running())
            .with_image("nginx:1.29", ImageBehaviour::running());
        let directory = Arc::new(quick_folder());
        for context in ["backend", "worker", "beat", "frontend"] {
            let context = directory.path().join(context);
            std::fs::create_dir(&context).unwrap();
            std::fs::write(context.join("Dockerfile"), "FROM scratch\n").unwrap();
        }
        let stack = Self {
            engine,
            app: FakeApp::healthy(),
            directory,
            database: Arc::default(),
            lock_wait: Duration::ZERO,
            person: None,
            replies: Vec::new(),
            interrupter: None,
            courier: None,
            report: None,
            compose: Mutex::new(compose.to_owned()),
            deploy_yml: Mutex::new(deploy_yml.to_owned()),
            runs: Arc::default(),
        };
        stack.answer(|_| None);
        stack
    }

    /// Another engine on which the same stands, with the same project beside it. Commands answer as on a healthy day.
    pub(crate) fn fork(&self) -> Self {
        let database = self.database.lock().unwrap();
        let fork = Self {
            engine: self.engine.fork(),
            app: self.app.clone(),
            directory: Arc::clone(&self.directory),
            database: Arc::new(Mutex::new(database.clone())),
            lock_wait: self.lock_wait,
            person: self.person,
            replies: self.replies.clone(),
            interrupter: None,
            courier: self.courier.clone(),
            report: self.report.clone(),
            compose: Mutex::new(self.compose.lock().unwrap().clone()),
            deploy_yml: Mutex::new(self.deploy_yml.lock().unwrap().clone()),
            runs: Arc::clone(&self.runs),
        };
        fork.answer(|_| None);
        fork
    }

    /// Commands in containers answer so; where the closure says nothing, as on a healthy day.
    pub(crate) fn answer(
        &self,
        answers: impl Fn(&FakeCommand) -> Option<FakeOutput> + Send + Sync + 'static,
    ) {
        let answers: Arc<Answers> = Arc::new(answers);
        let database = Arc::clone(&self.database);
        // Clones share the script.
        let _ = self.engine.clone().with_commands(move |command| {
            answers(command).unwrap_or_else(|| texts::healthy_day(command, &mut database.lock().unwrap()))
        });
    }

    /// The next image brings this migration.
    pub(crate) fn bring_migration(&self, app: &str, name: &str) {
        self.database
            .lock()
            .unwrap()
            .pending
            .push((app.to_owned(), name.to_owned()));
    }

    /// The next image brings this migration, and of it the script says so: `breaks`, `unsure`, `irreversible`, `loses`.
    pub(crate) fn bring_migration_that(&self, app: &str, name: &str, kind: &'static str, why: &'static str) {
        self.bring_migration(app, name);
        let mut database = self.database.lock().unwrap();
        database.judged.push((format!("{app}.{name}"), kind, why));
    }

    /// Replaces a piece of the Compose file, which must be there.
    pub(crate) fn edit_compose(&self, old: &str, new: &str) {
        edit(&mut self.compose.lock().unwrap(), old, new);
    }

    /// Replaces a piece of `deploy.yml`, which must be there.
    pub(crate) fn edit_deploy_yml(&self, old: &str, new: &str) {
        edit(&mut self.deploy_yml.lock().unwrap(), old, new);
    }

    /// Containers of this image behave so: `service` as the Compose file names its image.
    pub(crate) fn image_is(&self, reference: &str, behaviour: ImageBehaviour) {
        self.engine.change_sources(reference, behaviour);
    }

    /// Where backups are written.
    pub(crate) fn backups(&self) -> PathBuf {
        self.directory.path().join("backups")
    }

    /// Settings as the files stand now.
    pub(crate) fn settings(&self, tag: &str) -> Settings {
        let sources = vec![Source {
            path: self.directory.path().join("docker-compose.yml"),
            text: self.compose.lock().unwrap().clone(),
        }];
        self.settings_from(sources, tag, BTreeMap::new())
    }

    /// Settings of a recorded release.
    pub(crate) fn recorded_settings(&self, release: &Release) -> Settings {
        let sources = release
            .compose
            .iter()
            .map(|file| Source {
                path: self.directory.path().join(&file.path),
                text: file.text.clone(),
            })
            .collect();
        self.settings_from(sources, release.tag.as_str(), release.images.clone())
    }

    fn settings_from(
        &self,
        sources: Vec<Source>,
        tag: &str,
        images: BTreeMap<compose::ServiceName, viatique_deploy::release::ReleasedImage>,
    ) -> Settings {
        let directory = self.directory.path();
        let mut text = self.deploy_yml.lock().unwrap().clone();
        if !text.contains("\nchecks:") {
            text.push_str(PATIENT);
        }
        let config = config::parse(&directory.join("deploy.yml"), &text).unwrap();
        let recorded = sources
            .iter()
            .map(|source| RecordedFile {
                path: source.path.strip_prefix(directory).unwrap().to_owned(),
                text: source.text.clone(),
            })
            .collect();
        let read =
            compose::read_variables_below(&config.env_files(), &BTreeMap::new(), BTreeMap::new()).unwrap();
        let mut variables = read.values;
        variables.insert("RELEASE_TAG".to_owned(), Secret::new(tag.to_owned()));
        variables.insert("DB_PASSWORD".to_owned(), Secret::new(PASSWORD.to_owned()));
        let mut smoke_variables = variables.clone();
        let wanted = |name: &String| {
            let mut wanted = config.smoke.iter().flat_map(config::Smoke::environment);
            wanted.any(|(_, wanted)| wanted == name)
        };
        smoke_variables.retain(|name, _| wanted(name));
        let project = compose::load(&LoadRequest {
            project_name: PROJECT.to_owned(),
            project_directory: directory.to_owned(),
            sources,
            variables,
            variable_places: read.places,
            public_variables: BTreeSet::from(["RELEASE_TAG".to_owned()]),
            profiles: Vec::new(),
            read_file: &|path| std::fs::read_to_string(path),
        })
        .unwrap_or_else(|errors| panic!("{errors}"));
        let problems = config::validate(&config, &project);
        assert!(problems.is_empty(), "{problems:?}");
        Settings {
            backup_directory: self.backups(),
            config,
            project,
            sources: recorded,
            tag: Tag::new(tag).unwrap(),
            staging: None,
            images,
            current: None,
            replace: BTreeSet::new(),
            allow_incompatible: false,
            maintenance: false,
            restores: None,
            reverses: None,
            smoke_variables,
            skip_smoke: false,
            assume_manual: false,
        }
    }

    /// `viatique-deploy run --tag …`
    pub(crate) async fn run(&self, tag: &str) -> Ended {
        self.command(Chosen::run(), tag).await
    }

    /// `viatique-deploy run --tag … --replace …`
    ///
    /// # Errors
    /// Where there is no such service.
    pub(crate) async fn run_replacing(&self, tag: &str, services: &[&str]) -> Result<Ended, Failure> {
        let mut settings = self.settings(tag);
        let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
        settings.replace = asked_for(&settings.project, &services)?;
        Ok(self
            .drive(Chosen::run(), &mut settings, false, &nobody_interrupts())
            .await)
    }

    /// One of the other commands that make a release or concern one.
    pub(crate) async fn command(&self, chosen: Chosen, tag: &str) -> Ended {
        let mut settings = self.settings(tag);
        self.drive(chosen, &mut settings, false, &nobody_interrupts())
            .await
    }

    /// The same, with settings that the test has changed.
    pub(crate) async fn command_with(&self, chosen: Chosen, mut settings: Settings) -> Ended {
        self.drive(chosen, &mut settings, false, &nobody_interrupts())
            .await
    }

    /// `viatique-deploy run --tag …`, with somebody at the keyboard.
    pub(crate) async fn run_interruptibly(&self, tag: &str, interrupt: &Interrupt) -> Ended {
        self.drive(Chosen::run(), &mut self.settings(tag), false, interrupt)
            .await
    }

    /// `viatique-deploy … --dry-run`
    pub(crate) async fn dry_run(&self, chosen: Chosen, tag: &str) -> Ended {
        let mut settings = self.settings(tag);
        self.drive(chosen, &mut settings, true, &nobody_interrupts())
            .await
    }

    /// `viatique-deploy rollback --dry-run`
    pub(crate) async fn dry_run_of(&self, chosen: Chosen, release: &Release) -> Ended {
        let mut settings = self.recorded_settings(release);
        self.drive(chosen, &mut settings, true, &nobody_interrupts())
            .await
    }

    /// `viatique-deploy rollback`, with `--to` or without.
    ///
    /// # Errors
    /// Where there is nothing to go back to.
    pub(crate) async fn rollback(&self, to: Option<&str>) -> Result<Ended, Failure> {
        self.rollback_interruptibly(to, &nobody_interrupts()).await
    }

    /// The same, with somebody at the keyboard.
    ///
    /// # Errors
    /// Where there is nothing to go back to.
    pub(crate) async fn rollback_interruptibly(
        &self,
        to: Option<&str>,
        interrupt: &Interrupt,
    ) -> Result<Ended, Failure> {
        let memory = self.memory().await;
        let target = rollback::target(&memory, to)?;
        let mut settings = self.recorded_settings(target);
        let chosen = Chosen::rollback(target);
        Ok(self.drive(chosen, &mut settings, false, interrupt).await)
    }

    /// `viatique-deploy resume`; `None` where there is nothing to finish.
    ///
    /// # Errors
    /// Where it cannot be finished forward.
    pub(crate) async fn resume(&self) -> Result<Option<Ended>, Failure> {
        self.resume_with(None).await
    }

    /// `viatique-deploy resume --tag …`
    ///
    /// # Errors
    /// Where it cannot be finished forward.
    pub(crate) async fn resume_with(&self, tag: Option<&str>) -> Result<Option<Ended>, Failure> {
        let memory = self.memory().await;
        let Some(run) = &memory.unfinished else {
            return Ok(None);
        };
        let asked = tag.map(|tag| Tag::new(tag).unwrap());
        let resumed = Resumed::of(&memory.releases, run, asked)?;
        let mut settings = match &resumed {
            Resumed::Made { tag, .. } => self.settings(tag.as_str()),
            Resumed::Recorded { release, .. } => self.recorded_settings(release),
        };
        settings.maintenance = run.header.maintenance;
        settings.skip_smoke = run.header.skip_smoke;
        settings.restores = run.header.restores.clone();
        settings.reverses = run.header.reverses.clone();
        settings.allow_incompatible = run.header.allow_incompatible;
        settings.replace = asked_for(&settings.project, &run.header.replace)?;
        let chosen = resumed.chosen(&memory.releases, |newer| Ok(self.settings_of(newer)))?;
        Ok(Some(
            self.drive(chosen, &mut settings, false, &nobody_interrupts())
                .await,
        ))
    }

    /// Of another release than the command is about.
    pub(crate) fn settings_of(&self, newer: Newer<'_>) -> Settings {
        match newer {
            Newer::Recorded(release) => self.recorded_settings(release),
            Newer::Tagged(tag) => self.settings(tag.as_str()),
        }
    }

    async fn drive(
        &self,
        chosen: Chosen,
        settings: &mut Settings,
        dry_run: bool,
        interrupt: &Interrupt,
    ) -> Ended {
        // One that cannot be read is for the command itself to find.
        let memory = ledger::read(&self.engine.onlooker(), PROJECT).await;
        let memory = memory.unwrap_or_default();
        let settings_of = |tag: Tag| futures_util::future::ready(Ok(self.settings(tag.as_str()))).boxed();
        let onlooker = self.engine.onlooker();
        let rebuilt = rebuilt(&onlooker, PROJECT, &memory, &settings_of).await.unwrap();
        let current = rebuilt.current().or_else(|| memory.releases.current());
        settings.current = current.cloned();
        let recorder = Arc::new(Recorder::before(
            self.person,
            &self.replies,
            self.interrupter.clone(),
        ));
        let number = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        // No two commands at the same second.
        self.engine.a_second_passes();
        let run = RunId::new(self.engine.now(), number);
        let notices = match &self.courier {
            Some(courier) if chosen.tells() => Some(self.notices(settings, Arc::clone(courier))),
            Some(_) | None => None,
        };
        let drive = Drive {
            command: chosen.name,
            engine: &self.engine,
            app: &self.app,
            clock: &self.engine,
            settings,
            stages: chosen.stages,
            effect: chosen.effect,
            finishes: chosen.finishes,
            rebuilt,
            lock_wait: self.lock_wait,
            notices,
            report: self.report.clone(),
            dry_run,
        };
        // Steps that run side by side take turns where they wait, and only there. With tokio's budget they would also
        // do so after so many calls; whether the backup's file is written by then is the machine's business.
        let typed = drive.run_as(run.clone(), interrupt, Arc::clone(&recorder) as Arc<_>);
        let code = tokio::task::unconstrained(typed).await;
        let ended = recorder.ended(run, code);
        self.no_secret_is_told(&ended);
        ended
    }

    fn notices(&self, settings: &Settings, courier: Arc<dyn Deliver>) -> Notices {
        let files = settings.config.env_files();
        let variables = compose::read_variables_below(&files, &BTreeMap::new(), BTreeMap::new()).unwrap();
        let targets = target::resolve(&settings.config, &variables.values).unwrap();
        let mask = notices::mask(&settings.project, [], &variables.values);
        Notices::new(targets, courier, mask)
    }

    /// The password is in no event (which is all that any output is made of), no label, no name and no file of the
    /// ledger, whatever was typed and however it ended.
    #[track_caller]
    fn no_secret_is_told(&self, ended: &Ended) {
        let seen = self.engine.peek();
        let ledger = ledger::object_name(PROJECT);
        let files = seen.volumes.get(&ledger).into_iter().flatten();
        let kept = files.map(|(path, content)| format!("{path} {}", String::from_utf8_lossy(content)));
        let told = ended.events.iter().map(|event| format!("{event:?}"));
        let named = seen
            .containers
            .iter()
            .map(|one| format!("{} {:?}", one.name, one.labels));
        let labelled = seen.networks.iter().map(|one| format!("{one:?}"));
        for text in kept.chain(told).chain(named).chain(labelled) {
            assert!(!text.contains(PASSWORD), "a secret is told: {text}");
        }
    }

    /// The recorded releases, as somebody else reads them: not one of the command's calls.
    pub(crate) async fn releases(&self) -> Releases {
        self.memory().await.releases
    }

    /// Whoever holds the lock, if somebody does, is a process that this machine has not.
    pub(crate) fn process_is_gone(&self) {
        let lock = "viatique-deploy-lock-viatique";
        if self.engine.peek().names().contains(lock) {
            self.engine
                .relabel(lock, "viatique-deploy.lock.process", "4194305");
        }
    }

    /// All that is recorded.
    pub(crate) async fn memory(&self) -> Memory {
        let onlooker = self.engine.onlooker();
        let mut memory = ledger::read(&onlooker, PROJECT).await.unwrap();
        let settings_of = |tag: Tag| futures_util::future::ready(Ok(self.settings(tag.as_str()))).boxed();
        let rebuilt = rebuilt(&onlooker, PROJECT, &memory, &settings_of).await.unwrap();
        if rebuilt.current().is_some() {
            memory.releases = rebuilt;
        }
        memory
    }
}

/// Where a sync costs nothing, if there is such a place.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn edit(text: &mut String, old: &str, new: &str) {
    assert!(text.contains(old), "there is no {old:?} in\n{text}");
    *text = text.replace(old, new);
}

fn nobody_interrupts() -> Interrupt {
    Interrupt::new().1
}
