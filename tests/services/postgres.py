"""PostgreSQL for the tests: Debian's server with fsync as in production, one fresh database for each test."""

import itertools
import pwd
import shutil
import signal
import subprocess

import pg8000.dbapi

from tests.services.process import Server, ServiceError, dies_with_us, is_root, listening, program

USER = "ridecast"
INSTALL = "apt-get install postgresql"
FOLDERS = ("usr/lib/postgresql/*/bin", "usr/local/pgsql/bin", "opt/homebrew/opt/postgresql*/bin")


class PostgresServer(Server):
    """One cluster; runs as an unprivileged user when the tests are root, because PostgreSQL refuses root."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends open connections instead of waiting for them

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)

    def prepare(self) -> None:
        """Create an empty cluster that trusts loopback."""
        initdb = program("initdb", INSTALL, *FOLDERS)
        if is_root():
            shutil.chown(self.directory, unprivileged_user())
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        words = [initdb, "--pgdata", str(self.directory / "data"), *options]
        done = subprocess.run([*self._as_user(), *words], capture_output=True, text=True, cwd=self.directory, check=False)
        if done.returncode:
            raise ServiceError(f"initdb failed with status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")

    def command(self) -> list[str]:
        """Loopback only, no Unix socket, small buffers."""
        options = (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            "shared_buffers=32MB",
            "max_connections=60",
        )
        words = [word for option in options for word in ("-c", option)]
        return [*self._as_user(), program("postgres", INSTALL, *FOLDERS), "-D", str(self.directory / "data"), *words]

    def ready(self) -> bool:
        """Whether it accepts a connection: it listens before it has recovered."""
        if not listening(self.port):
            return False
        try:
            self.execute("SELECT 1")
        except (pg8000.dbapi.Error, OSError):
            return False
        return True

    def fresh_database(self) -> str:
        """Create an empty database; returns its URL for the setting `database`."""
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql+pg8000://{USER}@{self.address}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database and its open connections."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        connection = pg8000.dbapi.connect(USER, host="127.0.0.1", port=self.port, database=database, timeout=30)
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def _as_user(self) -> list[str]:
        return dies_with_us(unprivileged_user()) if is_root() else []


def unprivileged_user() -> str:
    """The user for PostgreSQL if the tests run as root: postgres if the package created it, else nobody."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise ServiceError("postgres refuses to run as root and there is no user postgres or nobody: apt-get install postgresql")
