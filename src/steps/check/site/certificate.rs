//! The certificate of every public name: which is served, until when, and why browsers would refuse it.

use futures_util::future::join_all;
use time::{Date, Duration, OffsetDateTime};

use super::{Edge, Seen};
use crate::app::edge::{Presented, Refused};
use crate::config::SiteDays;
use crate::error::Failure;
use crate::steps::check::registry::Asking;
use crate::steps::check::verdict::{Level, Problem, Verdict};

pub(super) async fn certificate(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let edge = match Edge::of(asking) {
        Ok(edge) => edge,
        Err(verdict) => return Ok(verdict),
    };
    let asked = edge.site.all_names().into_iter().map(|name| async {
        let way = edge.way(edge.site.connect);
        let presented = asking
            .context
            .app
            .certificate(&name, edge.site.port(), &way)
            .await;
        let seen = match presented {
            Ok(presented) => judged(&name, &presented, way.now, edge.site.days),
            Err(error) => Seen::Unknown(error),
        };
        (name, seen)
    });
    let seen = join_all(asked).await;
    edge.verdict(seen).await
}

/// What stands in the certificate itself comes first: its dates, then whom it is for; then who stands above it.
fn judged(name: &str, served: &Presented, now: OffsetDateTime, days: SiteDays) -> Seen {
    let issuer = &served.issuer;
    if served.not_after < now {
        return Seen::Wrong(Problem::wrong(format!(
            "the certificate of {name} expired on {}, {} ago (issued by {issuer})",
            day(served.not_after),
            in_days(now - served.not_after),
        )));
    }
    if served.not_before > now {
        return Seen::Wrong(
            Problem::wrong(format!(
                "the certificate of {name} is not valid before {} (issued by {issuer})",
                day(served.not_before)
            ))
            .hint("serve the certificate before it, and look whether this machine's clock is right: timedatectl"),
        );
    }
    if let Some(refused) = &served.refused {
        return Seen::Wrong(refusal(name, served, refused));
    }
    let left = served.not_after - now;
    let line = format!(
        "the certificate of {name} expires on {}, in {} (issued by {issuer})",
        day(served.not_after),
        in_days(left)
    );
    if left < Duration::days(i64::from(days.block)) {
        Seen::Wrong(Problem::wrong(line))
    } else if left < Duration::days(i64::from(days.warn)) {
        Seen::Wrong(Problem::wrong(line).level(Level::Warns))
    } else {
        Seen::Well(line)
    }
}

fn refusal(name: &str, served: &Presented, refused: &Refused) -> Problem {
    let issuer = &served.issuer;
    let for_whom = match served.names.as_slice() {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    };
    match refused {
        Refused::OtherName => Problem::wrong(format!(
            "the certificate served for {name} is one for {for_whom} (issued by {issuer})"
        ))
        .hint(format!(
            "have the name put into it: certbot --expand -d {name}; or mend server_name"
        )),
        Refused::UnknownIssuer | Refused::Other(_) if served.self_signed => Problem::wrong(format!(
            "the certificate of {name} is self-signed: no browser believes it (until {})",
            day(served.not_after)
        ))
        .hint("have an authority sign one: certbot; or, where it is meant so, name it in checks.site.ca_file"),
        Refused::UnknownIssuer => Problem::wrong(format!(
            "the certificate of {name} is issued by {issuer}, which stands below no authority that is known here, or a \
             certificate between the two is not served"
        ))
        .hint(
            "serve the whole chain (ssl_certificate fullchain.pem); an internal authority belongs into \
             checks.site.ca_file",
        ),
        Refused::Expired => Problem::wrong(format!(
            "a certificate above that of {name} has expired (it is issued by {issuer})"
        )),
        Refused::NotYetValid => Problem::wrong(format!(
            "a certificate above that of {name} is not valid yet (it is issued by {issuer})"
        )),
        Refused::Revoked => Problem::wrong(format!(
            "the certificate of {name} has been revoked (issued by {issuer})"
        )),
        Refused::Other(why) => Problem::wrong(format!(
            "the certificate of {name} is refused: {why} (issued by {issuer})"
        )),
    }
}

fn day(moment: OffsetDateTime) -> Date {
    moment.date()
}

fn in_days(span: Duration) -> String {
    match span.whole_days() {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
