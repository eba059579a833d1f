"""Leases of delivered messages: :mod:`.lease_renewal` renews ours, :mod:`.maintenance` reclaims expired ones."""

from collections.abc import Callable

#: Called from any thread with the kind and number of leases: ``renewed``, ``lost``, ``taken_over`` from dead consumers.
LEASE_OBSERVERS: list[Callable[[str, int], object]] = []


def count_leases(kind: str, number: int) -> None:
    for observer in LEASE_OBSERVERS if number else ():
        observer(kind, number)
