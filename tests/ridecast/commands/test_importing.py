"""`ridecast import`: what lands in the directory or topic, what is said, and how it refuses."""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # there, but not in its __all__

from dataflows.connectors.files.ridelog import RideLogReader, partitions
from dataflows.connectors.kafka.rides import KafkaRides
from ridecast.main import cli
from schemas.errors import RidecastError, StoreUnavailable, UsageError
from schemas.events.codec import Decoder
from schemas.events.rides import RawBatch
from tests.services.process import free_port

ROWS = [f"2014-04-01 00:{minute:02d},40.7{minute:02d},-74.0" for minute in range(50)]
TEXT = "time,lat,lon\n" + "\n".join([*ROWS, ROWS[3]]) + "\n"


@pytest.fixture
def trips(tmp_path: Path) -> Path:
    """A file of 51 trips, one of them an exact repeat."""
    path = tmp_path / "trips.csv"
    path.write_text(TEXT, "utf-8")
    return path


def run(*words: object) -> Result:
    """`ridecast import` with these words; errors are raised as they are."""
    return CliRunner().invoke(cli, ["import", *map(str, words), "--region", "nyc"], catch_exceptions=False, standalone_mode=False)


def rides(directory: Path) -> dict[int, RawBatch | None]:
    """Everything in a log, by partition."""
    return {partition: RideLogReader(directory, partition).read(0, 1_000) for partition in partitions(directory)}


