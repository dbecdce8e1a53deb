"""Keys have the text forms of other implementations, and no other text is accepted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ledger.formats.keys import Algorithm, Signer, Verifier, parse_signer, parse_verifier
from schemas.errors import ContractError, DamagedError, UsageError

names = st.text(st.characters(exclude_characters="+", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
seeds = st.binary(min_size=32, max_size=32)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(lambda line: line + "\n")


@pytest.fixture(scope="session")
def vectors(shared: Path) -> dict[str, Any]:
    """The keys and notes of golang.org/x/mod."""
    found: dict[str, Any] = json.loads((shared / "vectors" / "note" / "signed-note.json").read_text("utf-8"))
    return found


def test_key_vectors(vectors: dict[str, Any]) -> None:
    """Both keys are parsed from text or seed, and give the same text again."""
    neumann, root = vectors["sign"]
    signer = parse_signer(neumann["skey"])
    assert (neumann["skey"], neumann["vkey"]) == (signer.text(), signer.verifier.text())
    assert root["vkey"] == Signer(root["name"], bytes.fromhex(root["seed_hex"])).verifier.text()
    assert parse_verifier(root["vkey"]).text() == root["vkey"]


def test_witness_keys(shared: Path) -> None:
    """The witnesses of transparency-dev/formats have their published verifiers."""
    pairs = json.loads((shared / "vectors" / "note" / "checkpoint.json").read_text("utf-8"))["test_keys"]["witnesses"]
    assert pairs
    for public, secret in pairs:
        assert public == parse_signer(secret).verifier.text()


def test_bad_verifiers(vectors: dict[str, Any]) -> None:
    """The keys that are wrong by design, every part of a right one, and every right one with a letter raised, are refused."""
    good = vectors["sign"][0]["vkey"]
    bad = vectors["bad_vkeys"] + [good[:end] for end in range(len(good))] + [good[start:] for start in range(1, len(good))]
    bad += [good[:at] + chr(ord(good[at]) + 1) + good[at + 1 :] for at in range(len(good))]
    for text in bad:
        with pytest.raises(UsageError, match="verifier key: expected"):
            parse_verifier(text)


def test_errors_keep_the_secret() -> None:
    """No error or repr of a private key shows any part of it, whichever part was wrong."""
    text = Signer("log", bytes(range(32))).text()
    secret = text.rpartition("+")[2]
    for wrong in (text[:-1], text + "A", text.replace("log", "gol"), text.replace("KEY+log", "KEY+l g"), text.removeprefix("P")):
        with pytest.raises(UsageError) as raised:
            parse_signer(wrong)
        assert secret[:12] not in str(raised.value)
        assert raised.value.__suppress_context__
    with pytest.raises(UsageError, match="got a private key: keep it secret"):
        parse_verifier(text)
    assert "x01" not in repr(parse_signer(text))


@given(names, seeds, st.sampled_from(Algorithm))
def test_texts_round_trip(name: str, seed: bytes, algorithm: Algorithm) -> None:
    """Every key is parsed again from its text."""
    signer = Signer(name, seed, algorithm)
    assert signer == parse_signer(signer.text())
    assert signer.verifier == parse_verifier(signer.verifier.text())


@given(seeds, texts, st.integers(0, (1 << 63) - 1), st.data())
def test_signatures_match_one_text(seed: bytes, text: str, time_s: int, data: st.DataObject) -> None:
    """A signature verifies with its own text, time and kind of key, and fails with any bit changed."""
    plain = Signer("log", seed)
    timed = plain.cosigner()
    for signer, when, signature in ((plain, None, plain.signature(text)), (timed, time_s, timed.signature(text, time_s))):
        assert signer.verifier.check(text, signature) == when
        at = data.draw(st.integers(0, 8 * len(signature) - 1))
        changed = (int.from_bytes(signature, "big") ^ 1 << at).to_bytes(len(signature), "big")
        for wrong_text, wrong in ((text, changed), (text, signature[:-1]), (text, signature + b"\0"), (text + "\n", signature)):
            with pytest.raises(DamagedError, match="note: "):
                signer.verifier.check(wrong_text, wrong)
    with pytest.raises(DamagedError, match="note: "):
        plain.verifier.check(text, timed.signature(text, time_s))


def test_times_belong_to_witnesses() -> None:
    """A plain key signs no time, and a witness signs no time out of the format's range."""
    signer = Signer("log", bytes(32))
    for wrong, time_s in ((signer, 0), (signer.cosigner(), None), (signer.cosigner(), -1), (signer.cosigner(), 1 << 63)):
        with pytest.raises(ContractError, match=r"expected a time in \[0, 2\^63\) for cosignatures only"):
            wrong.signature("text\n", time_s)
    late = (1 << 63).to_bytes(8, "big") + bytes(64)
    with pytest.raises(DamagedError, match="note: expected"):
        signer.cosigner().verifier.check("text\n", late)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "\ud800", "a\x01"])
def test_names_that_are_invalid_in_notes(name: str) -> None:
    """A name with spaces, plus signs or control characters is a bug if code passes it, and a usage error if a user types it."""
    with pytest.raises(ContractError, match="key name: expected"):
        Verifier(name, bytes(32))
    with pytest.raises(UsageError, match="verifier key: expected"):
        parse_verifier(f"{name}+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")


def test_keys_have_32_bytes() -> None:
    """A key of another size is refused, and one that is not a point of the curve verifies nothing."""
    with pytest.raises(ContractError, match="expected 32 bytes, got 31"):
        Signer("log", bytes(31))
    with pytest.raises(DamagedError, match="does not match the text"):
        Verifier("log", b"\xff" * 32).check("text\n", bytes(64))


@pytest.mark.parametrize("before", [" ", "\t", "\ufeff", "x+"])
def test_a_private_key_in_other_text_is_not_shown(before: str) -> None:
    """A private key given instead of a public one is never shown in the error, whatever text precedes it."""
    signer = Signer("EnochRoot", bytes(range(32)))
    with pytest.raises(UsageError) as caught:
        parse_verifier(before + signer.text())
    assert signer.text()[-20:] not in str(caught.value)
