//! Builds with BuildKit: what arrives, what is told, and that equal inputs give the same image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use viatique_deploy::compose::{Build, ExtraHost};
use viatique_deploy::engine::{BuildEvent, BuildRequest, BuildSink, Captured, EngineErrorKind, ImageId};

use crate::contract::specs::build_of;
use crate::contract::{Ground, specs};
use crate::support::{BUSYBOX, on_docker};

#[derive(Default)]
struct Heard(Mutex<Vec<BuildEvent>>);

impl BuildSink for Heard {
    fn event(&self, event: BuildEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Heard {
    fn all(&self) -> Vec<BuildEvent> {
        self.0.lock().unwrap().clone()
    }

    fn finished(&self, part: &str) -> Option<bool> {
        self.all().into_iter().find_map(|event| {
            if let BuildEvent::StepFinished { title, cached, .. } = event
                && title.contains(part)
            {
                Some(cached)
            } else {
                None
            }
        })
    }
}

fn request(ground: &Ground, build: Build, tag: &str) -> BuildRequest {
    BuildRequest {
        title: "web".to_owned(),
        build,
        tags: vec![format!("{}:{tag}", ground.name("web"))],
        labels: BTreeMap::new(),
    }
}

async fn output_of(ground: &Ground, image: &ImageId, command: &[&str]) -> String {
    let spec = specs::one_off(&ground.project, &ground.name("look"), image, command);
    let mut output = Captured::default();
    let exit = ground.engine.run_one_off(&spec, &mut output).await.unwrap();
    assert!(exit.success(), "{}", output.stderr_text());
    output.stdout_text()
}

#[tokio::test]
async fn equal_inputs_give_the_same_image() {
    on_docker("equal_inputs", async |ground: Ground| {
        let folder = tempfile::tempdir().unwrap();
        let salt = &ground.project;
        fs::write(
            folder.path().join("Dockerfile"),
            format!("FROM {BUSYBOX}\nRUN echo {salt}\nCOPY a /a\nRUN cat /a\n"),
        )
        .unwrap();
        fs::write(folder.path().join("a"), format!("one {salt}")).unwrap();
        let mut first = request(&ground, build_of(folder.path()), "1");
        first.build.tags = vec![format!("{}:also", ground.name("web"))];
        let heard = Heard::default();
        let id = ground.engine.build(&first, &heard).await.unwrap();
        for tag in ["1", "also"] {
            let reference = format!("{}:{tag}", ground.name("web"));
            assert_eq!(ground.engine.image(&reference).await.unwrap().unwrap().id, id);
        }
        assert_eq!(heard.finished("COPY a /a"), Some(false));
        let events = heard.all();
        let bytes = events.iter().find_map(|event| {
            if let BuildEvent::Context { files: 2, bytes } = event {
                Some(*bytes)
            } else {
                None
            }
        });
        assert!(bytes.is_some_and(|bytes| bytes > 20), "{events:?}");
        let said = events
            .iter()
            .any(|event| matches!(event, BuildEvent::Output { line, .. } if *line == format!("one {salt}")));
        assert!(said, "{events:?}");
        let mut ended = BTreeSet::new();
        for event in &events {
            if let BuildEvent::StepFinished { id, .. } = event {
                assert!(ended.insert(id.clone()), "told once: {id}");
            }
        }

        // A fresh checkout: other times, the same content.
        let later = SystemTime::now() + Duration::from_secs(5000);
        fs::File::options()
            .write(true)
            .open(folder.path().join("a"))
            .unwrap()
            .set_modified(later)
            .unwrap();
        let second = request(&ground, build_of(folder.path()), "2");
        let heard = Heard::default();
        assert_eq!(ground.engine.build(&second, &heard).await.unwrap(), id);
        assert_eq!(heard.finished("COPY a /a"), Some(true));

        fs::write(folder.path().join("a"), "two").unwrap();
        let third = request(&ground, build_of(folder.path()), "3");
        assert_ne!(ground.engine.build(&third, &Heard::default()).await.unwrap(), id);
    })
    .await;
}

#[tokio::test]
async fn a_failed_build_says_which_step_and_what_it_wrote() {
    on_docker("failed_build", async |ground: Ground| {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("FROM {BUSYBOX}\nRUN seq 1 100; echo {}; exit 7\n", ground.project);
        fs::write(folder.path().join("Dockerfile"), text).unwrap();
        let request = request(&ground, build_of(folder.path()), "1");
        let error = ground
            .engine
            .build(&request, &Heard::default())
            .await
            .expect_err("it exits with 7");
        assert_eq!(error.kind, EngineErrorKind::BuildFailed);
        assert!(error.message.contains("RUN seq 1 100"), "{error}");
        assert!(error.message.contains("exit code: 7"), "{error}");
        assert_eq!(error.detail.len(), 30);
        assert_eq!(error.detail.last(), Some(&ground.project));
        assert_eq!(error.detail.first().map(String::as_str), Some("72"));
        assert!(ground.engine.image(&request.tags[0]).await.unwrap().is_none());

        fs::write(folder.path().join("Dockerfile"), "FORM x\n").unwrap();
        let error = ground
            .engine
            .build(&request, &Heard::default())
            .await
            .expect_err("no such instruction");
        assert_eq!(error.kind, EngineErrorKind::BuildFailed);
        assert!(
            error.message.to_lowercase().contains("unknown instruction"),
            "{error}"
        );
    })
    .await;
}

/// Each build waits until it has seen all the others, in a folder that they share: one after another, none would end.
#[tokio::test]
async fn builds_run_side_by_side_and_each_hears_of_itself_alone() {
    on_docker("side_by_side", async |ground: Ground| {
        let names = ["one", "two", "three", "four"];
        let folder = tempfile::tempdir().unwrap();
        let builds = names.map(|name| {
            let text = format!(
                "FROM {BUSYBOX}\nRUN --mount=type=cache,id={id},target=/meet echo from-{name} && touch /meet/{name} && \
                 n=0; until [ $(ls /meet | wc -l) = 4 ]; do n=$((n + 1)); [ $n -lt 600 ] || exit 9; sleep 0.1; done\n",
                id = ground.project
            );
            let mut build = build_of(folder.path());
            build.dockerfile_inline = Some(text);
            let mut request = request(&ground, build, name);
            request.title = name.to_owned();
            let engine = std::sync::Arc::clone(&ground.engine);
            async move {
                let heard = Heard::default();
                let image = engine.build(&request, &heard).await;
                (name, image, heard)
            }
        });
        let mut images = BTreeSet::new();
        for (name, image, heard) in futures_util::future::join_all(builds).await {
            images.insert(image.unwrap());
            let said: Vec<String> = heard
                .all()
                .into_iter()
                .filter_map(|event| match event {
                    BuildEvent::Output { line, .. } => Some(line),
                    BuildEvent::Context { .. }
                    | BuildEvent::StepStarted { .. }
                    | BuildEvent::StepFinished { .. }
                    | BuildEvent::Pull { .. } => None,
                })
                .collect();
            assert_eq!(said, [format!("from-{name}")]);
        }
        assert_eq!(images.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_missing_dockerfile_is_named_and_links_stay_links() {
    on_docker("missing_dockerfile", async |ground: Ground| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("Dockerfile"),
            format!("FROM {BUSYBOX}\nCOPY . /x\n"),
        )
        .unwrap();
        // Leads nowhere here; followed, it could not be sent.
        std::os::unix::fs::symlink("/no/such/file", folder.path().join("a")).unwrap();
        let request = request(&ground, build_of(folder.path()), "1");
        let id = ground.engine.build(&request, &Heard::default()).await.unwrap();
        let target = output_of(&ground, &id, &["readlink", "/x/a"]).await;
        assert_eq!(target.trim(), "/no/such/file");
        let mut missing = request.clone();
        missing.build.dockerfile = Some(folder.path().join("missing.Dockerfile"));
        let error = ground
            .engine
            .build(&missing, &Heard::default())
            .await
            .expect_err("there is none");
        assert_eq!(error.kind, EngineErrorKind::Invalid);
        assert!(error.message.contains("missing.Dockerfile"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn arguments_target_labels_hosts_and_inline_reach_the_builder() {
    on_docker("build_options", async |ground: Ground| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "from the context").unwrap();
        let mut build = build_of(folder.path());
        build.dockerfile_inline = Some(format!(
            "FROM {BUSYBOX} AS base\nARG GREETING=nothing\nARG DEFAULTED=default\n\
             RUN echo $GREETING $DEFAULTED > /greeting; cat /etc/hosts > /seen-hosts\nCOPY a /a\n\
             FROM base AS wanted\nLABEL own=yes\nFROM base AS last\nRUN exit 1\n"
        ));
        build.args = BTreeMap::from([
            ("GREETING".to_owned(), Some("bonjour & à bientôt?".to_owned())),
            ("DEFAULTED".to_owned(), None),
        ]);
        build.target = Some("wanted".to_owned());
        build.no_cache = true;
        build.extra_hosts = vec![
            ExtraHost {
                host: "one.test".to_owned(),
                address: "192.0.2.1".to_owned(),
            },
            ExtraHost {
                host: "two.test".to_owned(),
                address: "192.0.2.2".to_owned(),
            },
        ];
        let mut request = request(&ground, build, "1");
        request.labels = BTreeMap::from([("team".to_owned(), "a=b&c".to_owned())]);
        let id = ground.engine.build(&request, &Heard::default()).await.unwrap();
        let image = ground.engine.image(&id.0).await.unwrap().unwrap();
        assert_eq!(image.labels["team"], "a=b&c");
        assert_eq!(image.labels["own"], "yes");
        let seen = output_of(&ground, &id, &["cat", "/greeting", "/a"]).await;
        assert_eq!(seen, "bonjour & à bientôt? default\nfrom the context");
        let hosts = output_of(&ground, &id, &["cat", "/seen-hosts"]).await;
        for line in ["192.0.2.1", "one.test", "192.0.2.2", "two.test"] {
            assert!(hosts.contains(line), "{hosts}");
        }
    })
    .await;
}

/// What the `docker` command's own builder sends of a folder is the measure.
#[tokio::test]
async fn the_same_files_arrive_as_with_the_docker_command() {
    on_docker("same_files", async |ground: Ground| {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "a.log",
            "sub/b.log",
            "node_modules/x",
            "sub/node_modules/y",
            "docs/a.md",
            "docs/keep.md",
            "docs/deep/keep.md",
            ".git/config",
            ".env",
            "src/app.py",
            "src/__pycache__/app.pyc",
            "tmp/x",
            "keep/tmp/y",
            "#odd",
            "build/out/z",
            "data/one.csv",
            "data/two.csv",
            "mixed/a",
            "mixed/b",
            "mixed/sub/c",
        ];
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        std::os::unix::fs::symlink("src", folder.path().join("link")).unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        fs::write(
            folder.path().join("Dockerfile"),
            format!("FROM {BUSYBOX}\nCOPY . /ctx\n"),
        )
        .unwrap();
        let list = ["sh", "-c", "cd /ctx && find . | sort"];
        for patterns in [
            "",
            "*.log\nnode_modules\ndocs\n!docs/keep.md\n",
            "**/*.log\n**/node_modules\n.git\n.env*\n**/__pycache__\n# comment\n\n/tmp\n",
            "*\n!src\n!docs/deep\nsrc/__pycache__\n",
            "docs/*\n!docs/deep\nbuild/\n**/tmp\n\\#odd\ndata/[a-o]*.csv\n",
            "mixed\n!mixed/sub\nmi?ed/sub/x\n!mixed/b\n",
        ] {
            fs::write(folder.path().join(".dockerignore"), patterns).unwrap();
            let request = request(&ground, build_of(folder.path()), "ours");
            let ours = ground.engine.build(&request, &Heard::default()).await.unwrap();
            let theirs = format!("{}:theirs", ground.name("web"));
            let built = Command::new("docker")
                .args(["build", "-q", "-t", &theirs])
                .arg(folder.path())
                .env("DOCKER_BUILDKIT", "0")
                .output()
                .unwrap();
            assert!(
                built.status.success(),
                "{}",
                String::from_utf8_lossy(&built.stderr)
            );
            let their_id = ground.engine.image(&theirs).await.unwrap().unwrap().id;
            // The classic builder removes its own files again where they are ignored.
            let without_builders = |text: String| -> Vec<String> {
                let own = ["./Dockerfile", "./.dockerignore"];
                text.lines()
                    .filter(|line| !own.contains(line))
                    .map(str::to_owned)
                    .collect()
            };
            let sent = without_builders(output_of(&ground, &ours, &list).await);
            let measure = without_builders(output_of(&ground, &their_id, &list).await);
            assert_eq!(sent, measure, "{patterns:?}");
        }
    })
    .await;
}
