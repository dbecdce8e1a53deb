"""Addresses of servers, taken apart once: user, password, host and query, and what of them may be shown.

In a user name and password, special characters may be written as they are or percent-encoded: everything between the
scheme and the last `@` is the user and the password. After the host an `@` must be percent-encoded, so that there is one
way to read an address.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from schemas.errors import ConfigError
from schemas.secrets import MASK

# Query parameters whose values are shown; any other may be a secret.
SHOWN = frozenset(
    (
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "connect_timeout"),  # PostgreSQL
        *("db", "protocol", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"),  # Redis
        *("socket_timeout", "socket_connect_timeout", "health_check_interval", "max_connections"),
    )
)
ENCODE = "write special characters in user, password and query percent-encoded: / as %2F, ? as %3F, @ as %40"

# What begins with a slash has no user: a file, or a socket.
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<userinfo>(?!/).*)@)?(?P<rest>[^@]*|/.*)", re.DOTALL)
_REST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]*\]|[^/?#:\[\]]*)(?::(?P<port>[0-9]{0,5}))?(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]+)?")  # a word, or HOST:PORT
_LOOKS_LIKE_QUERY = re.compile(r"[?&][A-Za-z_][A-Za-z0-9_.-]*=")


@dataclass(frozen=True, slots=True)
class Address:
    """An address, decoded.

    Attributes:
        scheme: Before `://`.
        user: None without one.
        password: None without one.
        host: Without brackets; empty for a local file or socket.
        port: None without one.
        path: With its leading slash, as it was written; empty without one.
        query: Names and values, in order.
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None
    path: str
    query: tuple[tuple[str, str], ...]

    def url(self) -> str:
        """The address with user, password and query percent-encoded: every library reads it the same way.

        >>> parse_address("redis://me:a/b@c@db:1/0").url()
        'redis://me:a%2Fb%40c@db:1/0'
        """
        return self._text(encoded=True)

    def masked(self) -> str:
        """The address for display.

        >>> parse_address("postgresql://me:a/b@db/x?sslmode=require&sslpassword=c").masked()
        'postgresql://me:***@db/x?sslmode=require&sslpassword=***'
        """
        return self._text(encoded=False)

    def secrets(self) -> Iterator[str]:
        """Values that must not be shown."""
        if self.password:
            yield self.password
            yield b64encode(f"{self.user or ''}:{self.password}".encode()).decode()  # as HTTP sends both
        elif self.user and self._user_is_secret():
            yield self.user
        yield from (value for name, value in self.query if name not in SHOWN and value)

    def public(self) -> Iterator[str]:
        """Words that are shown although a secret may equal one of them."""
        if self.user and not self._user_is_secret():
            yield self.user
        yield from (self.host, *self.path.split("/"), *(value for name, value in self.query if name in SHOWN))

    def _user_is_secret(self) -> bool:
        return self.password is None and self.scheme.startswith("http")  # an access token

    def _text(self, *, encoded: bool) -> str:
        user = "" if self.user is None else quote(self.user, safe="") if encoded else self.user
        if not encoded and self._user_is_secret():
            user = MASK
        password = "" if self.password is None else f":{quote(self.password, safe='')}" if encoded else f":{MASK}"
        userinfo = f"{user}{password}@" if self.user is not None else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        pairs = (
            f"{name}={quote(value, safe='/') if encoded else value if name in SHOWN else MASK}"  # a path stays readable
            for name, value in self.query
        )
        query = "?" + "&".join(pairs) if self.query else ""
        return f"{self.scheme}://{userinfo}{host}{port}{self.path}{query}"


def parse_address(text: str, *, where: str = "address") -> Address:
    """Take an address apart.

    Raises:
        ConfigError: it can be read in several ways, or in none; the error does not repeat it.

    >>> parse_address("postgresql://me:p%40ss@[::1]:5432/rides").password
    'p@ss'
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ConfigError(f"{where}: expected SCHEME://USER:PASSWORD@HOST:PORT/..., got a text that is no address (not shown)")
    userinfo, rest = found["userinfo"], _REST.fullmatch(found["rest"])
    if rest is None or (userinfo is not None and _LOOKS_LIKE_QUERY.search(userinfo)):
        raise ConfigError(
            f"{where}: expected {found['scheme']}://USER:PASSWORD@HOST:PORT/..., got an unclear address (not shown); {ENCODE}"
        )
    port = int(rest["port"]) if rest["port"] else None
    if port is not None and port > 65_535:
        raise ConfigError(f"{where}: expected a port up to 65,535, got {port}")
    user, colon, password = (userinfo or "").partition(":")
    return Address(
        scheme=found["scheme"],
        user=unquote(user) if userinfo is not None else None,
        password=unquote(password) if colon else None,
        host=rest["host"].strip("[]"),
        port=port,
        path=rest["path"] or "",
        query=tuple(_pairs(rest["query"] or "")),
    )


def masked(text: str) -> str:
    """A text for display: an address without its secrets, a plain word, of anything unclear at most the scheme.

    >>> masked("postgresql://ride:se@cr/et@db/ridecast?password=other")
    'postgresql://ride:***@db/ridecast?password=***'
    >>> masked("localhost:6379"), masked("me:hunter2@db")
    ('localhost:6379', '***')
    """
    if not text or _PLAIN.fullmatch(text):
        return text
    try:
        return parse_address(text).masked()
    except ConfigError:
        scheme, separator, _ = text.partition("://")
        return f"{scheme}://{MASK}" if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) else MASK


def secrets_in(text: str) -> tuple[str, ...]:
    """Everything in an address that must not be shown, decoded and as it was written; of an unclear address all of it.

    >>> secrets_in("redis://:a%2Fb@db")
    ('a/b', 'OmEvYg==', 'a%2Fb')
    """
    try:
        address = parse_address(text)
    except ConfigError:
        rest = text.partition("://")[2] or text
        return tuple(part for part in (rest, *re.split(r"[:/@?&=#]", rest)) if part)
    found = _ADDRESS.fullmatch(text)
    assert found is not None  # parsed above
    written = (found["userinfo"] or "").partition(":")[2]
    return tuple(dict.fromkeys((*address.secrets(), *([written] if written else []))))


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for piece in query.split("&"):
        name, _, value = piece.partition("=")
        if piece:
            yield unquote(name), unquote(value)
