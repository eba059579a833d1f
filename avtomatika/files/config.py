"""Settings of S3, read from the environment as one frozen value."""

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from avtomatika import environment
from avtomatika.errors import SettingsError

_KEYS = ("S3_ACCESS_KEY", "S3_SECRET_KEY")
#: Any of these turns S3 on.
_SWITCHES = ("S3_ENDPOINT_URL", *_KEYS, "S3_BUCKET")
#: When uploads carry a CRC; the values of Amazon's libraries.
_CHECKSUMS = ("when_supported", "when_required")
#: Default region of signatures for other servers than Amazon's, which accept any.
_ANY_REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """Connection settings of S3. Without keys boto3 looks for some (instance roles, ``~/.aws``).

    *bucket* is the bucket of results; params may name it and *allowed_buckets* (None: all). *public_endpoint_url* is
    the server's URL for clients, if it differs. *checksums* is ``when_supported`` or ``when_required``; see
    :attr:`request_checksums`.
    """

    endpoint_url: str | None = None
    public_endpoint_url: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    bucket: str | None = None
    region: str | None = None
    ca_bundle: str | None = None
    allowed_buckets: frozenset[str] | None = None
    checksums: str | None = None
    timeout_seconds: float = 30.0

    @classmethod
    def from_environment(cls) -> Self | None:
        """Read ``S3_*``; None if S3 is off. Raise SettingsError with the variable and its invalid value."""
        if not any(map(environment.text, _SWITCHES)):
            return None
        access_key, secret_key = map(environment.text, _KEYS)
        if (access_key is None) != (secret_key is None):
            missing, present = _KEYS if access_key is None else reversed(_KEYS)
            raise SettingsError(f"{missing} is not set, but {present} is: set both or neither")
        endpoint_url = _endpoint("S3_ENDPOINT_URL")
        ca_bundle = environment.path("S3_CA_BUNDLE") or environment.path("AWS_CA_BUNDLE")
        buckets = environment.words("S3_ALLOWED_BUCKETS")
        return cls(
            endpoint_url=endpoint_url,
            public_endpoint_url=_endpoint("S3_PUBLIC_ENDPOINT_URL"),
            access_key=access_key,
            secret_key=secret_key,
            session_token=environment.text("S3_SESSION_TOKEN"),
            bucket=environment.text("S3_BUCKET"),
            region=environment.text("S3_REGION") or (_ANY_REGION if endpoint_url else None),
            ca_bundle=None if ca_bundle is None else str(ca_bundle),
            allowed_buckets=None if buckets is None else frozenset(buckets),
            checksums=environment.choice("AWS_REQUEST_CHECKSUM_CALCULATION", _CHECKSUMS),
        )

    @property
    def needs_path_style(self) -> bool:
        """True if URLs have the bucket in their path: only Amazon has a host name for each bucket."""
        host = urlsplit(self.endpoint_url or "").hostname
        return host is not None and not host.endswith(".amazonaws.com")

    @property
    def request_checksums(self) -> str:
        """When uploads carry a CRC: always on Amazon; elsewhere only if the operation requires it, because the CRC may
        follow the body, which not every server supports."""
        return self.checksums or ("when_required" if self.needs_path_style else "when_supported")

    def allows(self, bucket: str) -> bool:
        """Return whether params may name *bucket*."""
        return self.allowed_buckets is None or bucket == self.bucket or bucket in self.allowed_buckets

    def keeps_results(self, bucket: str) -> bool:
        """Return whether *bucket* is the bucket of results, in any case: it may be part of a host name."""
        return self.bucket is not None and bucket.lower() == self.bucket.lower()


def _endpoint(name: str) -> str | None:
    if "@" in (environment.text(name) or ""):
        raise SettingsError(f"{name}: set the keys in S3_ACCESS_KEY and S3_SECRET_KEY, not in the URL")
    return environment.parsed(name, _web_url)


def _web_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError("must be a URL like http://localhost:9000")
    return url
