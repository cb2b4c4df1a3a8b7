//! The example's database, asked past Django: as its own user, in its own container.

use std::process::{Child, Command, Stdio};

use super::docker::docker;
use super::stack::Stack;

/// What the database answers.
pub(crate) fn query(stack: &Stack, sql: &str) -> String {
    docker(psql(stack, sql))
}

/// Whether it answers at all.
pub(crate) fn answers(stack: &Stack) -> bool {
    let asked = Command::new("docker").args(psql(stack, "SELECT 1")).output();
    asked.unwrap().status.success()
}

/// A transaction that stays open for as long as it says, or until it is ended.
pub(crate) fn hold(stack: &Stack, sql: &str) -> Child {
    Command::new("docker")
        .args(psql(stack, sql))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn psql(stack: &Stack, sql: &str) -> Vec<String> {
    let container = format!("{}-db-1", stack.project);
    let words = [
        "exec",
        &container,
        "psql",
        "-At",
        "-U",
        "viatique",
        "-d",
        "viatique_prod",
        "-c",
        sql,
    ];
    words.map(str::to_owned).to_vec()
}
