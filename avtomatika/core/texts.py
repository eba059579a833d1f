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


def texts_in(value: Json) -> Iterator[str]:
    """Yield every string, in order.

    >>> list(texts_in({"a": ["x", {"b": "y"}], "c": 3}))
    ['x', 'y']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def words_in(value: Json) -> Iterator[str]:
    """Yield every string and every key of objects.

    >>> list(words_in({"a": ["x", {"b": "y"}]}))
    ['a', 'x', 'b', 'y']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from words_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from words_in(item)


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
