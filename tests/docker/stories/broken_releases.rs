//! Releases that are broken in the ways releases are: each leaves v1 serving, says why, and leaves nothing behind.

use std::collections::BTreeSet;

use super::support::{Finished, Stack, docker};

/// What every broken release says, wherever it breaks.
const SAID: &str = "broken on purpose";

#[test]
fn broken_releases_leave_the_one_before_serving() {
    let stack = Stack::new("broken");
    stack.run(&["run", "--tag", "v1"]).expect_code(0);

    // A health test that is never passed; seen sooner than production would.
    stack.example.replace(
        "backend/healthcheck.py",
        "def main():\n",
        "def main():\n    sys.exit(\"broken on purpose\")\n",
    );
    stack.example.replace(
        "docker-compose.prod.yml",
        "      retries: 10\n      start_period: 20s\n",
        "      retries: 2\n      start_period: 1s\n",
    );
    let finished = leaves_v1_serving(&stack, "unhealthy", 6);
    finished.says("is unhealthy").says("health test of").says(SAID);

    // A container that exits at once.
    stack.example.append(
        "backend/viatique/wsgi.py",
        "\nraise RuntimeError(\"broken on purpose\")\n",
    );
    let finished = leaves_v1_serving(&stack, "exits", 6);
    finished
        .says("deploying backend")
        .says("last log lines of")
        .says(SAID);

    // A migration that fails.
    stack
        .example
        .append("backend/papers/migrations/0004_broken.py", MIGRATION);
    let finished = leaves_v1_serving(&stack, "migration", 1);
    finished
        .says("the migration failed")
        .says("papers.0004_broken")
        .says(SAID);

    // Static files that cannot be collected: those of v1 stay, the list of their hashed names too.
    let volume = |words: &[&str]| {
        let container = format!("{}-backend-1", stack.project);
        docker([&["exec", &container][..], words].concat())
    };
    let manifest = ["cat", "/srv/viatique/static/staticfiles.json"];
    let listed = ["find", "/srv/viatique/static", "-type", "f"];
    let files = |text: String| text.lines().map(ToOwned::to_owned).collect::<BTreeSet<String>>();
    let (list_before, files_before) = (volume(&manifest), files(volume(&listed)));
    stack.example.append(
        "backend/papers/static/papers/print.css",
        "\nbody { background: url(\"broken on purpose.png\") }\n",
    );
    let finished = leaves_v1_serving(&stack, "static", 1);
    finished.says("collectstatic").says(SAID);
    assert_eq!(volume(&manifest), list_before);
    let files_after = files(volume(&listed));
    assert!(
        files_before.is_subset(&files_after),
        "{files_before:?}\n{files_after:?}"
    );

    // A later service, when others have been replaced already.
    stack.example.append(
        "backend/viatique/celery.py",
        "\nimport sys\nif \"worker\" in sys.argv:\n    raise RuntimeError(\"broken on purpose\")\n",
    );
    let finished = leaves_v1_serving(&stack, "worker", 6);
    finished.says("deploying celery_worker").says(SAID);

    // Every container is healthy, and the visitors' health page is not.
    stack.example.edit("backend/core/views.py", |text| {
        let text = text.replace(
            "import logging\n",
            "import logging\n\nfrom django.http import HttpResponse\n",
        );
        text.replace(
            "    answer = {",
            "    if request.headers.get(\"User-Agent\") != \"healthcheck\":\n        \
                 return HttpResponse(\"broken on purpose\", status=500)\n    answer = {",
        )
    });
    stack.example.replace("deploy.yml", "timeout: 60s", "timeout: 3s");
    let before = stack.snapshot();
    let finished = stack.run(&["run", "--tag", "page"]).expect_code(6);
    finished.says("answers 500").says(SAID);
    assert_eq!(stack.serves(), "v1");
    assert_eq!(stack.snapshot().standing(), before.standing());

    // None of them is a release that one could go back to.
    let releases = stack.run(&["releases", "--output", "json"]).expect_code(0).json();
    assert_eq!(releases["releases"].as_array().unwrap().len(), 1, "{releases}");
    assert_eq!(releases["releases"][0]["tag"], "v1", "{releases}");
}

const MIGRATION: &str = r#"
from django.db import migrations


def fail(apps, schema_editor):
    raise RuntimeError("broken on purpose")


class Migration(migrations.Migration):
    dependencies = [("papers", "0003_annotation_index")]
    operations = [migrations.RunPython(fail)]
"#;

/// Runs the release as the sources are, mends them, and holds what stands against what stood.
#[track_caller]
fn leaves_v1_serving(stack: &Stack, tag: &str, code: i32) -> Finished {
    let before = stack.snapshot();
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", tag]);
    stack.example.mend();
    let answers = visitor.stop();
    let finished = finished.expect_code(code);
    assert!(answers.failures.is_empty(), "{answers:?}: {finished}");
    assert!(answers.releases.contains_key("v1"), "{answers:?}: {finished}");
    assert_eq!(stack.serves(), "v1", "{finished}");
    assert_eq!(stack.snapshot().standing(), before.standing(), "{finished}");
    finished
}
