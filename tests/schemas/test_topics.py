"""The table of topics agrees with the schemas, with what is written to them, and with what people read."""

import re
from importlib import resources

import pytest

from schemas.encoding.avro_files import head
from schemas.errors import UsageError
from schemas.events.rides import Reason, Rejected
from schemas.forecasts.messages import Cursor, encode_cursor, encode_reject
from schemas.topics import CURSORS, FORECASTS, REJECTED, RIDES, TOPICS, topic_named
from tests.forecast_samples import sample_messages
from tests.tree import ROOT, files, text_of

NAME = re.compile(r"`((?:rides|demand|ridecast)\.(?:raw|rejected|forecasts|cursors|[a-z]+s))`")
MODULES = {"ridecast.commands"}


def test_every_topic_that_people_read_of_is_in_the_table() -> None:
    """README and docs name no topic that there is not, and name the three that others meet."""
    pages = [path for path in files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]
    named = {name for path in pages for name in NAME.findall(text_of(path))} - MODULES
    assert named <= set(TOPICS)
    assert {"demand.forecasts", "rides.raw"} <= named
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(name in readme for name in ("rides.raw", "rides.rejected", "demand.forecasts"))


def test_the_readme_keys_and_reads_forecasts_as_the_table_says() -> None:
    """Key and schema file in the README's ten lines are those of the table."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"key `{FORECASTS.key}`" in readme
    assert f"schemas/avro/{FORECASTS.schema}.avsc" in readme


@pytest.mark.parametrize("name", sorted(TOPICS))
def test_each_row_names_a_released_schema(name: str) -> None:
    """The schema of a topic is a file that we ship, and its row is found by its name."""
    topic = topic_named(name)
    assert name == topic.name
    assert (resources.files("schemas") / "avro" / f"{topic.schema}.avsc").is_file()
    assert topic.partitions >= 1
    assert re.fullmatch(r"[a-z]+\.[a-z]+", name)


def test_what_is_written_has_the_schema_and_key_of_its_row() -> None:
    """Values begin with the head of the topic's schema, and keys have the form that the table says."""
    key, value = encode_reject(Rejected(2, 41, 5, Reason.BAD_ID, b"", "", '{"topic_id":"a"}'))
    assert (b"4630736d5405c50b/2/41", True) == (key, value is not None and value.startswith(head(REJECTED.schema)))
    key, message = sample_messages(3)[0]
    assert re.fullmatch(rb"[a-z]+/[0-9a-z]+", key)
    assert message is not None
    assert message.startswith(head(FORECASTS.schema))
    assert encode_cursor("region/nyc", Cursor(4, bytes(32), "id")).startswith(head(CURSORS.schema))


def test_each_instance_has_its_own_outputs_and_the_same_rides() -> None:
    """Instances never share what they write; the rides are everybody's; `local` needs no mark."""
    for topic in TOPICS.values():
        assert topic.name == topic.name_of("local")
        names = {topic.name_of(instance) for instance in ("local", "staging", "other")}
        assert (1 if topic is RIDES else 3) == len(names)


def test_rides_are_kept_and_personal_data_is_not() -> None:
    """The ledger proves numbers as long as their rides are held; rejects may name a person and go after a week."""
    assert "-1" == dict(RIDES.config)["retention.ms"]
    assert str(7 * 24 * 3600 * 1000) == dict(REJECTED.config)["retention.ms"]
    assert "compact" == dict(CURSORS.config)["cleanup.policy"]
    assert "CreateTime" == dict(RIDES.config)["message.timestamp.type"]


def test_an_unknown_topic_is_refused() -> None:
    """The message lists what there is."""
    with pytest.raises(UsageError, match=r"topic: expected one of rides.raw, rides.rejected, demand.forecasts, ridecast.cursors, got 'x'"):
        topic_named("x")
