"""TLS options from kombu's ``ssl`` and from the query of a URL."""

import inspect
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from redis.connection import SSLConnection

_KNOWN = frozenset(name for name in inspect.signature(SSLConnection).parameters if name.startswith("ssl_"))
#: Values of ``ssl_cert_reqs``: redis-py's, and the constants' names as used in Celery's documentation.
_CERT_REQS: Mapping[object, ssl.VerifyMode] = {
    mode: mode for mode in (ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED)
} | {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
    "cert_none": ssl.CERT_NONE,
    "cert_optional": ssl.CERT_OPTIONAL,
    "cert_required": ssl.CERT_REQUIRED,
}
_SWITCHES = ("ssl_check_hostname", "ssl_validate_ocsp", "ssl_validate_ocsp_stapled")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_tls(url: str, given: bool | Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Return *url* without its TLS options, and redis-py's keyword arguments for TLS, which are empty if TLS is not
    used.

    *given* is kombu's ``ssl``: True, or redis-py's ``ssl_*`` options. The query of the URL takes precedence. TLS is
    used for ``rediss://`` URLs and if any option requests it. Raises ValueError for an option that is not
    supported.
    """
    address, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = {name: value for name, value in pairs if name.startswith("ssl")}
    if asked:
        rest = urlencode([(name, value) for name, value in pairs if name not in asked])
        url = f"{address}?{rest}" if rest else address
    is_wanted = _read_switch("ssl", asked.pop("ssl", "false")) or address.startswith("rediss:")
    if not (is_wanted or asked or given):
        return url, {}
    if address.startswith("unix:"):
        raise ValueError("TLS options do not apply to a unix:// address")
    return url, _complete({**(given if isinstance(given, Mapping) else {}), **asked})


def _complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the options and enable verification of certificate and host name by default."""
    unknown = [name for name in options if name not in _KNOWN]
    if unknown:
        raise ValueError(f"unknown TLS option {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    settings = {name: _read_switch(name, value) if name in _SWITCHES else value for name, value in options.items()}
    mode = options.get("ssl_cert_reqs", ssl.CERT_REQUIRED)
    word = mode.lower() if isinstance(mode, str) else mode
    if word is not None and word not in _CERT_REQS:
        raise ValueError(f"TLS option ssl_cert_reqs must be none, optional or required, not {mode!r}")
    settings["ssl_cert_reqs"] = ssl.CERT_NONE if word is None else _CERT_REQS[word]
    if settings["ssl_cert_reqs"] == ssl.CERT_NONE:
        settings["ssl_check_hostname"] = False
    return {"ssl_check_hostname": True, **settings}


def _read_switch(name: str, value: object) -> bool:
    read = value if isinstance(value, bool) else _WORDS.get(str(value).lower())
    if read is None:
        raise ValueError(f"TLS option {name} must be true or false, not {value!r}")
    return read
