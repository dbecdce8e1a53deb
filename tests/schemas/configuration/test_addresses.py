"""Addresses are taken apart in one way, and what may be secret in them is never shown."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given, strategies as st

from schemas.configuration.addresses import masked, parse_address, secrets_in
from schemas.errors import ConfigError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXTS, TEXTS)
def test_an_encoded_address_is_read_as_it_was_written(user: str, password: str) -> None:
    """Whatever user and password hold, the encoded address gives both back, in a second reading too."""
    text = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@[::1]:6379/0?ssl_ca_certs=/a%20b&x=%26"
    address = parse_address(text)
    assert (user, password, "::1", 6379, "/0") == (address.user, address.password, address.host, address.port, address.path)
    assert (("ssl_ca_certs", "/a b"), ("x", "&")) == address.query
    assert address == parse_address(address.url())


@pytest.mark.parametrize("password", ["a/b", "a@b", "a:b", "a?b", "a#b", "a/b@c:d?e", "/@:", "ä ö", "a+b", "100%"])
def test_a_password_may_be_written_as_it_is(password: str) -> None:
    """Special characters need no encoding where the last @ tells what is what."""
    address = parse_address(f"postgresql://me:{password}@db.example:5432/rides?sslmode=require")
    assert (password, "db.example", 5432, "/rides") == (address.password, address.host, address.port, address.path)
    assert f"postgresql://me:{quote(password, safe='')}@db.example:5432/rides?sslmode=require" == address.url()


@pytest.mark.parametrize(
    "text", ["sqlite:///mlflow.db", "sqlite:////data/me@corp/mlflow.db", "unix:///run/redis.sock?db=1", "http://h", "kafka://[::1]:1/t"]
)
def test_an_address_without_login_is_left_alone(text: str) -> None:
    """Files, sockets and hosts without a user are the same before and after, and hide nothing."""
    assert (text, text, ()) == (parse_address(text).url(), masked(text), secrets_in(text))


@given(TEXTS, TEXTS)
def test_masking_shows_no_part_of_a_password(password: str, other: str) -> None:
    """Of a password written as it is, and of an unknown parameter, nothing is left whatever they hold."""
    assume("@" not in other)
    shown = masked(f"postgresql://me:{password}@db/x?note={quote(other)}&sslmode=require")
    assert shown in ("postgresql://me:***@db/x?note=***&sslmode=require", "postgresql://***")


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://db:5432/x?user=me&password=s3@cret",  # the @ would make the secret's end the host
        "postgresql://me:s3cret@db:port/x",
        "redis://me:s3cret@h1:1,h2:2/0",
        "me:s3cret@db",
        "redis://me:s3cret@h:70000",
    ],
    ids=["an @ in the query", "a port in words", "two hosts", "no scheme", "a port too high"],
)
def test_an_unclear_address_is_refused_unseen(text: str) -> None:
    """What can be read in several ways, or in none, is refused without showing any of it."""
    with pytest.raises(ConfigError) as caught:
        parse_address(text, where="RIDECAST_X")
    assert str(caught.value).startswith("RIDECAST_X: expected ")
    for shown in (str(caught.value), masked(text)):
        assert "s3" not in shown
        assert "cret" not in shown


def test_what_is_secret_in_an_address() -> None:
    """The password as read and as written, both as HTTP sends them, unknown parameters, and a token instead of a user."""
    found = secrets_in("postgresql://me:a%2Fb%40c@db/x?sslpassword=k%20ey&sslmode=require")
    assert {"a/b@c", "a%2Fb%40c", "k ey"} < set(found)
    assert "require" not in found
    assert ("to-ken",) == secrets_in("https://to-ken@mlflow.example/x")
    assert "https://***@mlflow.example/x" == masked("https://to-ken@mlflow.example/x")
    assert "postgresql://me@db/x" == masked("postgresql://me@db/x")
