//! The edge: the site under its public names, as visitors' programs see it. Each check asks every name by itself, side by
//! side. What serves now is asked, so a run that mends it has to be let through: `--skip`.

mod certificate;
mod names;
mod pages;

use std::time::Duration;

use futures_util::FutureExt as _;

use super::registry::{Asking, Check, Look, When};
use super::verdict::{Level, Problem, Verdict};
use crate::app::edge::{EdgeError, EdgeErrorKind, Way};
use crate::config::Site;
use crate::error::{Failure, FailureKind};
use crate::pipeline::Settings;
use crate::steps::deploy::standing;

/// How long one name may take to answer, at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[
    Check {
        id: "certificate",
        title: "the certificate of every public name is one that browsers believe, and for a while yet",
        protects_from: "every visitor being turned away by a browser: Mozilla's add-ons in 2019, by one expired certificate",
        level: Level::Blocks,
        how: "a TLS handshake under each name: the chain against the system's authorities, the name, the days left against \
              checks.site.days",
        remedy: "renew the certificate, and have the proxy read it again: certbot renew; nginx -s reload",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: is_known,
        look: Look::Asks(|asking| certificate::certificate(asking).boxed()),
        time_limit: None,
    },
    Check {
        id: "redirect",
        title: "whoever comes over http is sent to https",
        protects_from: "passwords and sessions that travel in the clear, and a typed name that finds nothing",
        level: Level::Blocks,
        how: "asks for each name over http, and reads the status and where it points",
        remedy: "have the proxy answer on port 80: return 301 https://$host$request_uri;",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: is_known,
        look: Look::Asks(|asking| pages::redirect(asking).boxed()),
        time_limit: None,
    },
    Check {
        id: "hsts",
        title: "browsers are told to come over https only",
        protects_from: "somebody between a visitor and the site who keeps the visitor on http",
        level: Level::Warns,
        how: "reads Strict-Transport-Security of each name's https answer: max-age must be 180 days at least",
        remedy: "write SECURE_HSTS_SECONDS = 31536000 into Django's settings, or add_header Strict-Transport-Security \
                 \"max-age=31536000\" always; into nginx",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: is_known,
        look: Look::Asks(|asking| pages::hsts(asking).boxed()),
        time_limit: None,
    },
    Check {
        id: "debug-page",
        title: "no debug page is in the open",
        protects_from: "settings, secrets and a console for whoever asks for a page that is not there: Patreon in 2015",
        level: Level::Blocks,
        how: "asks each name for a page that does not exist, and looks for what Django's and Werkzeug's debug pages say",
        remedy: "write DEBUG = False into the production settings; if this deploy is what mends it: run --skip-check debug-page",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: is_known,
        look: Look::Asks(|asking| pages::debug_page(asking).boxed()),
        time_limit: None,
    },
    Check {
        id: "dns",
        title: "every public name leads here",
        protects_from: "a release that nobody sees, and a certificate that cannot be renewed",
        level: Level::Blocks,
        how: "resolves each name as this machine does, and holds what it finds against checks.site.addresses",
        remedy: "mend the name's A and AAAA records, or checks.site.addresses",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: is_known,
        look: Look::Asks(|asking| names::dns(asking).boxed()),
        time_limit: None,
    },
];

fn is_known(settings: &Settings) -> bool {
    settings.config.site().is_some()
}

/// What came of one name.
enum Seen {
    /// All is well; what was seen.
    Well(String),
    Wrong(Problem),
    /// Nothing could be learnt.
    Unknown(EdgeError),
}

/// A public site, and how it is asked.
struct Edge<'a> {
    asking: Asking<'a>,
    site: Site,
}

impl<'a> Edge<'a> {
    /// `Err` where no public name is known: the check was asked for by its own name.
    fn of(asking: Asking<'a>) -> Result<Self, Verdict> {
        match asking.context.settings.config.site() {
            Some(site) => Ok(Self { asking, site }),
            None => Err(Verdict::found(
                Problem::unverified("no public name is known")
                    .hint("write checks: { site: { url: https://viatique.example.com/ } } into deploy.yml"),
            )),
        }
    }

    /// A name is given up before the check as a whole is, so that the others are told.
    fn way(&self, connect: Option<std::net::SocketAddr>) -> Way {
        let limit = self.asking.context.settings.config.checks.timeout.0;
        Way {
            connect,
            authorities: self.site.ca_file.clone(),
            now: self.asking.context.clock.now(),
            timeout: PATIENCE.min(limit / 2),
        }
    }

    /// The site's address under another of its names.
    fn url(&self, name: &str) -> url::Url {
        let mut url = self.site.url.clone();
        // Every name was read as a host.
        let _: Result<(), _> = url.set_host(Some(name));
        url
    }

    /// What came of the names, together.
    async fn verdict(&self, seen: Vec<(String, Seen)>) -> Result<Verdict, Failure> {
        let (mut well, mut problems, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (name, seen) in seen {
            match seen {
                Seen::Well(line) => well.push(line),
                Seen::Wrong(problem) => problems.push(problem.key(name)),
                Seen::Unknown(error) => unknown.push((name, error)),
            }
        }
        let out_of_reach = |error: &EdgeError| match error.kind {
            EdgeErrorKind::Refused | EdgeErrorKind::Silent | EdgeErrorKind::Unreachable => true,
            EdgeErrorKind::Tls | EdgeErrorKind::Here => false,
        };
        let is_out_of_reach = unknown.iter().all(|(_, error)| out_of_reach(error));
        if problems.is_empty()
            && is_out_of_reach
            && let Some((_, first)) = unknown.first()
            && self.nothing_serves().await?
        {
            return Ok(Verdict::NotYet(format!("nothing serves yet: {first}")));
        }
        problems.extend(unknown.into_iter().map(|(name, error)| {
            let problem = Problem::unverified(error.to_string()).key(name);
            if out_of_reach(&error) {
                problem.hint(
                    "if this machine cannot reach its own public address: checks.site.connect; if the site is down, and \
                     this deploy mends it: --skip certificate,redirect,debug-page",
                )
            } else {
                problem
            }
        }));
        Ok(Verdict::of(problems, well.join("; ")))
    }

    /// Before a first deploy there is nothing that could answer.
    async fn nothing_serves(&self) -> Result<bool, Failure> {
        let view = self.asking.context.view();
        if view.settings.current.is_some() {
            return Ok(false);
        }
        Ok(standing(view.inspect, &view.settings.project.name)
            .await?
            .is_empty())
    }
}
