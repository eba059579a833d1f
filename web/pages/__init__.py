"""The pages at ``/``: overview, jobs, blueprints, workers, queues, limits, schedules, dead letters and approvals.

They read well without JavaScript; the scripts in ``static/`` add what changes while one looks. ``routes.py`` requires a
session, ``rendering.py`` renders the templates.
"""

from . import approvals, blueprints, job, job_actions, job_parts, jobs, login, overview, queues, schedules, workers
from .routes import routes
