from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

from avtomatika.core.signing import SIGNATURE_LENGTH, GroupSecret, WorkerKey, mac_key_of

TEXT = b'{"v":1,"kind":"start","job_id":"g0-1"}'
SECRET = GroupSecret("a long and random text")
WORKER = WorkerKey(mac_key_of("token"))


@pytest.mark.parametrize("signer", [SECRET, WORKER])
def test_the_signature_is_the_last_member_and_the_rest_stays_as_it_was(signer: GroupSecret | WorkerKey) -> None:
    signed = signer.signed(TEXT)

    assert signed.startswith(TEXT[:-1] + b',"')
    assert signer.is_signed(signed)
    assert not signer.is_signed(TEXT)


@given(st.data())
def test_one_bit_changed_anywhere_is_seen(data: st.DataObject) -> None:
    signed = bytearray(SECRET.signed(TEXT))

    signed[data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    assert not SECRET.is_signed(bytes(signed))


@given(st.binary())
def test_nothing_made_up_is_signed(text: bytes) -> None:
    assert not SECRET.is_signed(text)
    assert not WORKER.is_signed(text)


def test_what_is_put_behind_the_signature_or_cut_off_is_seen() -> None:
    signed = SECRET.signed(TEXT)

    assert not SECRET.is_signed(signed[:-1] + b',"job_id":"g0-2"}')
    assert not SECRET.is_signed(signed[:-2])
    assert not SECRET.is_signed(b" " + signed)


def test_neither_a_worker_nor_another_group_can_sign_for_a_group() -> None:
    assert not SECRET.is_signed(WORKER.signed(TEXT))
    assert not SECRET.is_signed(GroupSecret("another long text").signed(TEXT))


def test_the_secret_on_its_way_out_still_opens_and_signs_nothing() -> None:
    both = GroupSecret("new", previous="old")

    assert both.is_signed(GroupSecret("old").signed(TEXT))
    assert both.is_ticket(GroupSecret("old").ticket("g0-1.1.0", 2), "g0-1.1.0", 2)
    assert both.signed(TEXT) == GroupSecret("new").signed(TEXT)


def test_a_ticket_is_good_for_one_attempt_of_one_task() -> None:
    ticket = SECRET.ticket("g0-1.1.0", 2)

    assert SECRET.is_ticket(ticket, "g0-1.1.0", 2)
    assert not SECRET.is_ticket(ticket, "g0-1.1.0", 3)
    assert not SECRET.is_ticket(ticket, "g0-1.1.1", 2)


@pytest.mark.parametrize("ticket", [None, "", 7, "none", "\u00e9", ["a"]])
def test_what_is_no_ticket_is_taken_for_none(ticket: object) -> None:
    assert not SECRET.is_ticket(ticket, "g0-1.1.0", 2)


def test_the_key_of_a_worker_is_hkdf_of_its_token() -> None:
    """RFC 5869, written out with the library's HMAC."""
    extracted = hmac.digest(bytes(32), b"token", sha256)

    assert mac_key_of("token") == hmac.digest(extracted, b"avt mac\x01", sha256).hex()
    signature = hmac.digest(bytes.fromhex(mac_key_of("token")), TEXT, sha256).hex()[:SIGNATURE_LENGTH]
    assert WORKER.signed(TEXT) == TEXT[:-1] + f',"sig":"{signature}"}}'.encode()


def test_no_secret_is_shown() -> None:
    assert "random" not in repr(SECRET) + str(SECRET)
    assert SECRET.fingerprint != GroupSecret("another long text").fingerprint
