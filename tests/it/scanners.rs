//! Scanners, each played by a script that writes a report and ends as the tool does. tests/fixtures/scanners says which
//! reports are real ones.

use std::os::unix::fs::PermissionsExt as _;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, ImageBehaviour, Stack};

const COMPOSE: &str = "services:\n  web:\n    image: web:${RELEASE_TAG}\n";

fn stack(checks: &str) -> Stack {
    let deploy_yml = format!("project: viatique\ncompose: [docker-compose.yml]\nchecks:\n{checks}\n");
    let stack = Stack::of(COMPOSE, &deploy_yml);
    let _ = stack
        .engine
        .clone()
        .with_image("web:v1", ImageBehaviour::running());
    stack
}

/// The tool writes this report and ends so; what it was called with stands in the file `called`.
fn tool(stack: &Stack, report: &str, code: i32) {
    let fixture = format!(
        "{}/tests/fixtures/scanners/{report}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    assert!(std::fs::exists(&fixture).unwrap(), "{fixture}");
    script(
        stack,
        &format!("echo \"$*\" >> called\ncat '{fixture}'\nexit {code}"),
    );
}

fn script(stack: &Stack, body: &str) {
    let path = stack.directory.path().join("tool");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

async fn check(stack: &Stack, id: &str) -> Ended {
    let chosen = Chosen::check_with(Selection::of(&[id.to_owned()], &[]).unwrap());
    stack.command(chosen, "v1").await
}

fn called(stack: &Stack) -> String {
    std::fs::read_to_string(stack.directory.path().join("called")).unwrap()
}

/// id, what deploy.yml says of it, and what a report and an exit code come to.
struct Case(
    &'static str,
    &'static str,
    &'static str,
    i32,
    StepResult,
    &'static str,
);

const BANDIT: &str = "bandit: { run: [./tool], paths: [backend] }";
const PIP_AUDIT: &str = "pip_audit: { run: [./tool], requirements: [backend/requirements.txt] }";
const OSV: &str = "osv_scanner: { run: [./tool] }";
const TRIVY: &str = "trivy: { run: [./tool], images: [web] }";
const GRYPE: &str = "grype: { run: [./tool] }";
const SAFETY: &str = "safety: { run: [./tool], requirements: [backend/requirements.txt] }";
const SARIF: &str = "sarif: [{ name: semgrep, run: [./tool] }]";

#[tokio::test]
async fn a_report_says_more_than_an_exit_code() {
    use StepResult::{Failed, Interrupted, NotRun, NotVerified, Succeeded, Unchanged, Warned};
    for Case(id, asked, report, code, result, says) in [
        Case(
            "bandit",
            BANDIT,
            "bandit-clean",
            0,
            Succeeded,
            "bandit: 3 lines, nothing found",
        ),
        Case("bandit", BANDIT, "bandit-findings", 1, Failed, "4 problems"),
        Case(
            "bandit",
            BANDIT,
            "bandit-broken",
            0,
            NotVerified,
            "broken.py: syntax error while parsing",
        ),
        Case("bandit", BANDIT, "bandit-missing", 0, NotVerified, "No such file"),
        Case(
            "bandit",
            BANDIT,
            "bandit-empty",
            0,
            NotVerified,
            "it found no line of Python",
        ),
        Case(
            "bandit",
            BANDIT,
            "bandit-clean",
            1,
            NotVerified,
            "exit code 1, and its report names nothing",
        ),
        Case(
            "bandit",
            BANDIT,
            "bandit-clean",
            2,
            NotVerified,
            "exit code 2: it could not look",
        ),
        Case(
            "bandit",
            "bandit: { run: [./tool], fail_on: critical }",
            "bandit-findings",
            1,
            Warned,
            "4 warnings",
        ),
        Case(
            "pip-audit",
            PIP_AUDIT,
            "pip-audit-clean",
            0,
            Succeeded,
            "1 dependencies, nothing found",
        ),
        Case(
            "pip-audit",
            PIP_AUDIT,
            "pip-audit-findings",
            1,
            Failed,
            "pip-audit: django 4.2.0 has PYSEC-2023-61: Uploads of several files bypass validation. (severity unknown, \
             mended in 3.2.19, 4.2.1)",
        ),
        Case(
            "pip-audit",
            PIP_AUDIT,
            "pip-audit-skipped",
            0,
            NotVerified,
            "django was left out: Dependency not found",
        ),
        Case(
            "osv-scanner",
            OSV,
            "osv-scanner-clean",
            0,
            Succeeded,
            "nothing found",
        ),
        Case(
            "osv-scanner",
            OSV,
            "osv-scanner-critical",
            1,
            Failed,
            "(critical, mended in 4.2.1)",
        ),
        Case("osv-scanner", OSV, "osv-scanner-unscored", 1, Warned, "1 warning"),
        Case(
            "osv-scanner",
            "osv_scanner: { run: [./tool], fail_on: medium }",
            "osv-scanner-unscored",
            1,
            Failed,
            "(medium, mended in 4.2.1)",
        ),
        Case(
            "osv-scanner",
            OSV,
            "osv-scanner-clean",
            128,
            NotVerified,
            "it found no lock file to look at",
        ),
        Case(
            "osv-scanner",
            OSV,
            "osv-scanner-clean",
            127,
            NotVerified,
            "exit code 127: it failed",
        ),
        Case(
            "trivy",
            TRIVY,
            "trivy-clean",
            0,
            Succeeded,
            "trivy of web:v1: nothing found",
        ),
        Case("trivy", TRIVY, "trivy-critical", 0, Failed, "2 problems"),
        Case("trivy", TRIVY, "trivy-unfixed", 0, Warned, "1 warning"),
        Case(
            "trivy",
            "trivy: { run: [./tool], block_unfixed: true }",
            "trivy-unfixed",
            0,
            Failed,
            "openssl 3.0.13 has CVE-2023-45853",
        ),
        Case(
            "trivy",
            TRIVY,
            "trivy-nothing",
            0,
            NotVerified,
            "it found no package to look at",
        ),
        Case(
            "grype",
            GRYPE,
            "grype-clean",
            0,
            Succeeded,
            "grype of web:v1: nothing found",
        ),
        Case(
            "grype",
            GRYPE,
            "grype-critical",
            2,
            Failed,
            "django 4.2.0 has GHSA-r3xc-prgr-mg9p",
        ),
        Case("grype", GRYPE, "grype-unfixed", 0, Warned, "1 warning"),
        Case(
            "safety",
            SAFETY,
            "safety-2-clean",
            0,
            Succeeded,
            "1 packages, nothing found",
        ),
        Case(
            "safety",
            SAFETY,
            "safety-2-findings",
            64,
            Failed,
            "django 2.2 has 44742",
        ),
        Case(
            "safety",
            SAFETY,
            "safety-2-clean",
            68,
            NotVerified,
            "exit code 68: it could not run",
        ),
        Case(
            "safety",
            "safety: { run: [./tool] }",
            "safety-3-findings",
            64,
            Failed,
            "django==4.2.0 has 64976",
        ),
        Case(
            "sarif",
            SARIF,
            "sarif-clean",
            0,
            Succeeded,
            "semgrep: nothing found",
        ),
        Case("sarif", SARIF, "sarif-error", 1, Failed, "backend/views.py:12"),
        Case("sarif", SARIF, "sarif-warning", 0, Warned, "1 warning"),
        Case("sarif", SARIF, "sarif-scored", 0, Failed, "(critical)"),
        Case(
            "sarif",
            SARIF,
            "sarif-suppressed",
            1,
            Succeeded,
            "semgrep: nothing found",
        ),
        Case(
            "sarif",
            SARIF,
            "sarif-failed",
            0,
            NotVerified,
            "its report says that it failed",
        ),
        Case(
            "sarif",
            SARIF,
            "sarif-unread",
            0,
            NotVerified,
            "backend/broken.py cannot be parsed",
        ),
    ] {
        let stack = stack(&format!("  scanners:\n    {asked}"));
        tool(&stack, report, code);
        let ended = check(&stack, id).await;
        let line = ended.task_message(StepId::Check, id).unwrap();
        assert_eq!(
            ended.task_result(StepId::Check, id),
            Some(result),
            "{report} {code}: {line}"
        );
        assert!(line.contains(says), "{report} {code}: {line}");
        let expected = match result {
            Succeeded | Warned => (Outcome::Succeeded, ExitCode::Done),
            Failed | NotVerified | Unchanged | NotRun | Interrupted => (Outcome::Failed, ExitCode::Gate),
        };
        ended.ended(expected.0, expected.1);
    }
}

#[tokio::test]
async fn each_is_called_with_what_it_shall_look_at() {
    for (id, asked, report, words) in [
        ("bandit", BANDIT, "bandit-clean", "-r -q -f json backend"),
        (
            "pip-audit",
            PIP_AUDIT,
            "pip-audit-clean",
            "-f json --progress-spinner off -r backend/requirements.txt",
        ),
        (
            "osv-scanner",
            OSV,
            "osv-scanner-clean",
            "--recursive --format json .",
        ),
        (
            "trivy",
            TRIVY,
            "trivy-clean",
            "image --quiet --format json --scanners vuln web:v1",
        ),
        (
            "grype",
            GRYPE,
            "grype-clean",
            "--quiet --output json docker:web:v1",
        ),
        (
            "safety",
            SAFETY,
            "safety-2-clean",
            "check --json -r backend/requirements.txt",
        ),
    ] {
        let stack = stack(&format!("  scanners:\n    {asked}"));
        tool(&stack, report, 0);
        check(&stack, id).await.succeeded();
        assert_eq!(called(&stack), format!("{words}\n"));
    }
}

#[tokio::test]
async fn one_that_is_missing_hangs_or_dies_without_a_report_has_verified_nothing() {
    for (id, asked) in [
        ("bandit", BANDIT),
        ("pip-audit", PIP_AUDIT),
        ("osv-scanner", OSV),
        ("trivy", TRIVY),
        ("grype", GRYPE),
        ("safety", SAFETY),
        ("sarif", SARIF),
    ] {
        let stack = stack(&format!("  scanners:\n    {asked}"));
        let ended = check(&stack, id).await;
        ended
            .ended(Outcome::Failed, ExitCode::Gate)
            .says("there is no program `./tool`")
            .hints_at("install");
        assert_eq!(
            ended.task_result(StepId::Check, id),
            Some(StepResult::NotVerified)
        );
        for (body, says) in [
            ("echo Traceback >&2; exit 1", "it wrote no report"),
            ("echo '{\"half\":'; exit 0", "no report that can be read"),
            ("kill -9 $$", "was ended from without"),
        ] {
            // What its exit codes mean is documented: 1 is its own failure.
            let says = match (id, body.contains("exit 1")) {
                ("safety", true) => "it could not look",
                _ => says,
            };
            script(&stack, body);
            let ended = check(&stack, id).await;
            ended.ended(Outcome::Failed, ExitCode::Gate).says(says);
            assert_eq!(
                ended.task_result(StepId::Check, id),
                Some(StepResult::NotVerified)
            );
        }
        script(&stack, "sleep 600 & wait");
        stack.edit_deploy_yml("run: [./tool]", "timeout: 50ms, run: [./tool]");
        check(&stack, id)
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says("was not done after 0 s")
            .hints_at("`timeout`");
    }
}

#[tokio::test]
async fn a_finding_is_waived_by_its_name_and_by_its_other_names() {
    for (id, asked, report, code, names) in [
        (
            "bandit",
            BANDIT,
            "bandit-findings",
            1,
            ["B602:backend/settings.py", "B602"],
        ),
        (
            "pip-audit",
            PIP_AUDIT,
            "pip-audit-findings",
            1,
            ["PYSEC-2023-61", "CVE-2023-31047"],
        ),
        (
            "osv-scanner",
            OSV,
            "osv-scanner-critical",
            1,
            ["GHSA-r3xc-prgr-mg9p", "CVE-2023-31047"],
        ),
        (
            "trivy",
            TRIVY,
            "trivy-critical",
            0,
            ["CVE-2024-6119", "CVE-2024-6119:openssl"],
        ),
        (
            "grype",
            GRYPE,
            "grype-critical",
            2,
            ["GHSA-r3xc-prgr-mg9p", "CVE-2023-31047"],
        ),
        (
            "safety",
            SAFETY,
            "safety-2-findings",
            64,
            ["44742", "CVE-2022-22818"],
        ),
        (
            "sarif",
            SARIF,
            "sarif-error",
            1,
            ["python.django.xss:backend/views.py", "python.django.xss"],
        ),
    ] {
        for (name, blocks) in [(names[0], false), (names[1], false), ("another", true)] {
            let stack = stack(&format!(
                "  waivers: [{{ check: {id}, problem: \"{name}\", reason: known, owner: lea, until: 2030-01-01 }}]\n  \
                 scanners:\n    {asked}"
            ));
            tool(&stack, report, code);
            let ended = check(&stack, id).await;
            assert_eq!(
                ended.code == ExitCode::Gate,
                blocks,
                "{id} {name}: {:#?}",
                ended.error
            );
            let line = ended.task_message(StepId::Check, id).unwrap();
            assert_eq!(line.contains("waived by lea"), !blocks, "{line}");
        }
    }
}

#[tokio::test]
async fn what_bandit_found_in_a_string_is_not_repeated() {
    let stack = stack(&format!("  scanners:\n    {BANDIT}"));
    tool(&stack, "bandit-findings", 1);
    let ended = check(&stack, "bandit").await;
    ended
        .says("backend/settings.py:9")
        .says("subprocess call with shell=True identified")
        .says("[bandit: B602:backend/settings.py]");
    assert!(
        ended.warnings().contains("Possible hardcoded password (low)"),
        "{}",
        ended.warnings()
    );
    assert!(!format!("{:?}", ended.events).contains("swordfish"));
}

#[tokio::test]
async fn an_image_is_looked_at_once_it_is_built() {
    let stack = stack(&format!("  scanners:\n    {TRIVY}"));
    tool(&stack, "trivy-critical", 0);
    let chosen = Chosen::check_with(Selection::of(&["trivy".to_owned()], &[]).unwrap());
    let ended = stack.command(chosen, "v2").await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "trivy").unwrap(),
        "not verified: there is no image of web yet: viatique-deploy build --tag v2"
    );
}
