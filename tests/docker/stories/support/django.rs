//! Migrations that a story adds to the example.

use super::stack::Stack;

/// Of the app `papers`, after these others of it.
pub(crate) fn migration(stack: &Stack, name: &str, after: &[&str], operations: &str) {
    write(stack, name, after, operations, "True");
}

/// The same, not in one transaction.
pub(crate) fn migration_in_pieces(stack: &Stack, name: &str, after: &[&str], operations: &str) {
    write(stack, name, after, operations, "False");
}

fn write(stack: &Stack, name: &str, after: &[&str], operations: &str, atomic: &str) {
    let after: Vec<String> = after
        .iter()
        .map(|name| format!("(\"papers\", \"{name}\")"))
        .collect();
    let text = format!(
        "from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


def reaches_redis(apps, schema_editor):
    import socket

    try:
        socket.getaddrinfo(\"redis\", 6379)
        print(\"redis is reached\")
    except OSError:
        print(\"redis is not reached\")


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [{}]
    operations = [{operations}]
",
        after.join(", ")
    );
    stack
        .example
        .append(&format!("backend/papers/migrations/{name}.py"), &text);
}
