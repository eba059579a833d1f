"""Parts of the page of a job: its graph, its values as JSON, its files, and what changes while one looks."""

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify
from werkzeug import Response as BaseResponse

from avtomatika.core.graph.job_path import JobPath
from avtomatika.errors import AvtomatikaError, NotFoundError

from ..api import control, events, files, streams
from ..api.jobs import callers_job, whole_history
from ..graphs import graph_response
from ..services import services
from .rendering import notice, page
from .routes import routes

#: File names that browsers show as pictures.
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif")
#: Largest picture that the page loads, in bytes.
_LARGEST_PICTURE = 4_000_000
_FILES = 200


@routes.get("/jobs/<job_id>/graph.svg")
def draw_job(job_id: str) -> Response:
    """Draw the graph with the path of the job"""
    job = callers_job(job_id)
    plan = services().plan(job.blueprint)
    path = JobPath.of(plan, job, whole_history(job_id), now_ms=services().store.clock.now_ms())
    return graph_response(plan, format="svg", overlay=path)


@routes.get("/jobs/<job_id>/changes")
def follow_changes(job_id: str) -> Response:
    """Stream the events of a job"""
    return events.stream_events(job_id, after=0)


@routes.get("/jobs/<job_id>/stream")
def follow_stream(job_id: str) -> Response:
    """Stream what the skills of a job write and log"""
    return streams.stream_entries(job_id, after=0)


@routes.get("/jobs/<job_id>/<any(input,data,result,error):part>.json")
def show_value(job_id: str, part: str) -> Response:
    """Show a value of a job as JSON"""
    job = callers_job(job_id)
    values: Mapping[str, Any] = {
        "input": job.initial_data,
        "data": job.state_history,
        "result": job.result,
        "error": job.error,
    }
    return jsonify(values[part])


@routes.get("/jobs/<job_id>/history/<int:seq>.json")
def show_entry(job_id: str, seq: int) -> Response:
    """Show the data of a history entry as JSON"""
    job = callers_job(job_id)
    found, _ = services().store.history(job.id, after=max(seq - 1, 0), limit=1)
    if not found:
        raise NotFoundError("history entry", str(seq))
    return jsonify(found[0].entry.data)


@routes.get("/jobs/<job_id>/tries")
def show_tries(job_id: str) -> Response:
    """List the tries and forks of a job"""
    job = callers_job(job_id)
    return page("tries.html", job=job, tries=control.tries_of(job))


@routes.get("/jobs/<job_id>/files")
def show_files(job_id: str) -> Response:
    """List the files of a job"""
    job = callers_job(job_id)
    try:
        with files.job_files() as stored:
            found, _ = stored.page(job_id, limit=_FILES)
            names = [stored.name_of(each, job_id) for each in found]
    except AvtomatikaError as error:
        return notice(error)
    listed = [
        (name, each, name.lower().endswith(_PICTURES) and each.size <= _LARGEST_PICTURE)
        for name, each in zip(names, found, strict=True)
    ]
    return page("files.html", job=job, files=listed, shows_files=True)


@routes.get("/jobs/<job_id>/files/<path:name>")
def download_file(job_id: str, name: str) -> BaseResponse:
    """Download a file of a job"""
    return files.redirect_to_file(job_id, name)
