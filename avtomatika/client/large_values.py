"""Values of jobs in S3: downloaded where a job has references to them."""

from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from avtomatika.core.file_reference import references_in, with_values
from avtomatika.errors import NotFoundError

from . import answers, transfers
from .steps import Blocking, Request, Steps


def with_result(found: answers.Job) -> Steps[answers.Job]:
    """Return a job with its whole result."""
    if "result" in found:
        found["result"] = yield from loaded(found["result"])
    return found


def loaded(value: Any, *, skips_missing: bool = False) -> Steps[Any]:
    """Return *value* with the values that are in S3. Raises NotFoundError for a deleted one, unless *skips_missing*."""
    values: dict[str, Any] = {}
    for reference in {reference.uri: reference for reference in references_in(value)}.values():
        job_id, _, name = reference.uri.removeprefix("s3://").partition("/")[2].partition("/")
        path = f"/api/v1/jobs/{quote(job_id, safe='')}/files/{quote(name)}"
        try:
            response: httpx.Response = yield Request("GET", path, is_redirected=True)
            url = response.headers["Location"]
            values[reference.uri] = yield Blocking(partial(transfers.read_value, url, reference))
        except NotFoundError:
            if not skips_missing:
                raise
    return with_values(value, values) if values else value
