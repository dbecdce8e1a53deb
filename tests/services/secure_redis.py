"""Redis for strangers: TLS, and a user with few rights (ACL)."""

from tests.services.certificates import Authority
from tests.services.process import listening
from tests.services.redis import RedisServer

USER, PASSWORD = "store", "r:e/d@is?pa=ss%41word"
READER, READER_PASSWORD = "reader", "only-to-read"
READING = "+ping +hello +hmget +hgetall"

# Passwords and rights belong into the file: the command line can be read by every user of the machine.
CONFIGURATION = """
port 0
tls-port {port}
bind 127.0.0.1
tls-cert-file {certificate}
tls-key-file {key}
tls-ca-cert-file {authority}
tls-auth-clients no
save ""
appendonly no
dir {directory}
user default off
user {user} on >{password} resetkeys ~ridecast:* resetchannels -@all {reading} +hset +del +evalsha +script|load
user {reader} on >{reader_password} resetkeys %R~ridecast:* resetchannels -@all {reading}
"""


class SecureRedisServer(RedisServer):
    """One Redis that speaks TLS only."""

    name = "secure-redis"

    def prepare(self) -> None:
        """Create certificates and the configuration."""
        self.authority = Authority(self.directory / "certificates")
        signed = self.authority.sign("server")
        text = CONFIGURATION.format(
            port=self.port,
            certificate=signed.certificate,
            key=signed.key,
            authority=self.authority.certificate,
            directory=self.directory,
            user=USER,
            password=PASSWORD,
            reader=READER,
            reader_password=READER_PASSWORD,
            reading=READING,
        )
        (self.directory / "redis.conf").write_text(text, "utf-8")

    def command(self) -> list[str]:
        """The server with its configuration file."""
        return [super().command()[0], str(self.directory / "redis.conf")]

    def ready(self) -> bool:
        """Whether it accepts connections: it asks for TLS first."""
        return listening(self.port)
