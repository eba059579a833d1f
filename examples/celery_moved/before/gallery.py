"""The gallery as a Celery app: thumbnails of all images, then a page of them, then a mail."""

import os

from celery import Celery, chain, chord

app = Celery("gallery", broker=os.environ.get("REDIS_URL", "redis://localhost:16379/0"), backend="rpc://")
app.conf.broker_transport = "avtomatika.transport:Transport"  # the only new line


@app.task(autoretry_for=(OSError,), retry_backoff=1, max_retries=5)
def resize(image, width):
    return f"{image}@{width}"


@app.task
def make_page(thumbnails, title):
    return f"<h1>{title}</h1>" + "".join(f"<img src={thumbnail}>" for thumbnail in thumbnails)


@app.task(name="gallery.send_mail")
def send_mail(page, to):
    return f"{len(page)} characters to {to}"


def publish(title, images, to):
    return chain(
        chord([resize.s(image, 320) for image in images], make_page.s(title)),
        send_mail.s(to),
    )
