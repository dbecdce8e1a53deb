"""What the documents show can be done as it stands: Python runs, commands have these options, `make` has these targets."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from dataflows.connectors.alert_receivers import signature
from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.connectors.kafka.rides import KafkaRides
from dataflows.stream.stores import open_stores
from ridecast.main import cli
from schemas.configuration.settings import Settings
from schemas.forecasts.messages import decode_demand_forecast
from tests.forecast_samples import sample_messages
from tests.tree import ROOT, files, text_of

PAGES = tuple(path for path in files() if path.suffix == ".md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z]+")  # stands for a value that the reader knows


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block in a language."""
    return [(str(page), text) for page in PAGES for found, text in BLOCK.findall(text_of(page)) if found == language]


def spans() -> list[tuple[str, str]]:
    """(page, text) of everything that stands in single backquotes."""
    return [(str(page), text) for page in PAGES for text in SPAN.findall(BLOCK.sub("", text_of(page)))]


def shell_lines() -> list[tuple[str, str]]:
    """(page, command) of every line of the shell blocks."""
    return [(page, line) for page, text in blocks("sh") for line in text.splitlines() if line.strip() and not line.startswith("#")]


LINES = [(page, line) for page, line in shell_lines() if line.startswith("ridecast ")]
MENTIONS = sorted({(page, text) for page, text in spans() if text.startswith("ridecast ") and not text.startswith("ridecast --")})


def resolved(line: str) -> tuple[click.Command, click.Context, list[str]]:
    """The command that a line names, and the words that are left for it."""
    name, *words = shlex.split(line, comments=True)
    command: click.Command = cli
    ctx = click.Context(cli, info_name=name)
    while isinstance(command, click.Group) and words:
        inner = command.get_command(ctx, words[0])
        assert inner is not None, f"{line}: there is no {words[0]}"
        command, ctx = inner, click.Context(inner, info_name=words.pop(0), parent=ctx)
    return command, ctx, words


def faults(line: str) -> Iterator[str]:
    """What click would refuse of a complete command, files aside: options, values, and what is required."""
    command, ctx, words = resolved(line)
    try:
        given, left, _ = command.make_parser(ctx).parse_args(words)
    except click.UsageError as error:
        yield error.format_message()
        return
    yield from (f"unexpected {word}" for word in left)
    for parameter in command.params:
        value = given.get(parameter.name or "")
        if value is None or value == () or (parameter.nargs == -1 and not isinstance(value, tuple)):  # click marks none by a private object
            if parameter.required:
                yield f"{parameter.name} is missing"
        elif not isinstance(parameter.type, click.Path | click.File) and not PLACEHOLDER.fullmatch(str(value)):
            try:
                parameter.type_cast_value(ctx, value)
            except click.UsageError as error:
                yield error.format_message()


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_in_a_block_is_complete(page: str, line: str) -> None:
    """Every `ridecast` line of a shell block has a command, options and values that the program takes, and all that it requires."""
    assert [] == list(faults(line)), f"{page}: {line}"


@pytest.mark.parametrize(("page", "text"), MENTIONS)
def test_a_command_in_a_sentence_exists(page: str, text: str) -> None:
    """Every command that is named in passing exists, and so do its options."""
    command, _, words = resolved(text)
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert [] == [word for word in words if word.startswith("-") and word.split("=")[0] not in known], page


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("ridecast train --hom home --promoted", "No such option"),
        ("ridecast train --home home extra", "unexpected extra"),
        ("ridecast ledger prove --home home --region nyc", "cell is missing"),
        ("ridecast run --rides rides --region nyc --home", "requires an argument"),
        ("ridecast simulate --region tehran --days many --out DIR", "not a valid"),
    ],
)
def test_a_wrong_command_is_noticed(line: str, fault: str) -> None:
    """A wrong option, a word too many, a missing value and one of the wrong type are each found."""
    assert any(fault in found for found in faults(line)), list(faults(line))


def test_there_are_commands_to_check() -> None:
    """The patterns find what the documents show."""
    assert len(LINES) >= 10
    assert len(MENTIONS) >= 15


