"""A PostgreSQL with TLS: what each `sslmode` checks, logins by password and certificate, and what is refused."""

import ssl
from contextlib import closing
from pathlib import Path
from threading import Event, Timer
from urllib.parse import quote

import pytest

from ledger.store.tables import database_engine
from ledger.store.tls import MODES, context_of, postgres_url, refused
from schemas.errors import AccessRefused, ConfigError, Fault, StoreUnavailable, fault_of
from tests.faults.seen import Seen
from tests.ledger.places import LOG, Place, scored
from tests.services.certificates import Authority
from tests.services.postgres import USER, PostgresServer
from tests.services.secure_postgres import CERTIFIED, KEY_PASSWORD, PASSWORD, STRANGER, SecurePostgresServer


@pytest.fixture
def where(postgres_secured: SecurePostgresServer) -> str:
    """HOST:PORT/NAME of an empty database of the user with a password."""
    return postgres_secured.database_of(STRANGER)


def connects(url: str) -> None:
    """Open a database, and close it."""
    database_engine(url).dispose()


def test_a_ledger_over_tls(postgres_secured: SecurePostgresServer, where: str, tmp_path: Path) -> None:
    """Entries are written, read and announced over a checked connection; the password is written as it is."""
    query = f"sslmode=verify-full&sslrootcert={postgres_secured.authority.certificate}"
    place = Place(tmp_path, f"postgresql://{STRANGER}:{PASSWORD.replace('%', '%25').replace('?', '%3F')}@{where}?{query}")
    writer, reader = place.open(), place.open()
    writer.append(LOG, 0, [scored(0)])
    with closing(reader.wakeup(LOG)) as wakeup:
        later = Timer(0.2, writer.append, (LOG, 1, [scored(1)]))
        later.start()
        assert wakeup.wait(Event(), 30.0)
        later.join()
    assert 2 == reader.head(LOG).size
    place.close()


@pytest.mark.parametrize("mode", [*MODES, ""])
def test_what_each_mode_checks(postgres_secured: SecurePostgresServer, where: str, tmp_path: Path, mode: str) -> None:
    """Without TLS the server refuses the login; `require` trusts any certificate, the others and the default only a signed one."""
    login = f"postgresql://{STRANGER}:{PASSWORD.replace('%', '%25').replace('?', '%3F')}@"
    by_name = where.replace("127.0.0.1", "localhost")  # the certificate names the address only
    right, wrong = postgres_secured.authority.certificate, Authority(tmp_path, "another").certificate
    chosen = f"sslmode={mode}&" if mode else ""
    if mode == "disable":
        with pytest.raises(StoreUnavailable, match="no encryption"):
            connects(f"{login}{where}?sslmode=disable")
        return
    if mode in ("prefer", "require"):
        connects(f"{login}{by_name}?sslmode={mode}")
    else:
        with pytest.raises(StoreUnavailable, match=r"TLS: .*certificate verify failed"):
            connects(f"{login}{where}?{chosen}application_name=x" if mode else f"{login}{where}?sslrootcert={wrong}")
    with pytest.raises(StoreUnavailable, match=r"TLS: .*certificate verify failed"):
        connects(f"{login}{where}?{chosen}sslrootcert={wrong}")
    connects(f"{login}{where}?{chosen}sslrootcert={right}")
    if mode in ("verify-full", ""):
        with pytest.raises(StoreUnavailable, match=r"TLS: .*not valid for 'localhost'|TLS: .*ostname mismatch"):
            connects(f"{login}{by_name}?{chosen}sslrootcert={right}")
    else:
        connects(f"{login}{by_name}?{chosen}sslrootcert={right}")


def test_a_login_by_certificate(postgres_secured: SecurePostgresServer) -> None:
    """A client with a certificate needs no password; its key may be encrypted."""
    client, where = postgres_secured.client, postgres_secured.database_of(CERTIFIED)
    url = f"postgresql://{CERTIFIED}@{where}?sslrootcert={postgres_secured.authority.certificate}&sslcert={client.certificate}"
    connects(f"{url}&sslkey={client.key}&sslpassword={KEY_PASSWORD}")
    with pytest.raises(ConfigError, match="sslcert, sslkey: expected a certificate and its key"):
        connects(f"{url}&sslkey={client.key}&sslpassword=wrong")
    with pytest.raises(ConfigError, match="sslcert, sslkey: expected a certificate and its key"):
        connects(f"{url}&sslkey={client.key}")


def test_a_wrong_password_is_said_without_it(postgres_secured: SecurePostgresServer, where: str, seen: Seen) -> None:
    """The server's words are in the error, the password is not."""
    with pytest.raises(StoreUnavailable, match="password authentication failed") as caught:
        connects(f"postgresql://{STRANGER}:wrong-one@{where}?sslrootcert={postgres_secured.authority.certificate}")
    assert "wrong-one" not in str(caught.value)
    seen.told(caught.value, "password authentication failed")


