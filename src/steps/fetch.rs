//! `fetch`, the first step of a rollback: makes sure that every image of the recorded release is on the engine, and pulls
//! from its registry what is not there any more. Builds nothing: an image built anew would be another one.

use async_trait::async_trait;

use super::build::pull;
use super::images::{self, Found};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, Undone, View};

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetch;

#[async_trait]
impl Step for Fetch {
    fn id(&self) -> StepId {
        StepId::Fetch
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let missing = missing(&images::find(view).await?);
        let mut changes = Vec::new();
        let mut nowhere = Vec::new();
        for (reference, services) in missing {
            // A registry that cannot be asked has nothing for this release either.
            if matches!(view.inspect.image_in_registry(&reference).await, Ok(true)) {
                changes.push(Change {
                    kind: ChangeKind::Create,
                    target: format!("image {reference}"),
                    detail: format!("pulled from its registry, for {services}"),
                });
            } else {
                nowhere.push(format!("{reference} (for {services})"));
            }
        }
        if nowhere.is_empty() {
            return Ok(changes);
        }
        Err(Failure::message(
            FailureKind::Configuration,
            format!(
                "release {} cannot be gone back to: no such image on the engine or in a registry: {}",
                view.settings.tag,
                nowhere.join(", ")
            ),
        )
        .hint("which releases have all of theirs: viatique-deploy releases"))
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let mut pulled = Vec::new();
        for (reference, _) in missing(&images::find(context.view()).await?) {
            pull(context, StepId::Fetch, &reference).await?;
            pulled.push(reference);
        }
        // By its id: a registry may have another image under the name by now.
        let images = images::require(context.view()).await?;
        let fact = Fact::Images(images);
        Ok(if pulled.is_empty() {
            Receipt::unchanged("every image is on the engine", fact)
        } else {
            Receipt::changed(pulled.join(", "), fact)
        })
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::LeftInPlace {
            why: "images serve nobody until they are deployed".to_owned(),
        })
    }
}

/// Each reference once, with the services that want it.
fn missing(found: &Found) -> Vec<(String, String)> {
    let mut missing: Vec<(String, String)> = Vec::new();
    for (service, reference) in &found.missing {
        match missing.iter_mut().find(|(known, _)| known == reference) {
            Some((_, services)) => services.push_str(&format!(", {service}")),
            None => missing.push((reference.clone(), service.to_string())),
        }
    }
    missing
}
