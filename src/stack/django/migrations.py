# Runs in a container of the release to be deployed, by `manage.py shell -c`. Answers are lines of JSON behind a mark:
#
#   {"state": {"applied": [[app, name]], "pending": [[app, name]], "assessed": [...]}}   what stands, and what is to come
#   {"refused": true}             nothing was migrated: code that runs would not bear it
#   {"took": {...}}               how long one of them took, and where that is watched, what it locked meanwhile
#   {"reversed": {...}}           the same, of one that was taken back
#   {"irreversible": [why]}       nothing was taken back: it could not all be
#   {"not_reversed": "why"}       taking back has failed, in a rehearsal
#   {"loses": {...}}              what would be taken back, and what that would delete: tables and columns
#   {"waiting": {...}}            a lock was not had in time, who stands in the way, and which try comes next
#   {"ended": seconds}            it took longer than it may, and is being ended
#   {"unusable": [index]}         indexes that were left half-made
#   {"unknown": "why"}            it could not be found out what stands
#
# All of it in one function, because old Djangos give `shell -c` no globals of its own; and in one start of Django, which
# takes longer than most migrations.


def run(order, allow_incompatible=False, to=(), within=None, lock_timeout_ms=2000, tries=5, pause_seconds=3):
    import json
    import os
    import re
    import socket
    import threading
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
                cursor.execute("SELECT set_config('application_name', %s, false)", [NAME])

    # By which our own sessions are found among all the others: the host is this container.
    NAME = f"viatique-deploy migrate {socket.gethostname()}"

    def end_after(seconds, over, patience_seconds=30):
        """Has the database cancel what we ask of it once it takes longer than it may: the migration under way is rolled
        back, and what stands is still told. What does not ask the database is ended with the process."""
        if over.wait(seconds):
            return
        tell(ended=seconds)
        began = time.monotonic()
        while time.monotonic() - began < patience_seconds:
            try:
                rows(
                    connection(),
                    f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = '{NAME}' "
                    "AND state = 'active' AND pid <> pg_backend_pid()",
                )
            except Exception as error:
                print(f"it could not be cancelled: {error}", flush=True)
            if over.wait(1):
                return
        os._exit(1)

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

    def bound_one_by_one(watch=None):
        """Says how long each migration took, and lets one that makes or drops indexes beside everybody's work wait for as
        long as it must: it holds up nobody, and what it leaves half-made when it gives up is in the way."""

        def bounded(original, answer):
            def one(self, state, migration, *rest, **named):
                kinds = [type(operation).__name__ for operation in migration.operations]
                beside = bool(kinds) and all(kind.endswith("Concurrently") for kind in kinds)
                if is_postgres() and beside:
                    with connection().cursor() as cursor:
                        cursor.execute("SET lock_timeout = 0")
                if watch:
                    watch.begin()
                began = time.monotonic()
                try:
                    done = original(self, state, migration, *rest, **named)
                    took = round((time.monotonic() - began) * 1000)
                    told = {"migration": [migration.app_label, migration.name], "milliseconds": took}
                    if watch:
                        told["locks"] = watch.seen()
                    tell(**{answer: told})
                    return done
                finally:
                    if is_postgres() and beside:
                        bound_locks(connection=connection())

            return one

        MigrationExecutor.apply_migration = bounded(MigrationExecutor.apply_migration, "took")
        MigrationExecutor.unapply_migration = bounded(MigrationExecutor.unapply_migration, "reversed")

    class Watch:
        """Looks twenty times a second which tables are locked so that others wait, on a database that nobody else uses.
        A table that is being made is nobody's yet, and is not seen from outside its transaction."""

        EVERY = 0.05
        LOCKS = """SELECT c.oid::regclass::text, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                   WHERE l.granted AND l.pid <> pg_backend_pid() AND c.relkind IN ('r', 'p', 'm')
                   AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

        def __init__(self):
            self.guard, self.over, self.held = threading.Lock(), threading.Event(), {}
            self.problem = None
            self.thread = threading.Thread(target=self.look, daemon=True)
            self.thread.start()

        def look(self):
            try:
                # Each thread has its own.
                own = connection()
                while not self.over.wait(self.EVERY):
                    found, now = rows(own, self.LOCKS), time.monotonic()
                    with self.guard:
                        for lock in found:
                            first, _ = self.held.get(lock, (now, now))
                            self.held[lock] = (first, now)
                own.close()
            except Exception as error:
                self.problem = f"{type(error).__name__}: {error}"

        def begin(self):
            with self.guard:
                self.held = {}

        def seen(self):
            if self.problem:
                raise RuntimeError(f"the locks could not be watched: {self.problem}")
            with self.guard:
                return [
                    {"table": table, "mode": mode, "milliseconds": round((last - first + self.EVERY) * 1000)}
                    for (table, mode), (first, last) in sorted(self.held.items())
                ]

        def end(self):
            self.over.set()
            self.thread.join()

    def until_done(work, next_one):
        """A lock that is not had in time is tried for again: the queue behind a waiting migration is everybody. Each
        migration commits on its own, so it goes on where it stood. `next_one` is the one that stands next."""
        for number in range(1, tries + 1):
            try:
                return work()
            except OperationalError as error:
                connection().close()
                waits = next_one()
                # What is not atomic may be half done: not again.
                again = number < tries and waits is not None and waits.atomic
                if not (is_postgres() and lock_not_had(error)):
                    raise
                tell(waiting={
                    "for": [waits.app_label, waits.name] if waits else None,
                    "in_the_way": in_the_way(connection()),
                    "next_try": number + 1 if again else None,
                    "tries": tries,
                })
                if not again:
                    raise
                time.sleep(pause_seconds)

    def apply():
        """As `manage.py migrate --noinput` does."""

        def next_one():
            pending = plan_of(MigrationExecutor(connection()))
            return pending[0] if pending else None

        until_done(lambda: call_command("migrate", interactive=False, skip_checks=False), next_one)

    # --- Taking it back ----------------------------------------------------------------------------------------------

    class Unable(Exception):
        """Why it cannot be taken back, in words."""

    def surplus(kept):
        """What stands beyond `kept`, the newest first: exactly that, where `migrate app name` would leave the other
        branch of a merge."""
        executor = MigrationExecutor(connection())
        applied = set(executor.loader.applied_migrations)
        beyond = applied - kept
        known = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
        found = [migration for migration, _ in known if (migration.app_label, migration.name) in beyond]
        unknown = beyond - {(migration.app_label, migration.name) for migration in found}
        # One that replaces others is recorded by their names, too.
        unknown -= {replaced for migration in found for replaced in map(tuple, migration.replaces)}
        if unknown:
            names = ", ".join(sorted(f"{app}.{name}" for app, name in unknown))
            raise Unable(f"the newer release does not know these migrations, and cannot take them back: {names}")
        if missing := kept - applied:
            names = ", ".join(sorted(f"{app}.{name}" for app, name in missing))
            raise Unable(f"these migrations should stand and do not: {names}")
        return list(reversed(found))

    def irreversible(migrations):
        def within(operation):
            yield operation
            for inner in getattr(operation, "database_operations", ()):
                yield from within(inner)

        return [
            f"{migration.app_label}.{migration.name}: {described(operation)}"
            for migration in migrations
            for outer in migration.operations
            for operation in within(outer)
            if not operation.reversible
        ]

    def take_back(kept):
        def reverse():
            executor = MigrationExecutor(connection())
            plan = [(migration, True) for migration in surplus(kept)]
            if plan:
                executor.migrate([], plan=plan)

        def next_one():
            left = surplus(kept)
            return left[0] if left else None

        until_done(reverse, next_one)

    def loses(migrations):
        """Of the tables and columns that go when these are taken back: how much is in them, and since when."""
        executor = MigrationExecutor(connection())
        applied = [key for key in executor.loader.applied_migrations if key in executor.loader.graph.nodes]
        apps = executor.loader.project_state(applied).apps
        quoted = connection().ops.quote_name
        tables, told = set(), []

        def say(migration, table, column, counting, newest=None):
            count, since = rows(connection(), f"SELECT {counting}, {newest or 'NULL'} FROM {quoted(table)}")[0]
            if count:
                told.append({
                    "migration": [migration.app_label, migration.name], "table": table, "column": column,
                    "rows": count, "newest": since.isoformat() if since else None,
                })

        for migration in migrations:
            for operation in migration.operations:
                # What it is called now; what is not there any more has nothing to lose.
                try:
                    model = apps.get_model(migration.app_label, getattr(operation, "model_name", None) or operation.name)
                except (LookupError, AttributeError):
                    continue
                table = model._meta.db_table
                if isinstance(operation, operations.CreateModel):
                    if not model._meta.managed or model._meta.proxy:
                        continue
                    tables.add(table)
                    kinds = [field for field in model._meta.local_concrete_fields if type_of(field) == "timestamp with time zone"]
                    newest = ", ".join(f"max({quoted(field.column)})" for field in kinds)
                    say(migration, table, None, "count(*)", f"greatest({newest})" if newest else None)
                elif isinstance(operation, operations.AddField):
                    try:
                        field = model._meta.get_field(operation.name)
                    except Exception:
                        continue
                    if field.many_to_many:
                        through = field.remote_field.through._meta
                        if through.auto_created:
                            say(migration, through.db_table, None, "count(*)")
                    elif type_of(field) is not None:
                        say(migration, table, field.column, f"count({quoted(field.column)})")
        return [one for one in told if one["column"] is None or one["table"] not in tables]

    def unusable_and_state():
        # What failed may have left it unusable.
        connection().close()
        if is_postgres():
            unusable = rows(
                connection(), "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
            )
            if unusable:
                tell(unusable=[name for (name,) in unusable])
        tell(state=state())

    def talk_to_nobody():
        """Where it is only tried, nobody gets a task or a letter by it."""
        from django.conf import settings

        settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
        try:
            from celery import current_app
        except ImportError:
            return
        current_app.conf.broker_url = "memory://"
        current_app.conf.broker_write_url = "memory://"

    kept = set(map(tuple, to))
    if order == "ask":
        return tell(state=state())
    if order == "judge":
        return tell(state=state(assessing=True))
    if order == "loses":
        try:
            beyond = surplus(kept)
        except Unable as why:
            return tell(unknown=str(why))
        if unable := irreversible(beyond):
            return tell(irreversible=unable)
        names = [[migration.app_label, migration.name] for migration in beyond]
        return tell(loses={"migrations": names, "lost": loses(beyond)})
    connection_created.connect(bound_locks)
    # Opened by what was asked before the signal was heard.
    connection().close()
    if is_postgres():
        effective = rows(connection(), "SHOW lock_timeout")[0][0]
        if effective in ("0", "0ms"):
            raise SystemExit("lock_timeout is not in force on Django's own connection: a migration could hold up everybody")
    if order == "rehearse":
        talk_to_nobody()
        before = state()
        tell(state=before)
        watch = Watch() if is_postgres() else None
        bound_one_by_one(watch)
        kept = {(app, name) for app, name in before["applied"]}
        apply()
        call_command("check", databases=[DEFAULT_DB_ALIAS])
        try:
            if unable := irreversible(surplus(kept)):
                tell(irreversible=unable)
            else:
                take_back(kept)
        except Exception as error:
            tell(not_reversed=f"{type(error).__name__}: {' '.join(str(error).split())}")
        if watch:
            watch.end()
        return unusable_and_state()
    before = state(assessing=order == "migrate")
    tell(state=before)
    if order == "migrate" and not before["pending"]:
        return
    if order == "migrate" and not allow_incompatible and any(one["breaks"] for one in before.get("assessed", [])):
        return tell(refused=True)
    guard = only_one() if is_postgres() else None
    if order == "reverse":
        try:
            unable = irreversible(surplus(kept))
        except Unable as why:
            return tell(unknown=str(why))
        if unable:
            return tell(irreversible=unable)
    bound_one_by_one()
    over = threading.Event()
    if within and is_postgres():
        threading.Thread(target=end_after, args=(within, over), daemon=True).start()
    try:
        if order == "reverse":
            take_back(kept)
        else:
            apply()
    finally:
        over.set()
        # A failure here must not stand before the migration's own.
        try:
            unusable_and_state()
            if guard is not None:
                guard.close()
        except Exception as error:
            tell(unknown=f"{type(error).__name__}: {error}")