def bytes_of(directory: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_trips_become_ride_events(tmp_path: Path, trips: Path) -> None:
    """Every row is one accepted ride in one of four partitions, in time order, and the counts are printed."""
    result = run(trips, "--out", tmp_path / "rides")
    found = rides(tmp_path / "rides")
    assert list(found) == [0, 1, 2, 3]
    ids = []
    for raw in found.values():
        assert raw is not None
        batch, undecodable = Decoder(("nyc",)).decode(raw)
        assert undecodable == []
        assert set(batch.region.tolist()) == {0}
        assert batch.logged_at_us.tolist() == batch.occurred_at_us.tolist() == sorted(batch.occurred_at_us.tolist())
        ids += batch.event_hash.tolist()
    assert len(set(ids)) == 51
    words = [line.rsplit(maxsplit=1) for line in result.stdout.splitlines() if line[-1:].isdigit()]
    said = {label.strip(): int(count.replace(",", "")) for label, count in words}
    assert said == {"rows read": 51, "rides": 51, "equal to an earlier row": 1, "events written": 51, "delivered twice": 0}
    assert "from 2014-04-01 04:00:00 to 2014-04-01 04:49:00 UTC" in result.stdout


def test_same_import_is_done_once(tmp_path: Path, trips: Path) -> None:
    """Importing the same again leaves the directory as it is, and elsewhere gives the same bytes."""
    run(trips, "--out", tmp_path / "a")
    before = bytes_of(tmp_path / "a")
    assert "already holds these rides" in run(trips, "--out", tmp_path / "a").stdout
    run(trips, "--out", tmp_path / "b")
    assert before == bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_simulated_delivery(tmp_path: Path, trips: Path) -> None:
    """With jitter and duplicates every ride is there, late and partly twice; the same seed gives the same log."""
    for name in ("a", "b"):
        result = run(trips, "--out", tmp_path / name, "--jitter-s", 120, "--duplicates", 0.2, "--seed", 1)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    values = [value for raw in rides(tmp_path / "a").values() if raw for value in raw.values]
    assert len(set(values)) == 51 < len(values)
    assert f"{len(values) - 51:,}" in result.stdout.split("delivered twice")[1]
    for raw in rides(tmp_path / "a").values():
        assert raw is not None
        assert (np.diff(raw.logged_at_us) >= 0).all()
        batch, _ = Decoder(("nyc",)).decode(raw)
        assert (batch.logged_at_us >= batch.occurred_at_us).all()


def test_rejected_rows_are_kept(tmp_path: Path, trips: Path) -> None:
    """Rows that make no event are counted by reason and kept, with their place and text, in a file."""
    trips.write_text(TEXT + "never,40.7,-74.0\n2014-04-01 01:00,400,-74.0\n2014-11-02 01:30,40.7,-74.0\n", "utf-8")
    result = run(trips, "--out", tmp_path / "rides")
    for reason in ("ambiguous_local_time", "bad_coordinates", "bad_time"):
        assert f"rejected: {reason}" in result.stdout
    with (tmp_path / "rides" / "import_rejects.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1] == ["trips.csv", "52", "bad_time", "never,40.7,-74.0"]
    assert [row[2] for row in rows] == ["reason", "bad_time", "bad_coordinates", "ambiguous_local_time"]
    run(trips, "--out", tmp_path / "again", "--rejects", tmp_path / "mine.csv")
    assert len((tmp_path / "mine.csv").read_text().splitlines()) == 4
    assert not (tmp_path / "again" / "import_rejects.csv").exists()


def test_directory_that_holds_something_else(tmp_path: Path, trips: Path) -> None:
    """A directory with other rides, or anything else, is refused and left alone; an empty one is taken."""
    (tmp_path / "empty").mkdir()
    run(trips, "--out", tmp_path / "empty")
    before = bytes_of(tmp_path / "empty")
    with pytest.raises(UsageError, match="which holds rides of another origin"):
        run(trips, "--out", tmp_path / "empty", "--seed", 5)
    assert bytes_of(tmp_path / "empty") == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"expected a new or empty directory, got .*full.*, which is not empty"):
        run(trips, "--out", tmp_path / "full")
    with pytest.raises(UsageError, match="got the file"):
        run(trips, "--out", trips)


def test_failed_import_leaves_nothing(tmp_path: Path, trips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses there is no half log, and a later import goes on as if nothing had been."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dataflows.connectors.files.writer._write_all", refuse)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            run(trips, "--out", tmp_path / "rides")
    assert [path.name for path in tmp_path.iterdir()] == ["trips.csv"]
    (tmp_path / "rides.partial").mkdir()  # of an import that was killed
    (tmp_path / "rides.partial" / "0").mkdir()
    run(trips, "--out", tmp_path / "rides")
    assert json.loads((tmp_path / "rides" / "origin.json").read_text())["region"] == "nyc"
    assert not (tmp_path / "rides.partial").exists()


def test_directory_that_cannot_be_written(trips: Path) -> None:
    """A place where nothing can be written is named."""
    with pytest.raises(StoreUnavailable, match="cannot write to"):
        run(trips, "--out", "/proc/rides")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected one of --out DIR and --kafka HOST:PORT, got neither"),
        (["--out", "a", "--kafka", "h:1"], "got both"),
        (["--kafka", "nowhere"], "--kafka: expected HOST:PORT, got 'nowhere'"),
        (["--out", "a", "--lat", "y"], "--lat: expected one of the columns"),
        (["--out", "a", "--jitter-s", "-5"], "--jitter-s: expected 0 to 86400"),
    ],
)
def test_wrong_usage(tmp_path: Path, trips: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    """Options that do not fit are refused in one line, with nothing written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        run(trips, *words)
    assert caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["trips.csv"]


def test_files_that_are_no_trips(tmp_path: Path, trips: Path) -> None:
    """A missing file, and the same content twice, are refused."""
    with pytest.raises(UsageError, match=r"gone\.csv: expected a Parquet or CSV file of trips"):
        run(tmp_path / "gone.csv", "--out", tmp_path / "rides")
    (tmp_path / "copy.csv").write_text(TEXT, "utf-8")
    with pytest.raises(UsageError, match=r"copy\.csv: expected every file once, got the same content as .*trips\.csv"):
        run(trips, tmp_path / "copy.csv", "--out", tmp_path / "rides")


def rows(lat: float, lon: float, count: int) -> list[str]:
    """Rows of trips around a place."""
    return [f"2014-04-01 01:{i % 60:02d},{lat + i / 10_000:.4f},{lon:.4f}" for i in range(count)]


@pytest.mark.parametrize(
    ("heading", "region", "hint"),
    [
        ("time,lon,lat", "nyc", "latitude and longitude look swapped: name the columns with --lat and --lon"),
        ("time,lat,lon", "tehran", "most are in nyc: use --region nyc"),
    ],
)
def test_rides_that_lie_elsewhere_are_refused(tmp_path: Path, heading: str, region: str, hint: str) -> None:
    """Swapped columns and another region's trips are a failure with a hint, and nothing is written unless one says to go on."""
    trips = tmp_path / "trips.csv"
    trips.write_text("\n".join([heading, *rows(40.7, -74.0, 97), *rows(10.0, 10.0, 3)]) + "\n", "utf-8")
    words = ["import", str(trips), "--region", region, "--out", str(tmp_path / "rides")]
    with pytest.raises(RidecastError, match=rf"^region {region}: .* got 100 of 100 outside it; {hint}; nothing was written") as caught:
        CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
    assert (1, ["trips.csv"]) == (caught.value.exit_code, [path.name for path in tmp_path.iterdir()])
    done = CliRunner().invoke(cli, [*words, "--outside-ok"], catch_exceptions=False, standalone_mode=False)
    assert f"ridecast: 100 of 100 rides (100%) are outside region {region}" in done.stderr
    assert 100 == sum(len(raw) for raw in rides(tmp_path / "rides").values() if raw)


@pytest.mark.parametrize(("outside", "warned"), [(0, False), (5, False), (6, True), (94, True)])
def test_many_places_outside_are_said(tmp_path: Path, outside: int, warned: bool) -> None:
    """Up to 5 % outside are only counted; more are said on standard error, and all are written."""
    trips = tmp_path / "trips.csv"
    trips.write_text("\n".join(["time,lat,lon", *rows(40.7, -74.0, 100 - outside), *rows(10.0, 10.0, outside)]) + "\n", "utf-8")
    done = run(trips, "--out", tmp_path / "rides")
    assert warned == (f"ridecast: {outside} of 100 rides ({outside}%) are outside region nyc" in done.stderr)
    assert [str(outside)] * bool(outside) == [line.split()[-1] for line in done.stdout.splitlines() if "outside the region" in line]


def test_region_from_a_file_or_unknown(tmp_path: Path, trips: Path) -> None:
    """A region may be a file; a name that is neither is refused."""
    city = tmp_path / "city.json"
    city.write_text(json.dumps({"id": "mine", "timezone": "UTC", "polygon": [[40, -75], [40, -73], [41, -73], [41, -75]]}))
    runner, words = CliRunner(), ["import", str(trips), "--out", str(tmp_path / "rides"), "--region"]
    result = runner.invoke(cli, [*words, str(city)], catch_exceptions=False, standalone_mode=False)
    assert "from 2014-04-01 00:00:00" in result.stdout
    with pytest.raises(UsageError, match="--region: expected one of nyc, tehran or a JSON or GeoJSON file, got 'atlantis'"):
        runner.invoke(cli, [*words, "atlantis"], catch_exceptions=False, standalone_mode=False)


def test_kafka_gets_the_same_rides(tmp_path: Path, trips: Path, kafka: str, kafka_topic: Callable[..., str]) -> None:
    """A topic gets the partitions, times and bytes that a directory gets, and keeps them for ever."""
    topic = "import-" + kafka_topic(1)  # a name that does not exist yet
    delivery = ("--jitter-s", 30, "--duplicates", 0.1, "--seed", 3)
    run(trips, "--out", tmp_path / "rides", *delivery)
    run(trips, "--kafka", kafka, "--topic", topic, *delivery)
    source = KafkaRides(kafka, topic)
    for partition, raw in rides(tmp_path / "rides").items():
        assert raw is not None
        assert source.bounds(partition) == (0, len(raw))
        reader, times, values = source.open(partition, 0), list[int](), list[bytes]()
        give_up_at = time.monotonic() + 20
        while len(values) < len(raw):
            assert time.monotonic() < give_up_at, f"{len(values)} of {len(raw)} events"
            batch = reader.read(1_000, 0.1)
            if batch is not None:
                times += batch.logged_at_us.tolist()
                values += batch.values
        reader.close()
        assert (times, values) == (raw.logged_at_us.tolist(), raw.values)
    source.close()
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": kafka})  # an answer dies with its client
    config = admin.describe_configs([resource])[resource].result()
    assert config["retention.ms"].value == "-1"
    with pytest.raises(UsageError, match=rf"topic {topic}: expected an empty topic, got \d+ events; --append adds to them"):
        run(trips, "--kafka", kafka, "--topic", topic)
    run(trips, "--kafka", kafka, "--topic", topic, "--append")


def test_topic_of_another_shape(trips: Path, kafka: str, kafka_topic: Callable[..., str]) -> None:
    """A topic with another number of partitions would put rides elsewhere, and is refused."""
    with pytest.raises(UsageError, match="expected 4 partitions, got 2"):
        run(trips, "--kafka", kafka, "--topic", kafka_topic(2))


def test_unreachable_broker(trips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not answer is named, and is a failure, not wrong usage."""
    monkeypatch.setattr("dataflows.connectors.kafka.connection.ANSWER_S", 1.0)
    with pytest.raises(StoreUnavailable, match=r"Kafka at 127\.0\.0\.1:\d+: ") as caught:
        run(trips, "--kafka", f"127.0.0.1:{free_port()}")
    assert caught.value.exit_code == 1
