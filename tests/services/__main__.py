"""Start Kafka, PostgreSQL and Redis and print the settings that point at them; Ctrl-C stops them."""

import signal
import sys

from tests.services.kafka import KafkaServer
from tests.services.postgres import PostgresServer
from tests.services.process import ServiceError
from tests.services.redis import RedisServer


def main() -> int:
    """Run until SIGINT or SIGTERM; returns 1 if a server does not start."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kafka, postgres, redis = KafkaServer(), PostgresServer(), RedisServer()
    try:
        for server in (kafka, postgres, redis):
            server.start()
        for name, value in (("KAFKA", kafka.address), ("DATABASE", postgres.fresh_database()), ("REDIS", redis.url)):
            print(f"export RIDECAST_{name}={value}", flush=True)
        print("# running; Ctrl-C stops them and removes their data", flush=True)
        signal.pause()
    except ServiceError as cause:
        print(cause, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        for server in (kafka, postgres, redis):
            server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
