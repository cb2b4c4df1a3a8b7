# Runs in a container of the release to be deployed, by `manage.py shell -c`. Answers are lines of JSON behind a mark:
#
#   {"messages": [{"id": id, "serious": bool, "message": text, "hint": text}]}   of Django's own check --deploy
#   {"settings": {...}}                      what the settings really are; of the secret key only how good it is
#   {"changes": ["app: what"]}               what makemigrations would write
#   {"conflicts": [["app", [name]]]}         apps whose migrations have several last ones
#   {"ahead": [["app", name]]}               what is applied in the database, and the image does not know
#   {"unknown": ["messages", "why"]}         in the place of one of them: it could not be found out
#
# One start of Django for all of it, in one function because old Djangos give `shell -c` no globals of its own. Nothing is
# written, neither files nor rows.


def look(with_database):
    import json

    def tell(**answer):
        print("\nviatique-deploy:" + json.dumps(answer), flush=True)

    def messages():
        from django.core import checks

        found = checks.run_checks(include_deployment_checks=True)
        return [
            {
                "id": message.id or "",
                "serious": message.is_serious(),
                "message": str(message.msg),
                "hint": str(message.hint or ""),
            }
            for message in found
            if not message.is_silenced()
        ]

    def settings():
        from django.conf import settings as chosen

        def flag(name):
            return bool(getattr(chosen, name, False))

        key = str(getattr(chosen, "SECRET_KEY", ""))
        return {
            "debug": flag("DEBUG"),
            "secret_key_length": len(key),
            "secret_key_characters": len(set(key)),
            "secret_key_made_for_development": key.startswith("django-insecure-"),
            "allowed_hosts": [str(host) for host in chosen.ALLOWED_HOSTS],
            "trusted_origins": [str(origin) for origin in getattr(chosen, "CSRF_TRUSTED_ORIGINS", [])],
            "session_cookie_secure": flag("SESSION_COOKIE_SECURE"),
            "csrf_cookie_secure": flag("CSRF_COOKIE_SECURE"),
        }

    def loader():
        from django.db.migrations.loader import MigrationLoader

        return MigrationLoader(None, ignore_no_migrations=True)

    def conflicts():
        found = loader().detect_conflicts()
        return sorted([app, sorted(names)] for app, names in found.items())

    def changes():
        from django.apps import apps
        from django.db.migrations.autodetector import MigrationAutodetector
        from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
        from django.db.migrations.state import ProjectState

        known = loader()
        if known.detect_conflicts():
            raise RuntimeError("the migrations have several last ones")
        # As makemigrations asks it: what it cannot decide by itself, it is not asked.
        questioner = NonInteractiveMigrationQuestioner(dry_run=True)
        detector = MigrationAutodetector(known.project_state(), ProjectState.from_apps(apps), questioner)
        found = detector.changes(graph=known.graph)
        return [
            app + ": " + str(operation.describe())
            for app in sorted(found)
            for migration in found[app]
            for operation in migration.operations
        ]

    def ahead():
        from django.db import connection
        from django.db.migrations.recorder import MigrationRecorder

        known = loader()
        replaced = {name for one in known.disk_migrations.values() for name in one.replaces}
        applied = MigrationRecorder(connection).applied_migrations()
        # Apps that were taken out leave theirs behind, which harm nobody.
        return sorted(
            [app, name]
            for app, name in applied
            if app in known.migrated_apps
            and (app, name) not in known.disk_migrations
            and (app, name) not in replaced
        )

    questions = [messages, settings, changes, conflicts]
    if with_database:
        questions.append(ahead)
    for question in questions:
        try:
            answer = question()
        except (Exception, SystemExit) as error:
            tell(unknown=[question.__name__, f"{type(error).__name__}: {error}"])
        else:
            tell(**{question.__name__: answer})
