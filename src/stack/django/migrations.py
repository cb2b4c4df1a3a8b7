# Runs in a container of the release to be deployed, by `manage.py shell -c`. Answers are lines of JSON behind a mark:
#
#   {"state": {"applied": [[app, name]], "pending": [[app, name]], "assessed": [...]}}   what stands, and what is to come
#   {"refused": true}             nothing was migrated: code that runs would not bear it
#   {"took": {...}}               how long one of them took
#   {"waiting": {...}}            a lock was not had in time, who stands in the way, and which try comes next
#   {"unusable": [index]}         indexes that were left half-made
#   {"unknown": "why"}            it could not be found out what stands
#
# All of it in one function, because old Djangos give `shell -c` no globals of its own; and in one start of Django, which
# takes longer than most migrations.


def run(order, allow_incompatible=False, lock_timeout_ms=2000, tries=5, pause_seconds=3):
    import json
    import re
    import time

    from django.core.management import call_command
    from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
    from django.db.backends.signals import connection_created
    from django.db.migrations import operations
    from django.db.migrations.executor import MigrationExecutor
    from django.db.models.fields import NOT_PROVIDED

    def tell(**answer):
        print("\nviatique-deploy:" + json.dumps(answer), flush=True)

    def connection():
        return connections[DEFAULT_DB_ALIAS]

    # --- What stands, and what is to come ----------------------------------------------------------------------------

    def plan_of(executor):
        return [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]

    def state(assessing=False):
        executor = MigrationExecutor(connection())
        plan = plan_of(executor)
        told = {
            "applied": sorted([app, name] for app, name in executor.loader.applied_migrations),
            "pending": [[migration.app_label, migration.name] for migration in plan],
        }
        if assessing and plan:
            told["assessed"] = assess(executor, plan)
        return told

    # --- What each pending migration means for code that does not know it --------------------------------------------

    def assess(executor, plan):
        """Of each migration: what in it breaks such code, what cannot be told, what cannot be taken back, and what is
        lost for good."""
        applied = [key for key in executor.loader.applied_migrations if key in executor.loader.graph.nodes]
        before = executor.loader.project_state(applied)
        created = set()
        assessed = []
        for migration in plan:
            found = {"breaks": [], "unsure": [], "irreversible": [], "loses": []}
            for operation in migration.operations:
                after = before.clone()
                operation.state_forwards(migration.app_label, after)
                try:
                    judge(operation, migration.app_label, before, after, created, found)
                except Exception as error:
                    found["unsure"].append(f"{described(operation)}: {type(error).__name__}: {error}")
                before = after
            assessed.append({"migration": [migration.app_label, migration.name], **found})
        return assessed

    def described(operation):
        if isinstance(operation, operations.RunPython):
            return f"Run {getattr(operation.code, '__name__', 'Python of its own')}()"
        return operation.describe()

    def judge(operation, app, before, after, created, found):
        what = described(operation)
        if isinstance(operation, operations.SeparateDatabaseAndState):
            # Only what is done to the database counts; it has a state of its own.
            for inner in operation.database_operations:
                further = before.clone()
                inner.state_forwards(app, further)
                judge(inner, app, before, further, created, found)
                before = further
            return
        if not operation.reversible:
            found["irreversible"].append(what)
        model = getattr(operation, "model_name", None) or getattr(operation, "name", None) or ""
        if isinstance(operation, operations.CreateModel):
            created.add((app, model.lower()))
            return
        if (app, model.lower()) in created and isinstance(operation, ABOUT_ONE_MODEL):
            # Nobody knows that table yet.
            return
        if isinstance(operation, operations.AddField):
            breaks = added(operation, app, after)
        elif isinstance(operation, operations.AlterField):
            breaks = altered(operation, app, before, after)
        elif isinstance(operation, (operations.RemoveField, operations.DeleteModel)):
            found["loses"].append(what)
            breaks = "what runs still reads it"
        elif isinstance(operation, (operations.RenameField, operations.RenameModel, operations.AlterModelTable)):
            breaks = "what runs knows the old name"
        elif isinstance(operation, operations.AddConstraint):
            breaks = "what runs may write what it forbids"
        elif isinstance(operation, operations.AlterUniqueTogether):
            old = before.models[app, model.lower()].options.get("unique_together") or ()
            new = after.models[app, model.lower()].options.get("unique_together") or ()
            breaks = "what runs may write what it forbids" if set(map(tuple, new)) - set(map(tuple, old)) else None
        elif isinstance(operation, operations.AlterOrderWithRespectTo):
            breaks = "what runs does not fill its column" if operation.order_with_respect_to else "what runs still reads it"
        elif isinstance(operation, operations.RunPython):
            if operation.code is not operations.RunPython.noop:
                found["unsure"].append(what)
            return
        elif isinstance(operation, operations.RunSQL):
            if operation.sql != operations.RunSQL.noop:
                found["unsure"].append(what)
            return
        elif isinstance(operation, HARMLESS) or type(operation).__module__.startswith("django.contrib.postgres."):
            return
        else:
            found["unsure"].append(what)
            return
        if breaks:
            found["breaks"].append(f"{what}: {breaks}")

    def named(*names):
        # Not every Django has all of them.
        return tuple(getattr(operations, name) for name in names if hasattr(operations, name))

    HARMLESS = named(
        "AddIndex", "RemoveIndex", "RenameIndex", "RemoveConstraint", "AlterConstraint", "AlterIndexTogether",
        "AlterModelOptions", "AlterModelManagers", "AlterModelTableComment",
    )
    ABOUT_ONE_MODEL = HARMLESS + named(
        "AddField", "AlterField", "RemoveField", "RenameField", "AddConstraint", "AlterUniqueTogether",
        "AlterOrderWithRespectTo",
    )

    def field_of(state, app, operation):
        return state.apps.get_model(app, operation.model_name)._meta.get_field(operation.name)

    def type_of(field):
        return (field.db_parameters(connection()) or {}).get("type")

    def added(operation, app, after):
        field = field_of(after, app, operation)
        filled = (
            field.many_to_many
            or type_of(field) is None
            or field.null
            or getattr(field, "generated", False)
            or getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED
        )
        return None if filled else "it must be filled, and what runs does not fill it (db_default, or null first)"

    def altered(operation, app, before, after):
        old, new = field_of(before, app, operation), field_of(after, app, operation)
        if old.many_to_many or new.many_to_many:
            same = old.many_to_many and new.many_to_many and old.remote_field.through._meta.db_table == (
                new.remote_field.through._meta.db_table
            )
            return None if same else "what runs knows the old tables"
        if old.column != new.column:
            return "what runs knows the old name"
        if old.null and not new.null:
            return "it must be filled, and what runs may leave it empty"
        if new.unique and not old.unique:
            return "what runs may write what it forbids"
        if (old_type := type_of(old)) != (new_type := type_of(new)) and not widens(old_type, new_type):
            return f"from {old_type} to {new_type}"
        if old.remote_field and new.remote_field and getattr(old, "db_constraint", True):
            if old.remote_field.model._meta.db_table != new.remote_field.model._meta.db_table:
                return "it refers to another table"
        return None

    def widens(old, new):
        def length(kind):
            inside = kind[len("varchar("):-1]
            return int(inside) if kind.startswith("varchar(") and inside.isdigit() else None

        if old is None or new is None:
            return old is new
        if length(old) is not None and (new in ("text", "varchar") or (length(new) or 0) >= length(old)):
            return True
        sizes = ["smallint", "integer", "bigint"]
        return old in sizes and new in sizes and sizes.index(new) >= sizes.index(old)

    # --- Applying it -------------------------------------------------------------------------------------------------

    def is_postgres():
        return connection().vendor == "postgresql"

    def bound_locks(sender=None, connection=None, **_):
        """On every connection that Django opens: PGOPTIONS is not read where the settings have options of their own."""
        if connection.vendor == "postgresql" and connection.alias == DEFAULT_DB_ALIAS:
            with connection.cursor() as cursor:
                cursor.execute(f"SET lock_timeout = {int(lock_timeout_ms)}")

    def rows(through, sql):
        with through.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def in_the_way(through):
        """Who has a transaction open: whom a migration may wait for, the oldest first. What stands in quotes may be
        anybody's name or worse."""

        def shown(query):
            return re.sub(r"'(?:[^']|'')*'?", "'…'", " ".join((query or "").split()))[:160]

        return [
            {"process": process, "for_seconds": int(age or 0), "state": state or "", "query": shown(query)}
            for process, age, state, query in rows(
                through,
                """SELECT pid, extract(epoch FROM now() - xact_start), state, query FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
                   ORDER BY xact_start LIMIT 5""",
            )
        ]

    def lock_not_had(error):
        while error is not None:
            if "55P03" in (getattr(error, "sqlstate", None), getattr(error, "pgcode", None)):
                return True
            error = error.__cause__
        return False

    def only_one():
        """A lock that is held until this process ends; Django itself has none, and of two at once one dies half-way. On a
        connection of its own: migrations close theirs."""
        guard = connection().copy()
        (had,) = rows(guard, f"SELECT pg_try_advisory_lock({KEY})")[0]
        if not had:
            holders = rows(
                guard, f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND ({KEY_PARTS}) ORDER BY pid"
            )
            processes = ", ".join(str(process) for (process,) in holders)
            raise SystemExit(f"another migration of this database is under way (database process {processes})")
        return guard

    # "viatique" in eight bytes; PostgreSQL shows the key in two halves.
    KEY = int.from_bytes(b"viatique", "big")
    KEY_PARTS = f"classid = {KEY >> 32} AND objid = {KEY & 0xFFFFFFFF}"

    def bound_one_by_one():
        """Says how long each migration took, and lets one that makes or drops indexes beside everybody's work wait for as
        long as it must: it holds up nobody, and what it leaves half-made when it gives up is in the way."""
        original = MigrationExecutor.apply_migration

        def apply_migration(self, state, migration, *rest, **named):
            kinds = [type(operation).__name__ for operation in migration.operations]
            beside = bool(kinds) and all(kind.endswith("Concurrently") for kind in kinds)
            if is_postgres() and beside:
                with connection().cursor() as cursor:
                    cursor.execute("SET lock_timeout = 0")
            began = time.monotonic()
            try:
                done = original(self, state, migration, *rest, **named)
                seconds = round(time.monotonic() - began, 3)
                tell(took={"migration": [migration.app_label, migration.name], "seconds": seconds})
                return done
            finally:
                if is_postgres() and beside:
                    bound_locks(connection=connection())

        MigrationExecutor.apply_migration = apply_migration

    def apply():
        """As `manage.py migrate --noinput` does, but a lock that is not had in time is tried for again: the queue behind
        a waiting migration is everybody. Each migration commits on its own, so it goes on where it stood."""
        for number in range(1, tries + 1):
            try:
                return call_command("migrate", interactive=False, skip_checks=False)
            except OperationalError as error:
                connection().close()
                pending = plan_of(MigrationExecutor(connection()))
                # What is not atomic may be half done: not again.
                again = number < tries and pending and pending[0].atomic
                if not (is_postgres() and lock_not_had(error)):
                    raise
                tell(waiting={
                    "for": [pending[0].app_label, pending[0].name] if pending else None,
                    "in_the_way": in_the_way(connection()),
                    "next_try": number + 1 if again else None,
                    "tries": tries,
                })
                if not again:
                    raise
                time.sleep(pause_seconds)

    if order == "ask":
        return tell(state=state())
    connection_created.connect(bound_locks)
    # Opened by what was asked before the signal was heard.
    connection().close()
    if is_postgres():
        effective = rows(connection(), "SHOW lock_timeout")[0][0]
        if effective in ("0", "0ms"):
            raise SystemExit("lock_timeout is not in force on Django's own connection: a migration could hold up everybody")
    before = state(assessing=True)
    tell(state=before)
    if not before["pending"]:
        return
    if not allow_incompatible and any(one["breaks"] for one in before.get("assessed", [])):
        return tell(refused=True)
    guard = only_one() if is_postgres() else None
    bound_one_by_one()
    try:
        apply()
    finally:
        # A failure here must not stand before the migration's own.
        try:
            # What failed may have left it unusable.
            connection().close()
            if is_postgres():
                unusable = rows(
                    connection(), "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
                )
                if unusable:
                    tell(unusable=[name for (name,) in unusable])
            tell(state=state())
            if guard is not None:
                guard.close()
        except Exception as error:
            tell(unknown=f"{type(error).__name__}: {error}")
