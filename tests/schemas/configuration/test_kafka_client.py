"""Properties of the Kafka client: from a file, from variables, and which are refused."""

from pathlib import Path

import pytest

from schemas.configuration.kafka_client import OWNED, SECRET, Property
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError


def given(**variables: str) -> Settings:
    """Settings from variables, without their prefix."""
    return Settings.from_env({f"RIDECAST_{name}": value for name, value in variables.items()})


def values(properties: tuple[Property, ...]) -> dict[str, str]:
    """Properties by name."""
    return {row.name: row.value for row in properties}


def test_variables_go_before_the_file(tmp_path: Path) -> None:
    """A file has one property a line; a variable of the same name replaces it, and an empty one counts as not given."""
    path = tmp_path / "client.properties"
    path.write_text("# login\n! too\n\n security.protocol = sasl_ssl \nsasl.password=a=b#c\nclient.id=file\n")
    settings = given(KAFKA_PROPERTIES=str(path), KAFKA_CLIENT_ID="variable", KAFKA_LOG_LEVEL="7", KAFKA_SASL_USERNAME="")
    assert {"security.protocol": "sasl_ssl", "sasl.password": "a=b#c", "client.id": "variable", "log_level": "7"} == values(
        settings.kafka_client
    )
    assert f"{path}, line 4" == next(row.source for row in settings.kafka_client if row.name == "security.protocol")
    assert () == settings.unknown


def test_rides_may_come_from_another_cluster() -> None:
    """Without properties of their own rides use the shared ones; with one, none of the shared: no password goes to the wrong cluster."""
    shared = given(KAFKA_SASL_PASSWORD="of the outputs")
    assert shared.rides_client == shared.kafka_client
    both = given(KAFKA_SASL_PASSWORD="of the outputs", RIDES_KAFKA_SECURITY_PROTOCOL="ssl")
    assert ({"sasl.password": "of the outputs"}, {"security.protocol": "ssl"}) == (values(both.kafka_client), values(both.rides_client))


@pytest.mark.parametrize("name", OWNED)
def test_what_ridecast_sets_is_refused(name: str) -> None:
    """A property on which counting or publishing once depends is an error that says where it was given and why not."""
    variable = f"KAFKA_{name.replace('.', '_').upper()}"
    with pytest.raises(ConfigError, match=f"RIDECAST_{variable}: the property {name} of the Kafka client cannot be set: ") as caught:
        given(**{variable: "x"})
    assert OWNED[name] in str(caught.value)


@pytest.mark.parametrize("name", SECRET)
def test_every_secret_may_be_in_a_file(name: str, tmp_path: Path) -> None:
    """A variable with _FILE names a file; its last line break is not part of the secret, other white space is."""
    (tmp_path / "secret").write_text(" two words \r\n")
    variable = f"KAFKA_{name.replace('.', '_').upper()}"
    (row,) = given(**{f"{variable}_FILE": str(tmp_path / "secret")}).kafka_client
    assert (name, " two words ", "***") == (row.name, row.value, row.shown)
    with pytest.raises(ConfigError, match=f"RIDECAST_{variable}_FILE: expected only one of it and RIDECAST_{variable}, got both"):
        given(**{f"{variable}_FILE": str(tmp_path / "secret"), variable: "x"})


def test_a_property_whose_name_ends_with_file_is_itself() -> None:
    """Only secrets are read from files: a property that names a file keeps its value."""
    (row,) = given(KAFKA_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE="/keys/a.pem").kafka_client
    assert ("sasl.oauthbearer.assertion.private.key.file", "/keys/a.pem") == (row.name, row.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sasl.password s3cret", "line 1: expected name=value"),
        ("a=b\ns3cret", "line 2: expected name=value"),
        ("acks=1", "line 1: the property acks of the Kafka client cannot be set"),
        ("", "got an empty file"),
    ],
)
def test_a_wrong_line_is_named_unseen(tmp_path: Path, text: str, said: str) -> None:
    """The error has the file and the line, and never what stands there."""
    path = tmp_path / "client.properties"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        given(KAFKA_PROPERTIES=str(path))
    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("sasl.username", "me", "me"),
        ("sasl.password", "x", "***"),
        ("ssl.some.new.property", "x", "***"),
        ("ssl.ca.location", "/ca.pem", "/ca.pem"),
        ("linger.ms", "5", "5"),
        ("sasl.oauthbearer.token.endpoint.url", "https://me:pw@idp/token", "https://me:***@idp/token"),
    ],
)
def test_what_may_be_secret_is_masked(name: str, value: str, shown: str) -> None:
    """Of the properties for login and TLS only those are shown that cannot hold a secret."""
    assert shown == Property(name, value, "here").shown
