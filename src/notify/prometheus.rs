//! Metrics in Prometheus' text format, for a Pushgateway and for the node exporter's textfiles: how the last run ended. Each
//! notice replaces all of them, so that none is left of an earlier run.

use std::fmt::Write as _;

use super::notice::Notice;

/// What a Pushgateway wants to be told it is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn metrics(notice: &Notice) -> String {
    let project = label(&notice.project);
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, labels: &str, value: String| {
        // A String takes everything.
        let _ = write!(
            text,
            "# HELP viatique_deploy_{name} {help}\n# TYPE viatique_deploy_{name} gauge\n\
             viatique_deploy_{name}{{project=\"{project}\"{labels}}} {value}\n"
        );
    };
    let flag = |yes: bool| if yes { "1" } else { "0" }.to_owned();
    gauge(
        "last_run_success",
        "Whether the last run ended with the release serving that it was about.",
        "",
        flag(notice.what.is_good()),
    );
    gauge(
        "last_run_info",
        "How the last run ended, and what it was about.",
        &format!(
            ",command=\"{}\",release=\"{}\",outcome=\"{}\"",
            label(&notice.command),
            label(&notice.release),
            if notice.is_test {
                "test"
            } else {
                notice.what.as_str()
            }
        ),
        "1".to_owned(),
    );
    if let Some(code) = notice.exit_code {
        gauge(
            "last_run_exit_code",
            "The exit code of the last run.",
            "",
            code.to_string(),
        );
    }
    gauge(
        "last_run_duration_seconds",
        "How long the last run took.",
        "",
        format!("{:.3}", notice.elapsed.as_secs_f64()),
    );
    gauge(
        "last_run_end_timestamp_seconds",
        "When the last run was over, in seconds since 1970.",
        "",
        notice.ended().unix_timestamp().to_string(),
    );
    if let Some(serves) = &notice.serves {
        gauge(
            "release_info",
            "The release that serves.",
            &format!(",release=\"{}\"", label(serves)),
            "1".to_owned(),
        );
    }
    text
}

fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
