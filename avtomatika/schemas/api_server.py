"""Errors and health of the HTTP API."""

from marshmallow import Schema, fields

from .api_fields import about


class ProblemSchema(Schema):
    """An error (RFC 9457, ``application/problem+json``)."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String(metadata=about("for people"))
    code = fields.String(metadata=about("for programs"))
    errors = fields.Dict(metadata=about("error messages by field"))
    near = fields.List(fields.String(), metadata=about("existing names similar to the unknown one"))
    kind = fields.String(metadata=about("kind of the missing object: job, blueprint, path and so on"))
    name = fields.String(metadata=about("name of the missing object"))
    limit = fields.Integer(metadata=about("quota: jobs per month"))
    created = fields.Integer(metadata=about("jobs created this month"))
    renews_at = fields.String(metadata=about("when the quota is renewed"))
    incident = fields.String(metadata=about("identifies the error in the log"))


class HealthSchema(Schema):
    """The state of this process or of the server."""

    status = fields.String()


class ReadinessSchema(HealthSchema):
    """The state of the job server."""

    server = fields.String(metadata=about("version of the server"))
    persistence = fields.String(
        metadata=about("durability of the server: off, no, everysec or always (its appendfsync)")
    )
    eviction = fields.String(metadata=about("eviction policy of the server (its maxmemory-policy)"))
    warnings = fields.List(fields.String(), metadata=about("subjects of warnings; `avtomatika doctor` shows details"))


class ServiceSchema(HealthSchema):
    """The name and the version of the service."""

    service = fields.String()
    version = fields.String()
