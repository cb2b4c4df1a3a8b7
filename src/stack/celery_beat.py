"""Which scheduled tasks should have been sent since a moment and were not. Arguments: the application, the moment, and
now, both in seconds since 1970. Looks at the schedule of the settings and of the application's own signals, not at
one that is kept in a database."""

import json
import sys
from datetime import datetime

from celery.app.utils import find_app
from celery.schedules import maybe_schedule


def overdue(application, last, now):
    # What beat itself does before it reads the schedule.
    application.loader.init_worker()
    application.finalize()
    since = datetime.fromtimestamp(last, application.timezone)
    late = []
    entries = application.conf.beat_schedule
    for name in sorted(entries):
        schedule = maybe_schedule(entries[name]["schedule"], app=application)
        schedule.nowfun = lambda: datetime.fromtimestamp(now, application.timezone)
        if schedule.is_due(since).is_due:
            late.append(name)
    return {"scheduled": len(entries), "overdue": late}


found = overdue(find_app(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
print("viatique-deploy:" + json.dumps(found), flush=True)
