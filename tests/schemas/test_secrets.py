"""Known secrets disappear from text in every form in which a library may repeat them."""

import json
from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest

import schemas.secrets
from schemas.errors import StoreUnavailable, UsageError
from schemas.secrets import clean, hide

SECRET = 'p/s:w@r d"ü\\%'


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without secrets, and forget those of the test."""
    monkeypatch.setattr(schemas.secrets, "_known", frozenset())
    monkeypatch.setattr(schemas.secrets, "_pattern", None)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="").replace("%2F", "%2f").replace("%C3%BC%5C", "%c3%bc%5c").replace("%3A", "%3a"),
        repr(SECRET),
        repr(SECRET.encode()),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        b64encode(SECRET.encode()).decode(),
        f"postgresql://me:{quote(SECRET, safe='')}@db",
    ],
)
def test_every_form_is_replaced(form: str) -> None:
    """A secret is found as it is, percent-encoded, escaped, and in base64."""
    hide(SECRET)
    cleaned = clean(f"cannot connect to {form}: refused")
    assert "***" in cleaned
    assert form not in cleaned
    assert cleaned.endswith(": refused")


def test_errors_are_clean_from_the_start() -> None:
    """The text of an error contains no secret, wherever it is printed, recorded or sent."""
    hide("hunter22")
    error = StoreUnavailable("login with hunter22 failed", remedy="use another than hunter22")
    assert "login with *** failed; use another than ***" == str(error)
    assert ("***",) == UsageError("hunter22").args


def test_the_longer_of_two_secrets_is_replaced_whole() -> None:
    """One secret may be the beginning of another."""
    hide("abcd", "abcdefgh")
    assert "*** ***" == clean("abcdefgh abcd")


def test_public_words_stay_readable() -> None:
    """A password that equals a public word, or is shorter than four characters, does not blank out other text."""
    hide("ridecast", "pw", "db.example", public=("db.example",))
    assert "ridecast at db.example: pw" == clean("ridecast at db.example: pw")


def test_each_line_of_a_key_is_a_secret() -> None:
    """A private key of several lines is hidden also where only some of its lines are printed."""
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0", "BAQEFAASCBKcwggSjAgEAAo", "-----END PRIVATE KEY-----"]
    hide("\n".join(lines))
    assert "bad key: *** and -----END PRIVATE KEY-----" == clean(f"bad key: {lines[2]} and {lines[3]}")
