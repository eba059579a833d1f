"""Queues, the messages that wait in them, dead letters, and limits of tasks."""

from flask import Response, request

from avtomatika.core.limits import KINDS, LimitValues, limit_name
from avtomatika.schemas.responses import dump
from avtomatika.schemas.server_answers import LimitInfo

from ..auth import caller, require_operator
from ..services import services
from .rendering import page
from .routes import routes, see_other

_MESSAGES = 50
_LETTERS = 100


@routes.get("/queues")
def show_queues() -> Response:
    """List queues"""
    require_operator()
    queues = services().queues.all()
    shown = [queue for queue in queues if "idle" in request.args or queue.consumers or queue.paused_ms or _size(queue)]
    return page("queues.html", queues=shown, idle=len(queues) - len(shown))


def _size(queue: object) -> int:
    return sum(getattr(queue, name) for name in ("waiting", "held", "delayed", "dead"))


@routes.get("/queues/<path:name>")
def show_queue(name: str) -> Response:
    """Show a queue and its next messages"""
    require_operator()
    found, messages, letters = services().queues.look(name, messages=_MESSAGES, letters=_LETTERS)
    return page("queue.html", queue=found, messages=messages, letters=letters)


@routes.post("/queues/<path:name>/purge")
def purge_queue(name: str) -> Response:
    """Delete the messages that wait in a queue"""
    require_operator()
    services().queues.purge(name)
    return see_other("pages.show_queue", name=name)


@routes.post("/queues/<path:name>/<any(pause, resume):action>")
def pause_queue(name: str, action: str) -> Response:
    """Pause a queue or resume it"""
    require_operator()
    services().queues.set_paused(name, caller().name if action == "pause" else "")
    return see_other("pages.show_queue", name=name)


@routes.get("/limits")
def show_limits() -> Response:
    """List limits of tasks, those that stop some first"""
    require_operator()
    found = services().store.limits.all().values()
    shown = sorted(found, key=lambda each: (each.paused_by is None, -each.waiting, -each.running))
    return page("limits.html", limits=[(each, dump(LimitInfo, each)) for each in shown], kinds=KINDS)


@routes.post("/limits")
def act_on_limit() -> Response:
    """Set, remove, pause or resume a limit"""
    require_operator()
    given, limits = {name: text.strip() for name, text in request.form.items()}, services().store.limits
    name, action = limit_name(given["kind"], given["name"]), given["action"]
    if action == "set":
        count = given["concurrency"]
        limits.put(name, LimitValues.of(int(count) if count.isdecimal() else count or None, given["rate"] or None))
    elif action == "remove":
        limits.remove(name)
    else:
        limits.set_paused(name, caller().name if action == "pause" else "")
    return see_other("pages.show_limits")


@routes.get("/dead-letters")
def show_dead_letters() -> Response:
    """List dead letters, newest first"""
    require_operator()
    letters = services().queues.dead(limit=_LETTERS)
    return page("dead_letters.html", letters=letters, most=_LETTERS, done=request.args.get("done"))


@routes.post("/dead-letters")
def settle_dead_letters() -> Response:
    """Requeue or delete the selected dead letters"""
    require_operator()
    queues = services().queues
    settle, word = (queues.requeue, "requeued") if request.form.get("action") == "requeue" else (queues.drop, "deleted")
    chosen = request.form.getlist("letter")
    for letter_id in chosen:
        settle(letter_id)
    return see_other("pages.show_dead_letters", done=f"{len(chosen)} {word}")
