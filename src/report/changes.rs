//! What the release changes against the one before it: commits, dependencies, configuration, images. Values of the
//! environment are in none of it.

use std::collections::BTreeMap;

use super::markup::Markup;
use super::{Report, Told, nothing, table, unknown};
use crate::account::Account;
use crate::release::changes::Changes;

/// Writes it.
pub(super) fn section(page: &mut Markup, report: &Report<'_>) {
    match report.told {
        Told::Known(account) => match (&account.changes, &account.before) {
            (Some(changes), _) => told(page, changes),
            (None, None) => nothing(page, "The first release: there is none to hold it against."),
            (None, Some(before)) => unknown(
                page,
                &format!("What it changes against {before} is not known"),
                "the run was over before it was found out",
            ),
        },
        Told::Unknown(why) => unknown(page, "What it changes is not known", why),
    }
    images(page, report);
}

fn told(page: &mut Markup, changes: &Changes) {
    let said = changes.in_words();
    if said.is_empty() {
        nothing(
            page,
            &format!("Nothing that is recorded differs from {}.", changes.since),
        );
        return;
    }
    page.element("p", &[], |line| {
        line.text("Against ");
        line.text(changes.since.as_str());
        line.text(", which served before:");
    });
    page.element("dl", &[("class", "headed")], |list| {
        let mut under = "";
        for (heading, line) in &said {
            if heading != under {
                list.worded("dt", &[], heading);
                under = heading;
            }
            list.worded("dd", &[], line);
        }
    });
}

/// Whose images the release runs.
fn images(page: &mut Markup, report: &Report<'_>) {
    let of_run = report.account().map(of_account);
    let recorded = report.release.map(|release| &release.images);
    let images = match (recorded, of_run) {
        (Some(images), _) => images.clone(),
        (None, Some(images)) => images,
        (None, None) => BTreeMap::new(),
    };
    if images.is_empty() {
        return;
    }
    page.element("details", &[], |details| {
        details.worded(
            "summary",
            &[],
            &super::words::count(images.len(), "image", "images"),
        );
        table(details, &["Service", "Image", "ID"], |rows| {
            for (service, image) in &images {
                rows.element("tr", &[], |row| {
                    row.worded("th", &[("scope", "row")], service.as_str());
                    row.element("td", &[], |cell| cell.worded("code", &[], &image.reference));
                    row.element("td", &[], |cell| cell.worded("code", &[], image.id.short()));
                });
            }
        });
    });
}

fn of_account(account: &Account) -> BTreeMap<crate::compose::ServiceName, crate::release::ReleasedImage> {
    account.images.clone()
}
