"""Real servers for the tests: Apache Kafka, PostgreSQL and Redis on loopback, started when first asked for.

`python -m tests.services` starts all three and prints the settings that point at them, until Ctrl-C.
"""
