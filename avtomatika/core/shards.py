"""Shards: the groups of keys that one installation spreads over a cluster.

The keys of a shard begin with a hash tag of its own, so they are in one slot. The id of a job names its shard, which
has all data of the job. The first one is the home shard: it also has the data of the whole installation, such as
schedules.
"""

from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import count

from .names import key_prefix

#: Number of slots of a cluster, and the largest distance of a shard's slot from its place in an even spread.
_SLOTS, _TOLERANCE = 16_384, 8
MAX_SHARDS = 256


def shard_names(group: str, number: int) -> tuple[str, ...]:
    """Return the names of the shards of *group*, the first parts of the ids of their jobs.

    >>> shard_names("g0", 3)
    ('g0', 'g0_1', 'g0_2')
    """
    return (group, *(f"{group}_{place}" for place in range(1, number)))


@lru_cache
def shard_prefixes(group: str, number: int) -> tuple[str, ...]:
    """Return the prefixes of the keys of the shards of *group*.

    Their slots are spread evenly for every *number*; more shards change nothing for those before.

    >>> shard_prefixes("g0", 2)
    ('{avt.g0}:', '{avt.g0_1.d5}:')
    """
    home, *others = shard_names(group, number)
    first = _slot(f"avt.{home}")
    return key_prefix(home), *(_prefix(name, first, place) for place, name in enumerate(others, start=1))


def shard_of(job_id: str, names: Mapping[str, object] | Sequence[str], group: str) -> str:
    """Return the one of *names*, those of the shards of *group*, that the id of a job or task begins with; else
    *group*: no shard has such a job.

    >>> shard_of("g0_1-01ARZ3NDEKTSV4RRFFQ69G5FAV-2", ["g0", "g0_1"], "g0")
    'g0_1'
    """
    name = job_id[: job_id.find("-", len(group))]
    return name if name in names else group


def shard_name(prefix: str) -> str:
    """Return the name of the shard whose keys start with *prefix*."""
    return prefix.partition(".")[2].rpartition("}")[0].partition(".")[0]


def prefix_of(job_id: str, prefixes: tuple[str, ...]) -> str:
    """Return the one of *prefixes*, those of all shards, of the keys of a job or task.

    >>> prefix_of("g0_1-01ARZ3NDEKTSV4RRFFQ69G5FAV", shard_prefixes("g0", 2))
    '{avt.g0_1.d5}:'
    """
    if len(prefixes) == 1:
        return prefixes[0]
    by_name = _by_name(prefixes)
    return by_name[shard_of(job_id, by_name, shard_name(prefixes[0]))]


@lru_cache
def _by_name(prefixes: tuple[str, ...]) -> dict[str, str]:
    return {shard_name(prefix): prefix for prefix in prefixes}


def choose_shard(text: str, names: Sequence[str]) -> str:
    """Return the shard for what *text* identifies. More shards change the choice only to one of the new ones."""
    return max(names, key=lambda name: blake2b(f"{name}\0{text}".encode(), digest_size=8).digest())


def _prefix(name: str, first: int, place: int) -> str:
    wanted = (first + _van_der_corput(place)) % _SLOTS
    for number in count():
        prefix = key_prefix(f"{name}.{number:x}")
        if abs(_slot(prefix[1:-2]) - wanted) <= _TOLERANCE:
            return prefix
    raise AssertionError


def _van_der_corput(place: int) -> int:
    """Return the slot of *place* in a sequence that fills the gaps evenly: 0, 1/2, 1/4, 3/4, 1/8 ... of all slots."""
    bits = _SLOTS.bit_length() - 1
    return int(f"{place:0{bits}b}"[::-1], 2)


def _slot(tag: str) -> int:
    """Return the slot of keys with the hash tag *tag*.

    https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
    """
    return crc_hqx(tag.encode(), 0) % _SLOTS
