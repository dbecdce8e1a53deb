"""Rows of the table of faults: clocks and events, stores of another ledger, access, and too many clients."""

from tests.faults.row import Row

EVENTS, STORES, STRANGERS = "Clocks and events", "Stores of another ledger", "Access, and too many clients"
SECURED = "tests/dataflows/connectors/kafka/test_secured.py::"
UNUSABLE = "tests/ridecast/commands/test_unusable_events.py::test_a_run_over_unusable_events_fails_and_says_why"
NOTHING_READ = "nothing is read or written before access is granted"

ROWS = (
    # --- clocks and events ------------------------------------------------------------------------
    Row(
        EVENTS,
        "events hours, days and decades ahead, with the stamps of their producers, and kills",
        "no slot closes early; each ride is in its slot",
        "",
        ("tests/faults/test_strays_on_a_broker.py::test_strays_on_a_broker_close_nothing",),
        apart="the events are counted as too far ahead in the record of each slot, which the test checks",
    ),
    *(
        Row(
            EVENTS,
            f"all events {what}",
            "a bounded run fails; each event is accounted for, and the rejected ones are stored",
            told,
            (f"{UNUSABLE}[{name}]",),
        )
        for what, name, told in (
            ("are JSON", "json", "360 rejected (360 undecodable); for example partition 0, offset 179"),
            ("have the frame of a schema registry", "framed", "looks like Confluent framing (magic 0, schema id 7)"),
            ("have times in seconds", "seconds", "timestamps look like seconds"),
            ("have a misspelt region", "misspelt", "360 of 360 events are of other regions and not counted"),
        )
    ),
    Row(
        EVENTS,
        "no event arrives for an hour",
        "forecasts are stale, readiness is 503, health stays ok; the numbers stay those of the last slot",
        "no slot closed for more than 12 slot lengths in nyc",
        ("tests/api/test_freshness.py::test_a_silent_stream_is_told_everywhere",),
    ),
    # --- stores of another ledger -----------------------------------------------------------------
    Row(
        STORES,
        "a second home signs the database of another one",
        "refused before it counts a ride; with a database of its own it records the same",
        "set RIDECAST_DATABASE of this home to another",
        ("tests/faults/test_foreign_stores.py::test_two_homes_on_one_database",),
    ),
    Row(
        STORES,
        "a copy of a home forecasts while the original does",
        "refused, naming the other process; afterwards it goes on",
        "region small: another process already forecasts it",
        ("tests/faults/test_foreign_stores.py::test_one_key_in_two_running_homes",),
    ),
    Row(
        STORES,
        "a new home on a Redis that an older one filled",
        "what the older one stored is replaced by the new one's newest issue",
        " of another ledger; replaced by entry ",
        ("tests/faults/test_foreign_stores.py::test_a_new_home_on_an_older_home_s_redis",),
    ),
    Row(
        STORES,
        "a new home publishes to the topics of an older one",
        "refused, and nothing is published; under another instance it is",
        "another ledger has published there",
        ("tests/faults/test_foreign_stores.py::test_a_new_home_on_an_older_home_s_topics",),
    ),
    Row(
        STORES,
        "the API of a new home on a Redis that an older one filled",
        "serves its own forecasts from the ledger, never an index that its log does not have",
        "filled from another ledger",
        ("tests/faults/test_api_stores.py::test_redis_that_another_home_filled",),
    ),
    # --- strangers --------------------------------------------------------------------------------
    Row(
        STRANGERS,
        "a right is missing on the broker: to read rides, publish, commit, or store rejects",
        "the step fails at once with user, operation and resource; granted, everything goes through once",
        "grant the user ",
        (f"{SECURED}test_a_missing_right_is_named",),
    ),
    Row(
        STRANGERS,
        "wrong password for the broker",
        "a permanent error with the client's own cause, without the password",
        "last cause: SASL authentication error: Authentication failed",
        (f"{SECURED}test_a_wrong_password_is_said",),
        kept=False,
        apart=NOTHING_READ,
    ),
    Row(
        STRANGERS,
        "the broker's certificate is of another authority",
        "an error that names the property to look at",
        "certificate verify failed",
        (f"{SECURED}test_a_wrong_authority_is_said",),
        kept=False,
        apart=NOTHING_READ,
    ),
    Row(
        STRANGERS,
        "wrong password for a PostgreSQL with TLS",
        "an error with the server's own words, without the password",
        "password authentication failed",
        ("tests/ledger/store/test_tls.py::test_a_wrong_password_is_said_without_it",),
        kept=False,
        apart=NOTHING_READ,
    ),
    Row(
        STRANGERS,
        "rights are missing in PostgreSQL",
        "an error that names the table; granted, the same append goes through once",
        "permission denied for table entries",
        ("tests/ledger/store/test_tls.py::test_the_rights_that_a_user_needs",),
    ),
    Row(
        STRANGERS,
        "wrong password, authority or no TLS for a Redis with TLS",
        "an error with the cause, without the password",
        "invalid username-password pair",
        ("tests/ledger/views/online/test_redis_secured.py::test_what_keeps_a_client_out_is_said",),
        kept=False,
        apart=NOTHING_READ,
    ),
    Row(
        STRANGERS,
        "2,000 slow connections and sixty requests that hang in a suspended database",
        "health within 50 ms, forecasts served, memory and log bounded",
        "ledger does not answer",
        ("tests/faults/test_api_flood.py::test_two_thousand_slow_connections",),
        ci=False,
    ),
    Row(
        STRANGERS,
        "the API process has no free descriptors",
        "connections that are open are answered; new ones again when there is room",
        "socket.accept() out of system resource",
        ("tests/faults/test_api_flood.py::test_accept_errors_do_not_fill_the_log",),
    ),
)