def test_targets_of_make_exist() -> None:
    """Every `make` target that a document names is in the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = [(page, target) for page, text in [*shell_lines(), *spans()] for target in re.findall(r"\bmake ([a-z][a-z0-9-]*)", text)]
    assert len(named) > 10
    assert [(page, target) for page, target in named if target not in targets] == []


PYTHON = blocks("python")


def test_every_python_block_is_run() -> None:
    """The tests below run every Python block of the documents."""
    assert ["README.md", "docs/alerts.md", "docs/parameters.md", "docs/producing.md", "docs/producing.md"] == [page for page, _ in PYTHON]


def test_a_receiver_of_the_documents_knows_genuine_notices() -> None:
    """The check of a signature runs as it stands: it takes what a webhook sends, and no other body, secret or old time."""
    [code] = [text for page, text in PYTHON if page == "docs/alerts.md"]
    names: dict[str, Any] = {}
    exec(code, names)
    now = int(time.time())

    def genuine(body: bytes, secret: bytes = b"secret", at_s: int = now) -> bool:
        headers = {"Ridecast-Timestamp": str(at_s), "Ridecast-Signature": signature(b"secret", str(at_s), b"{}")}
        return bool(names["is_genuine"](secret, headers, body))

    assert genuine(b"{}")
    assert [False] * 3 == [genuine(b"{ }"), genuine(b"{}", b"other"), genuine(b"{}", at_s=now - 301)]


def test_the_provider_of_the_documents_evaluates_flags(tmp_path: Path) -> None:
    """The example for the OpenFeature SDK runs as it stands in a folder with a home, and an unknown flag has the caller's default."""
    [code] = [text for page, text in PYTHON if page == "docs/parameters.md"]
    open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")})).close()
    program = f"{code}\nprint(api.get_client().get_boolean_value('none', True))\napi.shutdown()\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert "True" == done.stdout.strip(), done.stderr


def validated(*words: object) -> subprocess.CompletedProcess[str]:
    """`ridecast events validate` on what an example wrote."""
    command = [sys.executable, "-m", "ridecast", "events", "validate", *map(str, words), "--region", "nyc"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_the_producer_of_the_documents_writes_valid_events(kafka: str, kafka_topic: Callable[..., str], tmp_path: Path) -> None:
    """The Kafka example runs as it stands, but for address and topic, and all that it sends is valid and counted."""
    topic = kafka_topic(2)
    [code] = [text for page, text in PYTHON if page == "docs/producing.md" and "Producer" in text]
    for wanted, other in (("127.0.0.1:9092", kafka), ("rides.raw", topic)):
        assert f'"{wanted}"' in code
        code = code.replace(f'"{wanted}"', f'"{other}"')
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    source = KafkaRides(kafka, topic)
    raw = [source.open(partition, 0).read(10, 5.0) for partition in source.partitions() if source.bounds(partition)[1]]
    (tmp_path / "hex").write_text("".join(f"{value.hex()}\n" for batch in raw if batch is not None for value in batch.values))
    source.close()
    found = validated(tmp_path / "hex", "--now")
    assert (0, "3 events: 3 valid, 0 rejected") == (found.returncode, found.stdout.splitlines()[0])


def test_the_files_of_the_documents_are_rides(tmp_path: Path) -> None:
    """The file example runs as it stands in a folder with the schemas, and its directory is read as a ride log of valid events."""
    [code] = [text for page, text in PYTHON if page == "docs/producing.md" and "makedirs" in text]
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = validated(tmp_path / "rides")
    assert (0, "3 events: 3 valid, 0 rejected") == (found.returncode, found.stdout.splitlines()[0])


def test_the_subscriber_of_the_readme_reads_forecasts(kafka: str, kafka_topic: Callable[..., str]) -> None:
    """The consumer example runs as it stands, but for address, topic and group, and prints every forecast once."""
    [code] = [text for page, text in PYTHON if page == "README.md"]
    instance = kafka_topic(0)
    for wanted, other in (("127.0.0.1:9092", kafka), ("demand.forecasts", f"{instance}.demand.forecasts"), ("pricing", instance)):
        assert f'"{wanted}"' in code
        code = code.replace(f'"{wanted}"', f'"{other}"')
    messages = sample_messages(3)
    sink = KafkaForecasts(kafka, instance, "nyc")
    sink.publish([*messages, (messages[0][0] + b"x", None)], "region/nyc", 4)  # the last one: a cell that retired
    sink.close()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = []
    for _, value in messages:
        fields = decode_demand_forecast(value or b"")
        target_us = fields["target"]
        assert isinstance(target_us, int)
        expected.append(str(fields | {"target": datetime.fromtimestamp(target_us / 1e6, UTC)}))
    assert sorted(expected) == sorted(done.stdout.splitlines())
