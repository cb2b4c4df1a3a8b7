//! Whether the team has been told: somebody else's command says so.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, ImageBehaviour, Stack};

async fn check(team: &str) -> Ended {
    let deploy_yml = format!("project: viatique\ncompose: [docker-compose.yml]\nchecks:\n  team: {team}\n");
    let stack = Stack::of("services:\n  web:\n    image: web:v1\n", &deploy_yml);
    let _ = stack
        .engine
        .clone()
        .with_image("web:v1", ImageBehaviour::running());
    let chosen = Chosen::check_with(Selection::of(&["team".to_owned()], &[]).unwrap());
    stack.command(chosen, "v1").await
}

#[tokio::test]
async fn a_command_says_whether_the_team_knows() {
    let ended = check("{ run: [\"true\"] }").await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "team").unwrap(),
        "`true` says so"
    );
    for (team, says, result) in [
        (
            "{ run: [sh, -c, \"echo nothing in the calendar; exit 1\"] }",
            "says that the team does not know (exit status: 1)",
            StepResult::Failed,
        ),
        (
            "{ run: [./knows] }",
            "there is no program `./knows`",
            StepResult::NotVerified,
        ),
        (
            "{ run: [sleep, \"600\"], timeout: 50ms }",
            "`sleep 600` was not done after 0 s (checks.team.timeout)",
            StepResult::NotVerified,
        ),
    ] {
        let ended = check(team).await;
        ended
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(says)
            .hints_at("tell the team");
        assert_eq!(ended.task_result(StepId::Check, "team"), Some(result));
    }
}
