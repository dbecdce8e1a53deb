"""The address of PostgreSQL, and TLS as its query asks for it, with libpq's names and meanings.

| `sslmode` | encrypted | certificate checked | host name checked |
|---|---|---|---|
| `disable` | no | | |
| `prefer` (default without other ssl parameters) | if the server offers it | no | no |
| `require` | yes | only with `sslrootcert` | no |
| `verify-ca` | yes | yes | no |
| `verify-full` (default with other ssl parameters) | yes | yes | yes |

`sslrootcert` is a file of certificates to trust, otherwise the system's authorities; `sslcert`, `sslkey` and
`sslpassword` are the client's certificate, its key and the key's password.
"""

import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import pg8000
import sqlalchemy as sa

from schemas.configuration.addresses import parse_address
from schemas.errors import AccessRefused, ConfigError, StoreUnavailable, UsageError

MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
DEFAULT = "prefer"
TLS_PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword")
OTHER_PARAMETERS = ("application_name",)  # of the query; passed on to the driver
CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)  # the connection ended in the middle
OTHER_NAME = frozenset((62, 64))  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH (openssl/x509_vfy.h)
OTHER_TIME = frozenset((9, 10))  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)  # PostgreSQL's protocol, section 54.2.11


def postgres_url(text: str) -> sa.URL:
    """The address of a PostgreSQL database for SQLAlchemy, which would read some characters of a password in another way.

    Raises:
        UsageError: not the address of a PostgreSQL database, or an unknown parameter.
    """
    scheme = text.partition("://")[0] if "://" in text else ""
    if scheme not in ("postgresql", "postgres", "postgresql+pg8000"):
        raise UsageError(f"database: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, got scheme {scheme!r}")
    address = parse_address(text, where="RIDECAST_DATABASE")
    query = dict(address.query)
    check_parameters(query)
    database = unquote(address.path.removeprefix("/")) or None
    return sa.URL.create("postgresql+pg8000", address.user, address.password, address.host or None, address.port, database, query)


def check_parameters(query: Mapping[str, str]) -> None:
    """Check the query of a database's address.

    Raises:
        ConfigError: a parameter is unknown, or `sslmode` has another value.
    """
    known = (*TLS_PARAMETERS, *OTHER_PARAMETERS)
    for name in query:
        if name not in known:
            raise ConfigError(f"RIDECAST_DATABASE: expected the parameters {', '.join(known)} after the ?, got {name}")
    if query.get("sslmode", DEFAULT) not in MODES:
        raise ConfigError(f"RIDECAST_DATABASE: sslmode: expected one of {', '.join(MODES)}, got {query['sslmode']!r}")


def mode_of(parameters: Mapping[str, Any]) -> str:
    """The mode that the parameters ask for.

    >>> mode_of({}), mode_of({"sslrootcert": "ca.pem"})
    ('prefer', 'verify-full')
    """
    given = any(name in parameters for name in TLS_PARAMETERS)
    return str(parameters.get("sslmode") or ("verify-full" if given else DEFAULT))


def context_of(parameters: Mapping[str, Any]) -> ssl.SSLContext:
    """What the parameters ask for, if the connection is encrypted.

    Raises:
        ConfigError: a file of certificates or a key cannot be used.
    """
    given = {name: str(parameters[name]) for name in TLS_PARAMETERS if name in parameters}
    mode = mode_of(parameters)
    roots = given.get("sslrootcert")
    try:
        context = ssl.create_default_context(cafile=roots)
    except OSError as cause:  # ssl.SSLError is one
        raise ConfigError(f"RIDECAST_DATABASE: sslrootcert: expected a file of certificates, got {roots!r}: {cause}") from cause
    context.check_hostname = mode == "verify-full"
    if mode in ("prefer", "require") and not roots:
        context.verify_mode = ssl.CERT_NONE
    if certificate := given.get("sslcert"):
        key = given.get("sslkey") or certificate
        try:
            context.load_cert_chain(certificate, key, given.get("sslpassword", ""))  # without a password OpenSSL asks the terminal
        except OSError as cause:
            text = f"expected a certificate and its key, got {certificate!r} and {key!r}"
            raise ConfigError(f"RIDECAST_DATABASE: sslcert, sslkey: {text}: {cause}") from cause
    return context


def secured(connected: socket.socket, host: str, port: int, parameters: Mapping[str, Any]) -> tuple[socket.socket, dict[str, Any]]:
    """The connection, encrypted if the parameters ask for it, and the parameters that are left for the driver.

    The driver gets a connection that is encrypted already, so that the caller keeps the socket that it waits on.

    Raises:
        ConfigError: a file of certificates or a key cannot be used.
        AccessRefused: the server offers no TLS, its certificate is not trusted, or it does not trust ours.
        StoreUnavailable: what answers is no database.
        TimeoutError: the server does not answer within the time limit of the connection.
        ConnectionError: it has closed the connection.
    """
    left = {name: value for name, value in parameters.items() if name not in TLS_PARAMETERS}
    left["ssl_context"] = False  # else the driver asks for TLS by itself, and trusts any certificate
    mode = mode_of(parameters)
    if mode == "disable":
        return connected, left
    context = context_of(parameters)
    try:
        connected.sendall(_SSL_REQUEST)
        answer = connected.recv(1)
        if answer == b"S":
            return context.wrap_socket(connected, server_hostname=host), left
    except (TimeoutError, ConnectionError):
        raise  # The caller knows the limit, and what a lost connection means.
    except OSError as cause:
        raise refused(cause, f"database {host}:{port}", parameters) from cause
    if answer in (b"", b"E"):  # closed, or an error message: the server is starting up or shutting down
        raise ConnectionResetError("the server accepts no connections")
    if mode == "prefer" and answer == b"N":
        return connected, left
    kind = AccessRefused if answer == b"N" else StoreUnavailable
    raise kind(
        f"database {host}:{port}: TLS: expected a server that offers it, got {answer!r}",
        remedy="switch it on in the server (`ssl = on`), or use sslmode=disable",
    )


def refused(error: OSError, where: str, parameters: Mapping[str, Any]) -> StoreUnavailable:
    """An error of TLS, sorted: a certificate that is not trusted heals by no restart, a connection that was cut does."""
    text = f"{where}: TLS: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return AccessRefused(text, remedy=_certificate_remedy(error, parameters))
    if isinstance(error, ssl.SSLError) and not isinstance(error, CUT):
        given = parameters.get("sslcert")
        what = (
            f"the client's certificate {given} (sslcert)" if given else "its version of TLS, and whether it wants a certificate (sslcert)"
        )
        return AccessRefused(text, remedy=f"check what the server expects: {what}")
    return StoreUnavailable(text)


def _certificate_remedy(error: ssl.SSLCertVerificationError, parameters: Mapping[str, Any]) -> str:
    if error.verify_code in OTHER_NAME:
        return "use a name or address that is in the server's certificate, or sslmode=verify-ca"
    if error.verify_code in OTHER_TIME:
        return "renew the server's certificate, or set the clock of this machine"
    roots = parameters.get("sslrootcert")
    return (
        f"put the certificate of the authority that signed the server's into sslrootcert (now {roots or 'the authorities of the system'})"
    )


def tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS that the driver reports as one of the network; None if it is none."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def server_error(error: BaseException | None) -> pg8000.DatabaseError | None:
    """What the server said, for example that it refuses the login, when closing the connection then failed as well."""
    while error is not None:
        if isinstance(error, pg8000.DatabaseError) and error.args and isinstance(error.args[0], dict):
            return error
        error = error.__cause__ or error.__context__
    return None
