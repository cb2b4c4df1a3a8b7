//! Whether every file that the database names is in the backup beside it. Which columns name files is asked of the
//! application that serves, and what stands in them of the restored database: no load on the one that serves.

use std::collections::HashSet;

use super::super::content::Contents;
use super::super::file::on_a_thread;
use super::super::media_list::{self, MEDIA_LIST, What};
use super::super::restore::database::Target;
use super::super::{Manifest, at, media_volume};
use crate::engine::{Captured, Container, ContainerState, ExecSpec};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Context;
use crate::stack::django::{self, FileColumn};
use crate::stack::media::MediaPath;
use crate::stack::postgres::beside::identifier;
use crate::steps::application::Application;
use crate::steps::deploy::standing;
use crate::steps::lines::MARK;

/// How many files are named that are missing.
const NAMED: usize = 20;

/// What the database names.
pub(super) struct Referred {
    pub files: u64,
    pub missing: u64,
    /// The first of those that are missing.
    pub named: Vec<String>,
}

/// `None` where the backup has no list of media files, or there is no application to ask.
///
/// # Errors
/// An application that does not answer, and columns that cannot be read.
pub(super) async fn referred(
    context: Context<'_>,
    target: &Target<'_>,
    manifest: &Manifest,
    contents: &Contents,
) -> Result<Option<Referred>, Failure> {
    let (Some(list), Some(volume)) = (manifest.file(MEDIA_LIST), media_volume(context.view())) else {
        return Ok(None);
    };
    let Some((application, container)) = application(context).await? else {
        return Ok(None);
    };
    let mounted = container
        .mounted_volumes
        .iter()
        .find(|one| one.name == volume.name);
    let Some(mounted) = mounted else {
        return Ok(None);
    };
    let columns = columns(context, &application, &container).await?;
    let list = contents.whole(list).await?;
    let saved = on_a_thread(move || {
        let mut saved = HashSet::new();
        media_list::read(list.as_slice(), |entry| {
            match entry.what {
                What::File { .. } | What::Link { .. } => {
                    saved.insert(entry.path);
                }
                What::Folder => {}
            }
            Ok(())
        })?;
        Ok(saved)
    });
    let saved = saved
        .await
        .map_err(|error| at("reading the list of the media", error))?;
    let mut referred = Referred {
        files: 0,
        missing: 0,
        named: Vec::new(),
    };
    for column in columns {
        // What is kept elsewhere is not in this volume.
        let Some(below) = below(&column.location, &mounted.target) else {
            continue;
        };
        let sql = format!(
            "SELECT to_json(named) FROM (SELECT DISTINCT {name}::text AS named FROM {table}) AS names WHERE named <> ''",
            name = identifier(&column.column),
            table = identifier(&column.table),
        );
        let what = format!("reading which files {}.{} names", column.table, column.column);
        for line in target
            .ask(&sql, &what)
            .await?
            .lines()
            .filter(|line| !line.is_empty())
        {
            let name: String = serde_json::from_str(line)
                .map_err(|error| Failure::from(anyhow::Error::new(error)).context(what.clone()))?;
            let path = MediaPath::of(format!("{below}{name}").as_bytes());
            referred.files += 1;
            if !saved.contains(&path) {
                referred.missing += 1;
                if referred.named.len() < NAMED {
                    referred
                        .named
                        .push(format!("{}.{}: {path}", column.table, column.column));
                }
            }
        }
    }
    Ok(Some(referred))
}

/// The application, where it runs.
async fn application(context: Context<'_>) -> Result<Option<(Application<'_>, Container)>, Failure> {
    let Some(application) = Application::of(context.settings) else {
        return Ok(None);
    };
    let mut standing = standing(context.engine, &context.settings.project.name).await?;
    let containers = standing
        .remove(application.service.name.as_str())
        .unwrap_or_default();
    let running = containers
        .into_iter()
        .find(|one| one.state == ContainerState::Running);
    Ok(running.map(|container| (application, container)))
}

async fn columns(
    context: Context<'_>,
    application: &Application<'_>,
    container: &Container,
) -> Result<Vec<FileColumn>, Failure> {
    let what = "asking django which columns name files";
    let command = ExecSpec {
        command: django::file_columns_command(application.manage),
        ..ExecSpec::default()
    };
    let mut output = Captured::default();
    let exit = context
        .engine
        .exec(&container.id, &command, None, &mut output)
        .await;
    let exit = exit.map_err(|error| Failure::from(error).context(what))?;
    let printed = output.stdout_text();
    let answer = printed.lines().find_map(|line| line.strip_prefix(MARK));
    match answer {
        Some(answer) if exit.success() => django::parse_file_columns(answer)
            .map_err(|error| Failure::from(anyhow::Error::new(error)).context(what)),
        Some(_) | None => Err(Failure::message(
            FailureKind::Failed,
            format!("{what}: it ended with exit code {}", exit.code),
        )
        .evidence(
            "what it wrote",
            output.stderr_text().lines().map(ToOwned::to_owned).collect(),
        )),
    }
}

/// Where in the volume a storage's files are, as the beginning of their paths; `None` where they are not in it.
fn below(location: &str, mounted: &str) -> Option<String> {
    let rest = location
        .trim_end_matches('/')
        .strip_prefix(mounted.trim_end_matches('/'))?;
    match rest.strip_prefix('/') {
        _ if rest.is_empty() => Some(String::new()),
        Some(folder) => Some(format!("{folder}/")),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn files_are_looked_for_where_their_storage_is_in_the_volume() {
        assert_eq!(below("/srv/media", "/srv/media/"), Some(String::new()));
        assert_eq!(
            below("/srv/media/papers/", "/srv/media"),
            Some("papers/".to_owned())
        );
        assert_eq!(below("/srv/media2", "/srv/media"), None);
        assert_eq!(below("/srv", "/srv/media"), None);
    }
}
