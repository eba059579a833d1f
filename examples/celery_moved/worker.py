"""The tasks that have moved. ``send_mail`` is still done by a Celery worker."""

from avtomatika import Worker

worker = Worker()


@worker.skill
def resize(image: str, width: int) -> str:
    return f"{image}@{width}"


@worker.skill
def make_page(thumbnails: list[str], title: str) -> dict:
    return {"page": f"<h1>{title}</h1>" + "".join(f"<img src={thumbnail}>" for thumbnail in thumbnails)}
