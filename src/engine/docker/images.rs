//! Images: look up, tag, remove, pull, and ask a registry. Building is in `builds`.

use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::{CreateImageOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions};
use futures_util::StreamExt;

use super::failure::{absent_as_none, status};
use super::names::{checked_reference, name_and_tag};
use super::{DockerEngine, container_view};
use crate::engine::{BuildEvent, BuildSink, EngineError, EngineErrorKind, Image, ImageId, Result};

const PULLING: &str = "pulling image";

impl DockerEngine {
    pub(super) async fn find_image(&self, reference: &str) -> Result<Option<Image>> {
        let reference = checked_reference("inspecting image", reference)?;
        let seen = self
            .short(
                "inspecting image",
                reference,
                self.client.inspect_image(reference),
            )
            .await;
        Ok(absent_as_none(seen)?.map(container_view::image))
    }

    pub(super) async fn references_of(&self, repository: &str) -> Result<Vec<String>> {
        let operation = "listing images of";
        let repository = checked_reference(operation, repository)?;
        let options = ListImagesOptions {
            filters: Some(HashMap::from([(
                "reference".to_owned(),
                vec![repository.to_owned()],
            )])),
            ..ListImagesOptions::default()
        };
        let images = self
            .short(operation, repository, self.client.list_images(Some(options)))
            .await?;
        let mut references: Vec<String> = images.into_iter().flat_map(|image| image.repo_tags).collect();
        // An image that matches is told with its names of other repositories too.
        references.retain(|reference| name_and_tag(reference).0 == repository);
        references.sort();
        Ok(references)
    }

    /// Asked by the engine, not by this process: the engine is who would pull it, from where it stands.
    pub(super) async fn registry_has(&self, reference: &str) -> Result<bool> {
        let operation = "asking the registry for";
        let reference = checked_reference(operation, reference)?;
        let credentials = self.credentials.for_reference(reference).await?;
        let call = async {
            match self.client.inspect_registry_image(reference, credentials).await {
                Ok(_) => Ok(Ok(())),
                Err(error) if status(&error).is_some() => Ok(Err(error)),
                Err(error) => Err(error),
            }
        };
        match self.short(operation, reference, call).await? {
            Ok(()) => Ok(true),
            Err(error) => match status(&error) {
                Some(404) => Ok(false),
                Some(401 | 403) => Err(EngineError {
                    kind: EngineErrorKind::Unauthorized,
                    ..self.failed(operation, reference, &error)
                }),
                Some(_) | None => Err(self.failed(operation, reference, &error)),
            },
        }
    }

    pub(super) async fn tag_image(&self, image: &ImageId, reference: &str) -> Result<()> {
        let operation = "tagging image as";
        let id = checked_reference(operation, &image.0)?;
        let (name, tag) = name_and_tag(checked_reference(operation, reference)?);
        let options = TagImageOptions {
            repo: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
        };
        let call = self.client.tag_image(id, Some(options));
        self.short(operation, reference, call).await
    }

    pub(super) async fn drop_image(&self, reference: &str) -> Result<()> {
        let operation = "removing image";
        let reference = checked_reference(operation, reference)?;
        let call = self
            .client
            .remove_image(reference, None::<RemoveImageOptions>, None);
        match self.short(operation, reference, call).await {
            Err(error) if !matches!(error.kind, EngineErrorKind::NotFound | EngineErrorKind::Conflict) => {
                Err(error)
            }
            // Absent, or in use by a container.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn pull_image(&self, reference: &str, progress: &dyn BuildSink) -> Result<ImageId> {
        let reference = checked_reference(PULLING, reference)?;
        let credentials = self.credentials.for_reference(reference).await?;
        let (name, tag) = name_and_tag(reference);
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        let pull = || self.pull_once(reference, options.clone(), credentials.clone(), progress);
        match pull().await {
            // Asked again, it goes on where it was, or says that all is there. bollard 0.21 takes a last line break that
            // comes by itself for a line that was cut off.
            Err(error) if error.kind == EngineErrorKind::ConnectionLost => pull().await?,
            pulled => pulled?,
        }
        let image = self.find_image(reference).await?.ok_or_else(|| {
            EngineError::new(
                PULLING,
                reference,
                EngineErrorKind::Other,
                "the engine reports success, but has no such image",
            )
        })?;
        Ok(image.id)
    }

    async fn pull_once(
        &self,
        reference: &str,
        options: CreateImageOptions,
        credentials: Option<DockerCredentials>,
        progress: &dyn BuildSink,
    ) -> Result<()> {
        let client = self.patient_client(self.budgets.long);
        self.until_it_listens().await;
        let mut answers = Box::pin(client.create_image(Some(options), None, credentials));
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(|error| match status(&error) {
                Some(401 | 403) => EngineError {
                    kind: EngineErrorKind::Unauthorized,
                    ..self.failed(PULLING, reference, &error)
                },
                Some(_) | None => self.failed(PULLING, reference, &error),
            })?;
            if let Some(event) = pull_event(&answer) {
                progress.event(event);
            }
        }
        Ok(())
    }
}

fn pull_event(answer: &CreateImageInfo) -> Option<BuildEvent> {
    let amount = answer.progress_detail.as_ref()?;
    Some(BuildEvent::Pull {
        layer: answer.id.clone()?,
        done: amount.current.and_then(|bytes| u64::try_from(bytes).ok())?,
        total: amount.total.and_then(|bytes| u64::try_from(bytes).ok()),
    })
}
