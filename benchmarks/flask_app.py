"""A bare Flask app that writes and reads a hash: the least that creating and reading a job could cost."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import redis
from flask import Flask, jsonify, request

app = Flask("bare")
server = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


@app.post("/api/v1/jobs/one")
def create() -> tuple[Any, int]:
    job_id = uuid4().hex
    server.hset(f"bare:{job_id}", mapping={"status": "pending", "data": request.get_data(as_text=True)})
    return jsonify(job_id=job_id), 202


@app.get("/api/v1/jobs/<job_id>")
def show(job_id: str) -> Any:
    return jsonify(server.hgetall(f"bare:{job_id}"))
