"""A Kafka cluster as a client sees it: its brokers, the properties for them, and why its last connection failed."""

import logging
import re
import time
from dataclasses import dataclass
from functools import cache

from confluent_kafka import KafkaError

from schemas.configuration.kafka_client import Property
from schemas.configuration.settings import Settings

LOG = logging.getLogger("ridecast.kafka")
# The client library logs every refused connection, several times a second, and loading coordinators as errors.
# Relevant errors are raised by calls; the library's own lines appear only at log level debug.
CLIENT_LOG = logging.getLogger("ridecast.kafka.client")
REMEMBERED_S = 120.0  # an older cause belongs to another failure; the client repeats a lasting one every 30 s

# "FAIL [rdkafka#producer-1] [thrd:sasl_ssl://h:1/bootstrap]: sasl_ssl://h:1/bootstrap: CAUSE (after 305ms in state AUTH_REQ)"
_FACILITIES = ("FAIL", "ERROR", "FATAL", "SASL", "OIDC")
_HEADS = (re.compile(r"^[A-Z]+ \[[^\]]*\] (?:\[thrd:[^\]]*\]: )?"), re.compile(r"^\S+:\d+/\w+: "))
_NOT_ADDED = re.compile(r'Failed to add partition "([^"]+)" \[\d+\] to transaction: .*authorization failed')
_TAIL = re.compile(r" \(after \d+ms in state .*\)$")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Brokers, and the client's properties for them.

    Attributes:
        bootstrap: HOST:PORT of one or more brokers, comma-separated.
        properties: Of the client, none of which Ridecast sets itself (`schemas.configuration.kafka_client.OWNED`).
    """

    bootstrap: str
    properties: tuple[Property, ...] = ()

    def __str__(self) -> str:
        return self.bootstrap

    def property(self, name: str, default: str = "") -> str:
        """The value of a property."""
        return next((row.value for row in self.properties if row.name == name), default)


Brokers = Cluster | str  # a text is a cluster without properties


def cluster_of(brokers: Brokers) -> Cluster:
    """The cluster of an address."""
    return brokers if isinstance(brokers, Cluster) else Cluster(brokers)


def output_cluster(settings: Settings) -> Cluster:
    """The cluster that forecasts and rejected events are written to."""
    return Cluster(settings.kafka, settings.kafka_client)


# The broker does not accept our credentials, or they do not allow what was asked. Nobody but its operator can change that.
REFUSED = frozenset(
    (
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.SECURITY_DISABLED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTH_DISABLED,
    )
)
# The client asks for the coordinator of a consumer's group, which no consumer joins: rights on groups are not needed.
NO_MATTER = frozenset((KafkaError.GROUP_AUTHORIZATION_FAILED,))
NO_TOKEN = "Failed to acquire SASL OAUTHBEARER token"  # the client's words: the identity provider may be down, which passes


def is_refusal(error: KafkaError) -> bool:
    """Whether a broker refuses a login or a right, which only its operator can change."""
    return error.code() in REFUSED and NO_TOKEN not in (error.str() or "")


class LastCause(logging.Filter):
    """Remembers why the last connection to a cluster failed, from the client's log and from its errors.

    A failing call says only that it took too long: the reason, such as a wrong password, is in the log alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._text, self._at_s = "", -REMEMBERED_S
        self._refused_at_s = -REMEMBERED_S
        self.refused_topic = ""  # the last one that could not be added to a transaction

    def filter(self, record: logging.LogRecord) -> bool:
        """Note a line of the client's log; it is shown at log level debug only."""
        text = record.getMessage()
        if found := _NOT_ADDED.search(text):
            self.refused_topic = found[1]
        elif text.startswith(_FACILITIES):
            self._note(text)
        return LOG.isEnabledFor(logging.DEBUG)

    def hear(self, error: KafkaError) -> None:
        """Note an error that the client reported to its callback."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            return  # follows the error that says why
        self._note(error.str() or "")
        if is_refusal(error):
            self._refused_at_s = self._at_s

    def text(self) -> str:
        """The last cause, empty if none is recent."""
        return self._text if time.monotonic() - self._at_s < REMEMBERED_S else ""

    def is_refusal(self) -> bool:
        """Whether the broker did not accept the login, not long ago."""
        return time.monotonic() - self._refused_at_s < REMEMBERED_S

    def forget(self) -> None:
        """Forget everything, after a connection succeeded."""
        self._text, self._at_s, self._refused_at_s = "", -REMEMBERED_S, -REMEMBERED_S

    def _note(self, text: str) -> None:
        cause = cause_in(text)
        # The client alternates between a cause with its explanation and the same cause without.
        self._text, self._at_s = self.text() if cause in self.text() else cause, time.monotonic()


def cause_in(line: str) -> str:
    """The cause in a line of the client's log, without the names of client, thread and broker.

    >>> cause_in("FAIL [rdkafka#producer-1] [thrd:ssl://h:1/bootstrap]: ssl://h:1/bootstrap: Refused (after 0ms in state CONNECT)")
    'Refused'
    """
    for pattern in (*_HEADS, _TAIL):
        line = pattern.sub("", line)
    return line


@cache
def last_cause(cluster: Cluster) -> LastCause:
    """The last cause of a cluster's failures; one for all its clients in this process."""
    return LastCause()


@cache
def client_log(cluster: Cluster) -> logging.Logger:
    """The logger of a cluster's clients."""
    cause = last_cause(cluster)
    logger = CLIENT_LOG.getChild(str(id(cause)))  # cached above, and so never the id of another
    logger.addFilter(cause)
    return logger
