"""Text: strings inside a JSON value, and the limits on stored messages."""

from collections.abc import Iterator, Mapping

from .job import Json

#: Maximum length of a stored error message and of a traceback, in characters.
MAX_MESSAGE, MAX_TRACEBACK = 4_000, 16_000
_OMITTED = " ... {} characters omitted ... "


def shortened(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return *text* with at most *limit* characters, the middle of a longer one omitted.

    Lone surrogates, which JSON cannot represent, become question marks.

    >>> shortened("abcdefgh", 4)
    'ab ... 4 characters omitted ... gh'
    """
    if len(text) > limit:
        half = limit // 2
        text = text[: limit - half] + _OMITTED.format(len(text) - limit) + text[len(text) - half :]
    return text if text.isascii() else text.encode(errors="replace").decode()


def texts_in(value: Json, *, keys: bool = False) -> Iterator[str]:
    """Yield every string, in order, with *keys* also those of objects.

    >>> value = {"a": ["x", {"b": "y"}], "c": 3}
    >>> list(texts_in(value)), list(texts_in(value, keys=True))
    (['x', 'y'], ['a', 'x', 'b', 'y', 'c'])
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if keys:
                yield key
            yield from texts_in(item, keys=keys)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item, keys=keys)


def with_texts(value: Json, instead: Mapping[str, str]) -> Json:
    """Return a copy of *value* with its strings replaced as in *instead*.

    >>> with_texts({"a": ["x", "y"]}, {"x": "z"})
    {'a': ['z', 'y']}
    """
    if isinstance(value, str):
        return instead.get(value, value)
    if isinstance(value, dict):
        return {key: with_texts(item, instead) for key, item in value.items()}
    if isinstance(value, list):
        return [with_texts(item, instead) for item in value]
    return value
