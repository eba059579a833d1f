"""The chain and the chord of ``before/gallery.py`` as a blueprint."""

from dataclasses import dataclass

from avtomatika import Blueprint, RetryPolicy


@dataclass
class Gallery:
    title: str
    images: list[str]
    to: str


bp = Blueprint("gallery", api_endpoint="jobs/gallery", input=Gallery, retry=RetryPolicy(max_retries=5, delay=1))


@bp.handler(is_start=True)
def start(images, actions):  # chord([resize.s(image, 320) for image in images], ...)
    actions.dispatch_parallel(
        [{"task_type": "resize", "params": {"image": image, "width": 320}} for image in images],
        aggregate_into="collect",
    )


@bp.aggregator
def collect(aggregation_results, title, actions):  # make_page.s(title)
    thumbnails = [result["data"]["result"] for result in aggregation_results.values()]
    actions.dispatch_task(
        "make_page", {"thumbnails": thumbnails, "title": title}, transitions={"success": "mail", "failure": "failed"}
    )


@bp.handler
def mail(page, to, actions):  # send_mail.s(to), by a Celery worker
    actions.dispatch_task(
        "send_mail", {"page": page, "to": to}, transitions={"success": "done", "failure": "failed"}, result_timeout=60
    )


@bp.handler(is_end=True)
def done(result):
    return result


@bp.handler(is_end="failed")
def failed(error):  # link_error
    return error
