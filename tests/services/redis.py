"""Redis for the tests: Debian's redis-server, without persistence."""

import socket

from tests.services.process import Server, program


class RedisServer(Server):
    """One Redis; a restart loses everything, as a cache may."""

    name = "redis"
    start_limit_s = 15.0

    def command(self) -> list[str]:
        """Loopback only, no snapshots, no append-only file."""
        redis = program("redis-server", "apt-get install redis-server")
        return [redis, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.directory)]

    def ready(self) -> bool:
        """Whether it answers PING."""
        return self.ask(b"PING") == b"+PONG\r\n"

    def flush(self) -> None:
        """Delete every key, and wait for it."""
        if (answer := self.ask(b"FLUSHALL SYNC")) != b"+OK\r\n":
            raise OSError(f"redis: expected +OK to FLUSHALL, got {answer!r}")

    @property
    def url(self) -> str:
        """URL for the setting `redis`."""
        return f"redis://{self.address}/0"

    def ask(self, words: bytes) -> bytes:
        """The raw answer to one short command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(words + b"\r\n")
            return connection.recv(256)
