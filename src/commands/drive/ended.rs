//! What follows a run's last step: those who are told of it, its checklist, its account, its report, and its last event.
//! None of it changes how the run has ended; each ends by itself, or once somebody asks again that the run be over.

use std::time::Duration;

use time::OffsetDateTime;

use super::super::accounted::{self, Finish};
use super::super::checklist::Served;
use super::super::exit_code;
use super::super::notices::{End, Times};
use super::super::reported;
use super::Drive;
use crate::account::Gathered;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::notify::Observed;
use crate::pipeline::{Event, Events, Interrupt, Outcome, RunReport, StepId, StepResult, StepSummary};
use crate::release::RunId;

/// A run whose steps are over.
pub(super) struct Ran<'a> {
    pub(super) run: &'a RunId,
    pub(super) started: OffsetDateTime,
    pub(super) took: Duration,
    /// What was seen of it, for those who are told,
    pub(super) observed: &'a Observed,
    /// and for its account.
    pub(super) gathered: &'a Gathered,
}

impl Drive<'_> {
    /// Everything up to `Finished`.
    pub(super) async fn end(
        &self,
        report: RunReport,
        ran: &Ran<'_>,
        events: &Events,
        interrupt: &Interrupt,
    ) -> ExitCode {
        let has_begun = !report.steps.is_empty();
        let code = exit_code(
            report.outcome,
            report.failure.as_ref().map(|failure| failure.kind),
        );
        let serves = self
            .settings
            .current
            .as_ref()
            .map(|release| release.tag.to_string());
        self.tell(&report, code, serves.as_deref(), ran, events, interrupt)
            .await;
        let checklist = match &self.settings.current {
            Some(release) if self.makes_checklist(report.outcome) => {
                let served = Served {
                    engine: self.engine,
                    clock: self.clock,
                    settings: self.settings,
                    release,
                    run: ran.run,
                };
                let begun = served.begin(&ran.gathered.seen(), events, interrupt).await;
                begun.map(|checklist| (served, checklist))
            }
            Some(_) | None => None,
        };
        let error = report.failure.as_ref().map(Failure::report);
        let steps = self.with_those_not_reached(report.steps);
        let mut account = None;
        if self.is_accounted_for() && has_begun {
            let end = Finish {
                outcome: report.outcome,
                exit_code: code,
                state: report.state,
                serves: serves.clone(),
                started: ran.started,
                took: ran.took,
                error: error.as_ref(),
                steps: &steps,
            };
            let told = accounted::account(self.settings, self.command, ran.run, ran.gathered.seen(), end);
            accounted::keep(self.engine, &told, events, interrupt).await;
            account = Some(told);
        }
        // Last of all: whoever is asked takes their time, and may as well close the terminal.
        if let Some((served, checklist)) = checklist {
            let checklist = served.ask(checklist, events, interrupt).await;
            events.emit(Event::Checklist { checklist });
        }
        if let (Some(account), Some(place)) = (&account, &self.report)
            && self.makes_serve()
        {
            reported::write(self.engine, place, account, self.clock.now(), events, interrupt).await;
        }
        events.emit(Event::Finished {
            outcome: report.outcome,
            exit_code: code,
            release: serves,
            duration: ran.took,
            steps,
            error,
        });
        code
    }

    /// Tells those whom `deploy.yml` names; a dry run says who they would be.
    async fn tell(
        &self,
        report: &RunReport,
        code: ExitCode,
        serves: Option<&str>,
        ran: &Ran<'_>,
        events: &Events,
        interrupt: &Interrupt,
    ) {
        let Some(notices) = &self.notices else { return };
        if self.dry_run {
            notices.plan(events);
            return;
        }
        let end = End {
            outcome: report.outcome,
            exit_code: code.into(),
            failure: report.failure.as_ref(),
            serves: serves.map(ToOwned::to_owned),
            seen: ran.observed.seen(),
        };
        let times = Times {
            started: ran.started,
            elapsed: ran.took,
        };
        let of = (&*self.settings, self.command, ran.run);
        notices.end(of, times, end, events, interrupt).await;
    }

    fn with_those_not_reached(&self, mut steps: Vec<StepSummary>) -> Vec<StepSummary> {
        for step in self.step_ids() {
            if steps.iter().all(|summary| summary.step != step) {
                steps.push(StepSummary {
                    step,
                    result: StepResult::NotRun,
                    duration: Duration::ZERO,
                });
            }
        }
        steps
    }

    /// Whether a checklist is kept: of what makes a release serve, and asks whether it is well.
    fn makes_checklist(&self, outcome: Outcome) -> bool {
        self.makes_serve()
            && !self.dry_run
            && outcome == Outcome::Succeeded
            && self.step_ids().contains(&StepId::Health)
    }
}
