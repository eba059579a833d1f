"""Safe file names: converts any key into a relative path that stays inside its folder.

Names that differ only in case or Unicode composition count as equal, because some file systems do not distinguish them.
"""

from collections.abc import Iterable
from hashlib import sha256
from unicodedata import category, normalize

from avtomatika.errors import InvalidInputError

#: Longest part of a path in bytes of UTF-8; with a suffix it fits into the 255 bytes of file systems.
_MAX_PART_BYTES = 200
#: Longest file extension in bytes.
_MAX_EXTENSION_BYTES = 20
#: Control characters, invisible formatting (which can reverse text) and lone surrogates.
_UNSAFE_CATEGORIES = ("Cc", "Cf", "Cs")


def safe_part(part: str) -> str:
    r"""Return a safe part of a path for *part*: without separators and special names, and short enough.

    >>> safe_part(".."), safe_part("C:\\boot\0.ini"), safe_part("Ünter den Linden.mp4")
    ('__', 'C__boot_.ini', 'Ünter den Linden.mp4')
    """
    clean = "".join("_" if _is_unsafe(character) else character for character in part)
    if not clean.strip("."):
        clean = "_" * max(len(clean), 1)
    return clean if len(clean.encode()) <= _MAX_PART_BYTES else _marked(clean, part)


def parts_of(name: str) -> list[str]:
    """Return the parts of a file *name*. Raise InvalidInputError if it could leave its folder.

    >>> parts_of("scenes/1.jpg")
    ['scenes', '1.jpg']
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise InvalidInputError(
            f"{name!r} is not a file name: it must be relative, without '..', and not end in a slash"
        )
    return parts


class UniqueNames:
    """The names in one folder: two keys never share a name, nor do a file and a folder."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def name_for(self, key: str) -> str:
        """Return a relative path for *key*, with ``/`` between its parts. Every call returns a new path.

        >>> names = UniqueNames()
        >>> [names.name_for(key) for key in ("a/b.txt", "../a/b.txt", "A/B.txt")]
        ['a/b.txt', '__/a/b.txt', 'A/B~f83b3b9e.txt']
        """
        *folders, last = key.split("/")
        path = ""
        for depth, part in enumerate(folders, start=1):
            path = _free(path, safe_part(part), "/".join(folders[:depth]), (self._files,)) + "/"
            self._folders.add(_folded(path[:-1]))
        path = _free(path, safe_part(last), key, (self._files, self._folders))
        self._files.add(_folded(path))
        return path


def _free(folder: str, name: str, key: str, taken: Iterable[set[str]]) -> str:
    """Return *name* in *folder*, with a suffix derived from *key* if the name is taken."""
    path, seed = folder + name, key
    while any(_folded(path) in each for each in taken):
        path = folder + _marked(name, seed)
        seed += "+"
    return path


def _marked(name: str, seed: str) -> str:
    """Return *name*, shortened if necessary, with a hash of *seed* before its extension."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _MAX_EXTENSION_BYTES:
        stem, dot, extension = name, "", ""
    mark = sha256(seed.encode(errors="surrogatepass")).hexdigest()[:8]
    room = _MAX_PART_BYTES - _MAX_EXTENSION_BYTES - len(mark) - 2
    return f"{stem.encode()[:room].decode(errors='ignore')}~{mark}{dot}{extension}"


def _folded(path: str) -> str:
    return normalize("NFC", normalize("NFC", path).casefold())


def _is_unsafe(character: str) -> bool:
    return character in "/\\:" or category(character) in _UNSAFE_CATEGORIES
