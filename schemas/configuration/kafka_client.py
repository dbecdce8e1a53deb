"""Properties of the Kafka client, from a file and from variables: login, TLS, tuning.

Any property of librdkafka may be given, except those that Ridecast must set itself to count each ride once and to publish
each forecast once. Whether a property exists, and whether its value is valid, is checked by the client.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.configuration.addresses import masked
from schemas.errors import ConfigError
from schemas.secrets import MASK

FILE_SUFFIX = "_FILE"  # of a variable that names a file with a secret

_BROKERS = "the brokers are RIDECAST_KAFKA, and for rides the address of their source"
_POSITIONS = "positions of readers are in the ledger, never in a consumer group"
_ONCE = "each forecast is published exactly once, and no ride or rejected event is lost or repeated"
_CODE = "it loads code into this process"

# Property -> why it is refused.
OWNED: Mapping[str, str] = {
    "bootstrap.servers": _BROKERS,
    "metadata.broker.list": _BROKERS,
    "isolation.level": "rides are read committed, and the ends of partitions uncommitted",
    "enable.auto.commit": _POSITIONS,
    "auto.commit.enable": _POSITIONS,
    "auto.commit.interval.ms": _POSITIONS,
    "enable.auto.offset.store": _POSITIONS,
    "group.instance.id": _POSITIONS,
    "group.protocol": _POSITIONS,
    "auto.offset.reset": "a position that the broker no longer holds must be an error, never skipped",
    "enable.partition.eof": "it shows when a partition was read to its end",
    "transactional.id": "it is made of the instance and the region, so that a new publisher fences the previous one",
    "transaction.timeout.ms": "it bounds how long a killed publisher blocks readers",
    "enable.idempotence": _ONCE,
    "acks": _ONCE,
    "request.required.acks": _ONCE,
    "max.in.flight": _ONCE,
    "max.in.flight.requests.per.connection": _ONCE,
    "retries": _ONCE,
    "message.send.max.retries": _ONCE,
    "message.timeout.ms": "it must end before Ridecast gives up on a message",
    "delivery.timeout.ms": "it must end before Ridecast gives up on a message",
    "partitioner": "all writers of a topic must put a key into the same partition",
    "allow.auto.create.topics": "topics are created with Ridecast's settings, or by their operator",
    "plugin.library.paths": _CODE,
    "ssl.engine.location": _CODE,
}
# Environment variables cannot contain dots; these properties contain an underscore.
_WITH_UNDERSCORE = {"log.level": "log_level"}

# Secrets; a file may hold each, named by its variable with _FILE at the end.
SECRET = (
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
)
# Of the properties for login and TLS only these are shown; the values of the others may be secrets.
_SHOWN_SECURITY = frozenset(
    (
        *("sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.kerberos.service.name", "sasl.kerberos.principal"),
        *("sasl.kerberos.keytab", "sasl.oauthbearer.method", "sasl.oauthbearer.client.id", "sasl.oauthbearer.scope"),
        *("sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.assertion.private.key.file", "sasl.oauthbearer.grant.type"),
        *("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location", "ssl.crl.location"),
        *("ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list", "ssl.providers", "ssl.endpoint.identification.algorithm"),
    )
)
_NAME = re.compile(r"[a-z][a-z0-9._]*")


@dataclass(frozen=True, slots=True)
class Property:
    """A property of the client; `source` is a variable, or a file and the line in it."""

    name: str
    value: str
    source: str

    @property
    def is_secret(self) -> bool:
        """Whether the value may be a secret."""
        return self.name.startswith(("sasl.", "ssl.")) and self.name not in _SHOWN_SECURITY

    @property
    def shown(self) -> str:
        """The value for display."""
        return MASK if self.is_secret else masked(self.value) if "://" in self.value else self.value


def properties_of(environ: Mapping[str, str], prefix: str, file: str, not_properties: frozenset[str]) -> tuple[Property, ...]:
    """The properties for one cluster, by name; a variable goes before the file.

    Args:
        environ: All variables.
        prefix: Of the variables: `RIDECAST_KAFKA_` makes `RIDECAST_KAFKA_SASL_MECHANISM` the property `sasl.mechanism`.
        file: A file with a line `name=value` for each property, empty for none.
        not_properties: Variables with that prefix that are settings.
    Raises:
        ConfigError: a file cannot be read, a line is malformed, or Ridecast sets the property itself.

    >>> properties_of({"RIDECAST_KAFKA_SECURITY_PROTOCOL": "ssl"}, "RIDECAST_KAFKA_", "", frozenset())
    (Property(name='security.protocol', value='ssl', source='RIDECAST_KAFKA_SECURITY_PROTOCOL'),)
    """
    found = {row.name: row for row in (*_in_file(file), *_in_environ(environ, prefix, not_properties))}
    for row in found.values():
        if row.name in OWNED:
            raise ConfigError(
                f"{row.source}: the property {row.name} of the Kafka client cannot be set: {OWNED[row.name]}", remedy="remove it"
            )
    return tuple(sorted(found.values(), key=lambda row: row.name))


def read_secret(path: str, where: str) -> str:
    """A secret from a file, without the line break at its end.

    Raises:
        ConfigError: the file cannot be read, is not text or is empty.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as cause:
        raise ConfigError(f"{where}: cannot read {path!r}: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise ConfigError(f"{where}: expected text in UTF-8 in {path!r}, got other bytes") from cause
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"{where}: expected a secret in {path!r}, got an empty file")
    return text


def _in_file(path: str) -> Iterator[Property]:
    if not path:
        return
    lines = read_secret(path, "properties of the Kafka client").splitlines()
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith(("#", "!")):
            continue
        name, separator, value = line.partition("=")
        if not separator or not _NAME.fullmatch(name.strip()):
            raise ConfigError(
                f"{path}, line {number}: expected name=value with the name of a property, got a line (not shown) of another form"
            )
        yield Property(name.strip(), value.strip(), f"{path}, line {number}")


def _in_environ(environ: Mapping[str, str], prefix: str, not_properties: frozenset[str]) -> Iterator[Property]:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(prefix) or variable in not_properties or not text:
            continue
        name = _property_of(variable.removeprefix(prefix))
        of_file = _property_of(variable.removeprefix(prefix).removesuffix(FILE_SUFFIX))
        if variable.endswith(FILE_SUFFIX) and of_file in SECRET:
            if environ.get(variable.removesuffix(FILE_SUFFIX)):
                raise ConfigError(f"{variable}: expected only one of it and {variable.removesuffix(FILE_SUFFIX)}, got both")
            yield Property(of_file, read_secret(text, variable), variable)
        else:
            yield Property(name, text, variable)


def _property_of(words: str) -> str:
    name = words.lower().replace("_", ".")
    return _WITH_UNDERSCORE.get(name, name)