def test_what_no_restart_heals_is_refused_with_the_remedy(
    postgres_secured: SecurePostgresServer, postgres_server: PostgresServer, where: str, tmp_path: Path
) -> None:
    """An unknown authority, another name, and no TLS at all are permanent."""
    login = f"postgresql://{STRANGER}:{PASSWORD.replace('%', '%25').replace('?', '%3F')}@"
    right, other = postgres_secured.authority.certificate, Authority(tmp_path, "another")
    by_name = where.replace("127.0.0.1", "localhost")
    cases = {
        f"{login}{where}?sslrootcert={other.certificate}": rf"; put the certificate of the authority .* \(now {other.certificate}\)$",
        f"{login}{where}?sslmode=verify-full": r"\(now the authorities of the system\)$",
        f"{login}{by_name}?sslrootcert={right}": "; use a name or address that is in .*, or sslmode=verify-ca$",
        f"{postgres_server.fresh_database()}?sslmode=require": r"; switch it on in the server \(`ssl = on`\), or use sslmode=disable$",
    }
    for url, said in cases.items():
        with pytest.raises(AccessRefused, match=said) as caught:
            connects(url)
        assert Fault.PERMANENT is fault_of(caught.value)


def test_a_connection_that_is_cut_in_the_handshake_is_waited_for() -> None:
    """A server that goes away while TLS begins may come back; a certificate at the wrong time names the clock."""
    cut = refused(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "database a:1", {})
    assert Fault.TRANSIENT is fault_of(cut)
    expired = ssl.SSLCertVerificationError(1, "certificate has expired")
    expired.verify_code = 10
    told = refused(expired, "database a:1", {})
    assert (Fault.PERMANENT, "renew the server's certificate, or set the clock of this machine") == (fault_of(told), told.remedy)
    alert = ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA]")
    for given, named in (({}, "its version of TLS"), ({"sslcert": "me.crt"}, "the client's certificate me.crt")):
        told = refused(alert, "database a:1", given)
        assert (Fault.PERMANENT, True) == (fault_of(told), named in told.remedy)


def test_a_server_without_tls_is_said(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A server that offers no encryption is never used without it."""
    with pytest.raises(StoreUnavailable, match="TLS: expected a server that offers it"):
        connects(f"{postgres_url}?sslmode=require")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmode=allow", "sslmode: expected one of disable, prefer, require, verify-ca, verify-full, got 'allow'"),
        ("sslmod=require", "expected the parameters sslmode, .*, got sslmod"),
        ("sslrootcert=/none.pem", "sslrootcert: expected a file of certificates, got '/none.pem'"),
    ],
)
def test_what_would_not_protect_is_refused(query: str, said: str) -> None:
    """Modes that fall back to no encryption, misspelled parameters and missing files are errors of usage."""
    with pytest.raises(ConfigError, match=said):
        context_of(dict(postgres_url(f"postgresql://me:secret@127.0.0.1:1/x?{query}").query))


def test_the_rights_that_a_user_needs(postgres_secured: SecurePostgresServer, tmp_path: Path, seen: Seen) -> None:
    """Where the tables exist, rights on them are enough to write and read; a missing one is named with its table."""
    name = postgres_secured.database_of(USER).rpartition("/")[2]
    connects(f"postgresql://{USER}@{postgres_secured.address}/{name}")
    rights = f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {STRANGER}"
    postgres_secured.execute(rights, name)
    login = f"postgresql://{STRANGER}:{quote(PASSWORD, safe='')}@{postgres_secured.address}/{name}"
    place = Place(tmp_path, f"{login}?sslrootcert={postgres_secured.authority.certificate}")
    with pytest.raises(StoreUnavailable, match="permission denied for sequence logs_id_seq"):
        place.open().append(LOG, 0, [scored(0)])
    postgres_secured.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {STRANGER}", name)
    place.open().append(LOG, 0, [scored(0)])
    assert 1 == place.open().head(LOG).size
    postgres_secured.execute(f"REVOKE INSERT ON entries FROM {STRANGER}", name)
    with pytest.raises(StoreUnavailable, match="permission denied for table entries") as caught:
        place.open().append(LOG, 1, [scored(1)])
    seen.told(caught.value, "permission denied for table entries")
    postgres_secured.execute(f"GRANT INSERT ON entries TO {STRANGER}", name)
    place.open().append(LOG, 1, [scored(1)])
    seen.same([scored(0), scored(1)], [stored.payload for stored in place.open().read(LOG, 0)], "entries")
    place.abandon()
