//! What the release's migrations would mean for the release that serves. Asked in a container of the release's image, which
//! is removed again.

use futures_util::FutureExt as _;

use super::django::with_removing;
use super::registry::{Asking, Check, Look, When};
use super::verdict::{Level, Problem, Verdict};
use crate::error::{Failure, FailureKind};
use crate::pipeline::ChangeKind;
use crate::steps::application::{Application, NO_APPLICATION};
use crate::steps::migrate::judgement::{self, Judgement};
use crate::steps::migrate::refused;
use crate::steps::one_off;

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[Check {
    id: "migrations",
    title: "the running release bears the pending migrations",
    protects_from: "the release that serves failing on the new schema until it is replaced",
    level: Level::Blocks,
    how: "asks Django in the release's image which migrations are pending, and judges their operations",
    remedy: "take two releases, or close the site for it: viatique-deploy run --maintenance",
    when: When::Gate,
    refuses_as: FailureKind::Gate,
    applies: |settings| settings.config.django.is_some(),
    look: Look::Asks(|asking| migrations(asking).boxed()),
    time_limit: Some(with_removing),
}];

async fn migrations(asking: Asking<'_>) -> Result<Verdict, Failure> {
    if let Some(applied) = &asking.context.state.nothing_pending {
        // The rehearsal has asked a moment ago.
        return Ok(Verdict::Passed(format!("{} applied, 0 pending", applied.len())));
    }
    let context = asking.context;
    let limit = context.settings.config.checks.timeout.0;
    let judged = match tokio::time::timeout(limit, judgement::judge(context)).await {
        Ok(Ok(judged)) => judged,
        // Django was not even asked.
        Ok(Err(failure)) if failure.of_engine().is_some() => return Err(failure),
        Ok(Err(failure)) => return Ok(Verdict::found(Problem::unverified_for(failure))),
        Err(_) => {
            if let Some(application) = Application::of(context.settings) {
                one_off::remove(context, &application.service.name, judgement::JUDGE).await?;
            }
            return Ok(Verdict::not_verified(format!(
                "django did not answer within {} s, and its container was removed",
                limit.as_secs()
            )));
        }
    };
    let state = match &judged {
        None => return Ok(Verdict::NotYet(NO_APPLICATION.to_owned())),
        Some(Judgement::NotYet(why)) => return Ok(Verdict::NotYet(why.clone())),
        Some(Judgement::Known(state)) => state,
    };
    if state.breaks() && !asking.context.settings.allow_incompatible {
        return Ok(Verdict::found(Problem::of(refused(state))));
    }
    if state.pending.is_empty() {
        asking.shared.nothing_is_pending(state.applied.clone());
    }
    let warned: Vec<Problem> = judged
        .iter()
        .flat_map(judgement::lines)
        .filter(|line| line.kind == ChangeKind::Warn)
        .map(|line| {
            Problem::wrong(format!("{}: {}", line.target, line.detail))
                .key(line.target)
                .level(Level::Warns)
        })
        .collect();
    Ok(Verdict::of(
        warned,
        format!("{} applied, {} pending", state.applied.len(), state.pending.len()),
    ))
}
