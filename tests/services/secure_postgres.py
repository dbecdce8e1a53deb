"""PostgreSQL for strangers: TLS with logins by password or by certificate."""

import shutil

from tests.services.certificates import Authority, Signed
from tests.services.postgres import USER, PostgresServer, unprivileged_user
from tests.services.process import is_root

STRANGER, PASSWORD = "stranger", "p:g/p@ss?w=rd%41"
CERTIFIED, KEY_PASSWORD = "certified", "key-pa/ss"

ACCESS = f"""
host    all {USER}      127.0.0.1/32 trust
hostssl all {STRANGER}  127.0.0.1/32 scram-sha-256
hostssl all {CERTIFIED} 127.0.0.1/32 cert
"""


class SecurePostgresServer(PostgresServer):
    """One cluster; the tests as operator log in without password, others over TLS only."""

    name = "secure-postgres"

    def prepare(self) -> None:
        """Create the cluster, certificates, and who may log in how."""
        super().prepare()
        self.authority = Authority(self.directory / "certificates")
        self.signed = self.authority.sign("server")
        self.client: Signed = self.authority.sign(CERTIFIED, password=KEY_PASSWORD)
        if is_root():
            for path in (self.signed.certificate, self.signed.key, self.authority.certificate):
                shutil.chown(path, unprivileged_user())
            self.directory.chmod(0o755)
        (self.directory / "data" / "pg_hba.conf").write_text(ACCESS, "utf-8")

    def command(self) -> list[str]:
        """As the plain server, with TLS."""
        options = (
            "ssl=on",
            f"ssl_cert_file={self.signed.certificate}",
            f"ssl_key_file={self.signed.key}",
            f"ssl_ca_file={self.authority.certificate}",
        )
        return [*super().command(), *(word for option in options for word in ("-c", option))]

    def database_of(self, user: str) -> str:
        """Create an empty database that a user owns; returns HOST:PORT/NAME."""
        name = self.fresh_database().rpartition("/")[2]
        self.execute(f"ALTER DATABASE {name} OWNER TO {user}")
        return f"{self.address}/{name}"

    def create_users(self) -> None:
        """Create the users that log in over TLS."""
        self.execute(f"CREATE ROLE {STRANGER} LOGIN PASSWORD '{PASSWORD}'")
        self.execute(f"CREATE ROLE {CERTIFIED} LOGIN")
