"""What the environment says about S3, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from avtomatika.errors import SettingsError

#: Any of these turns S3 on.
_SWITCHES = ("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_BUCKET")
_VARIABLES = (
    *_SWITCHES,
    "S3_SESSION_TOKEN",
    "S3_REGION",
    "S3_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "S3_ALLOWED_BUCKETS",
    "S3_PUBLIC_ENDPOINT_URL",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
)
#: When requests carry a checksum of what they bring, in the words of Amazon's own libraries.
_CHECKSUMS = ("when_supported", "when_required")
#: What is signed for where no region is named: servers that are not Amazon's take any.
_ANY_REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """How to reach S3. Without keys, the usual places of boto3 are looked into (instance roles, ``~/.aws``).

    *bucket* is where results go; *allowed_buckets* is what params may name (None: any), and *bucket* always.
    *public_endpoint_url* is where clients reach the server, if it is not where we do. *checksums* is ``when_supported``
    or ``when_required``; see :attr:`request_checksums`.
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
    def from_environment(cls, environ: Mapping[str, str]) -> S3Config | None:
        """Read ``S3_*``, where blank means not set; None where S3 is off. Raises SettingsError naming the variable."""
        given = {name: text for name in _VARIABLES if (text := environ.get(name, "").strip())}
        if not any(name in given for name in _SWITCHES):
            return None
        _both_or_none(given, "S3_ACCESS_KEY", "S3_SECRET_KEY")
        endpoint_url = _endpoint(given, "S3_ENDPOINT_URL")
        return cls(
            endpoint_url=endpoint_url,
            public_endpoint_url=_endpoint(given, "S3_PUBLIC_ENDPOINT_URL"),
            access_key=given.get("S3_ACCESS_KEY"),
            secret_key=given.get("S3_SECRET_KEY"),
            session_token=given.get("S3_SESSION_TOKEN"),
            bucket=given.get("S3_BUCKET"),
            region=given.get("S3_REGION") or (_ANY_REGION if endpoint_url else None),
            ca_bundle=_file(given, "S3_CA_BUNDLE") or _file(given, "AWS_CA_BUNDLE"),
            allowed_buckets=_names(given.get("S3_ALLOWED_BUCKETS")),
            checksums=_word(given, "AWS_REQUEST_CHECKSUM_CALCULATION", _CHECKSUMS),
        )

    @property
    def needs_path_style(self) -> bool:
        """Whether the bucket belongs into the path: only Amazon has a host name for each bucket."""
        host = urlsplit(self.endpoint_url or "").hostname
        return host is not None and not host.endswith(".amazonaws.com")

    @property
    def request_checksums(self) -> str:
        """When bodies carry a CRC: on Amazon always, elsewhere only where a request demands it, for it may come behind
        the body, and not every server can read that."""
        return self.checksums or ("when_required" if self.needs_path_style else "when_supported")

    def allows(self, bucket: str) -> bool:
        """Whether params may name *bucket*."""
        return self.allowed_buckets is None or bucket == self.bucket or bucket in self.allowed_buckets

    def keeps_results(self, bucket: str) -> bool:
        """Whether *bucket* is the one of results: host names, which it may become a part of, have no case."""
        return self.bucket is not None and bucket.lower() == self.bucket.lower()


def _both_or_none(given: Mapping[str, str], *names: str) -> None:
    missing = [name for name in names if name not in given]
    if len(missing) == 1:
        [present] = set(names) - set(missing)
        raise SettingsError(f"{missing[0]} is not set, but {present} is: one is nothing without the other")


def _endpoint(given: Mapping[str, str], name: str) -> str | None:
    url = given.get(name)
    if url is None:
        return None
    if "@" in url:
        raise SettingsError(f"{name}: keys belong into S3_ACCESS_KEY and S3_SECRET_KEY, not into the URL")
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise SettingsError(f"{name}={url!r}: must be a URL like http://localhost:9000")
    return url


def _file(given: Mapping[str, str], name: str) -> str | None:
    path = given.get(name)
    if path is not None and not Path(path).exists():
        raise SettingsError(f"{name}={path!r}: there is no such file")
    return path


def _word(given: Mapping[str, str], name: str, words: tuple[str, ...]) -> str | None:
    word = given.get(name)
    if word is not None and word.lower() not in words:
        raise SettingsError(f"{name}={word!r}: must be one of {', '.join(words)}")
    return word and word.lower()


def _names(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    return frozenset(name.strip() for name in text.split(",") if name.strip())
