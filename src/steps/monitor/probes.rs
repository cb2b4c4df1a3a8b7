//! What the tool asks the site itself while a release settles: the health page, the paths of `monitor.probes`, and the
//! stylesheets and scripts that those pages load.

use futures_util::future::join_all;
use url::Url;

use super::judgement::Probe;
use crate::app::{App, Request};
use crate::config;
use crate::release::Tag;
use crate::stack::nginx::assets_of;
use crate::steps::health::judge;

/// Of one page, so many files are asked for.
const ASSETS: usize = 10;

/// The addresses, and how they answered so far.
pub(super) struct Probes<'a> {
    app: &'a dyn App,
    health: Option<&'a config::Health>,
    paths: &'a [String],
    /// Which release must answer.
    tag: &'a Tag,
    probes: Vec<Probe>,
    /// How many requests were sent.
    pub(super) sent: u64,
}

impl<'a> Probes<'a> {
    pub(super) fn new(
        app: &'a dyn App,
        health: Option<&'a config::Health>,
        paths: &'a [String],
        tag: &'a Tag,
    ) -> Self {
        Self {
            app,
            health,
            paths,
            tag,
            probes: Vec::new(),
            sent: 0,
        }
    }

    /// How they answered.
    pub(super) fn seen(&self) -> Vec<Probe> {
        self.probes.clone()
    }

    /// Asks all of them, side by side.
    pub(super) async fn ask(&mut self) {
        let Some(health) = self.health else { return };
        let Ok(base) = Url::parse(&health.url) else { return };
        let (app, tag) = (self.app, self.tag);
        let request = |url: &Url| Request {
            url: url.to_string(),
            host: health.host.clone(),
            headers: health.headers.clone().into_iter().collect(),
            timeout: health.request_timeout.0,
        };
        let well = async {
            let answer = match app.get(&request(&base)).await {
                Ok(response) => judge(&response, health, tag),
                Err(error) => Err(error.message),
            };
            vec![(base.path().to_owned(), answer)]
        };
        let paths = join_all(
            self.paths
                .iter()
                .filter_map(|path| base.join(path).ok())
                .map(|url| {
                    let (request, base) = (&request, &base);
                    async move {
                        let mut answers = Vec::new();
                        let response = match app.get(&request(&url)).await {
                            Ok(response) => response,
                            Err(error) => return vec![(url.path().to_owned(), Err(error.message))],
                        };
                        answers.push((url.path().to_owned(), is_well(response.status)));
                        let assets = assets_of(&response.body, ASSETS).into_iter();
                        let assets = assets.filter_map(|asset| url.join(&asset).ok());
                        let assets = assets.filter(|asset| asset.origin() == base.origin());
                        answers.extend(
                            join_all(assets.map(|asset| async move {
                                let answer = match app.get(&request(&asset)).await {
                                    Ok(response) => is_well(response.status),
                                    Err(error) => Err(error.message),
                                };
                                (asset.path().to_owned(), answer)
                            }))
                            .await,
                        );
                        answers
                    }
                }),
        );
        let (well, paths) = tokio::join!(well, paths);
        for (address, answer) in well.into_iter().chain(paths.into_iter().flatten()) {
            self.sent += 1;
            self.answered(address, answer);
        }
    }

    fn answered(&mut self, address: String, answer: Result<(), String>) {
        let position = self.probes.iter().position(|probe| probe.address == address);
        let position = position.unwrap_or_else(|| {
            self.probes.push(Probe {
                address,
                ..Probe::default()
            });
            self.probes.len() - 1
        });
        let Some(probe) = self.probes.get_mut(position) else {
            return;
        };
        match answer {
            Ok(()) => {
                probe.succeeded += 1;
                probe.failed_in_a_row = 0;
            }
            Err(problem) => {
                probe.failed_in_a_row += 1;
                probe.problem = Some(problem);
            }
        }
    }
}

fn is_well(status: u16) -> Result<(), String> {
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("answers {status}"))
    }
}
