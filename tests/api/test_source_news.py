"""What happened to a region's ride log reaches the region's resource and the metrics."""

from ledger.store.recording import Recorder
from schemas.records.record_codec import encode
from schemas.records.records import PartitionsChanged, Record, SourceChanged, SourceGap
from tests.api.test_metrics import samples
from tests.api.town import Town

GAPS = [SourceGap(region="nyc", partition=1, from_offset=start, to_offset=start + 7) for start in (10, 30)]
CHANGES: list[Record] = [
    SourceChanged(region="nyc", slot=9, before='{"cluster":"c","topic_id":"a"}', after='{"cluster":"c","topic_id":"b"}'),
    PartitionsChanged(region="nyc", slot=9, added=(2, 3), removed=()),
]


def test_gaps_and_changes_are_shown_newest_first(growing_town: Town) -> None:
    """Each is one sentence with its kind and index, the newest first, and a gap's offsets are counted for its partition."""
    town = growing_town
    log = "region/nyc"
    client = town.client()
    assert [] == client.get("/v1/regions/nyc").json()["source_news"]
    records: list[Record] = [*GAPS, *CHANGES]
    head = Recorder(town.ledger, log).append(town.ledger.head(log).size, [encode(record) for record in records])
    town.close()
    news = client.get("/v1/regions/nyc").json()["source_news"]
    assert [head.size - 1, head.size - 2, head.size - 3, head.size - 4] == [row["index"] for row in news]
    assert ["PartitionsChanged", "SourceChanged", "SourceGap", "SourceGap"] == [row["kind"] for row in news]
    replaced = "the ride log cluster=c topic_id=a was replaced by cluster=c topic_id=b"
    assert [
        "region nyc: partitions of the ride log: added [2, 3], from slot 9 on; rides of earlier slots count as corrections",
        f"region nyc: {replaced}; it is read from its lowest offsets, from slot 9 on",
        "region nyc: lost offsets [30, 37) of partition 1: the ride log deleted them before they were read",
        "region nyc: lost offsets [10, 17) of partition 1: the ride log deleted them before they were read",
    ] == [row["text"] for row in news]
    found = samples(client.get("/metrics").text)
    for partition, lost in ((0, 0), (1, 14)):
        place = frozenset({("region", "nyc"), ("partition", str(partition))})
        assert lost == found["ridecast_source_lost_offsets_total", place]


def test_only_the_newest_are_kept(growing_town: Town) -> None:
    """A region whose source loses offsets again and again shows the last ten gaps, and counts all of them."""
    town, log = growing_town, "region/nyc"
    gaps = [SourceGap(region="nyc", partition=0, from_offset=10 * n, to_offset=10 * n + 1) for n in range(12)]
    Recorder(town.ledger, log).append(town.ledger.head(log).size, [encode(gap) for gap in gaps])
    town.close()
    client = town.client()
    assert 10 == len(client.get("/v1/regions/nyc").json()["source_news"])
    place = frozenset({("region", "nyc"), ("partition", "0")})
    assert 12 == samples(client.get("/metrics").text)["ridecast_source_lost_offsets_total", place]
