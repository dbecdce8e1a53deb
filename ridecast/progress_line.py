"""The progress of a run in words: one line while it runs, and a summary of each region at its end."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ledger.views.progress import ProgressWatch, RegionProgress
from ridecast.intake_report import IntakeReport
from schemas.events.tally import Totals
from schemas.regions import Region
from schemas.times import slot_end

REPLAYING_FROM = timedelta(days=3)  # a run that was stopped over a weekend still shows its lag
LOOK_EVERY_S = 0.25
RATE_EVERY_S = 2.0
BETWEEN = "  |  "  # two regions

Offsets = Mapping[int, tuple[int, int]]


def lag(behind: timedelta) -> str:
    """How far a run is behind the clock; days behind means that old rides are being replayed.

    >>> lag(timedelta(seconds=65)), lag(timedelta(days=4000))
    ('lag 65 s', 'replaying')
    """
    return f"lag {behind.total_seconds():,.0f} s" if behind < REPLAYING_FROM else "replaying"


class ProgressLine:
    """events/s, slot, lag and the live error against the baseline of each region, in one line.

    Args:
        regions: The regions that run, in the order of the watch.
        watch: Source of the figures.
        ahead: The work of a bounded run: region -> partition -> (first offset, end); else None.
        intake: What was read, also before the first slot closes.
    """

    def __init__(
        self, regions: Sequence[Region], watch: ProgressWatch, ahead: Mapping[str, Offsets] | None, intake: IntakeReport | None = None
    ) -> None:
        self._regions, self._watch, self._ahead, self._intake = list(regions), watch, ahead, intake
        self._started = time.monotonic()
        self._last = (self._started, 0)
        self._rate = 0.0
        self._looked = 0.0
        self._text = "starting ..."

    def add(self, region: Region) -> None:
        """Show one more region; call it where `text` is called."""
        self._watch.add(region.id)
        self._regions.append(region)
        if self._intake is not None:
            self._intake.add(region)

    def text(self) -> str:
        """The current line; the ledger is read at most four times a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return self._text
        self._looked = now
        found = self._watch.look()
        if self._intake is not None:
            self._intake.look()
        at, events = self._last
        if now - at >= RATE_EVERY_S:
            read = max(progress.events for progress in found)  # each region receives every event of the log
            self._rate = (read - events) / (now - at)
            self._last = (now, read)
        pairs = list(zip(self._regions, found, strict=True))
        if len(pairs) == 1:
            self._text = self._alone(*pairs[0])
        else:
            self._text = BETWEEN.join([f"{self._rate:,.0f} events/s", *(self._beside(*pair) for pair in pairs)])
        return self._text

    def _alone(self, region: Region, progress: RegionProgress) -> str:
        if progress.slot < 0:
            read = self._intake.words(region.id) if self._intake is not None else ""
            return f"{region.id}: waiting for the first slot to close" + (f"; {read}" if read else "")
        error = f"  RMSE {progress.rmse:.3f} (baseline {progress.baseline_rmse:.3f})" if progress.rmse is not None else ""
        end = slot_end(region, progress.slot)
        rate = f"{self._rate:,.0f} events/s"
        return f"{region.id}  {end:%a %Y-%m-%d %H:%M}  {self._done(progress, end)}  {rate}  {progress.cells:,} cells{error}"

    def _beside(self, region: Region, progress: RegionProgress) -> str:
        """One region of several, shorter."""
        if progress.slot < 0:
            return f"{region.id}  waiting"
        error = f"  RMSE {progress.rmse:.3f} ({progress.baseline_rmse:.3f})" if progress.rmse is not None else ""
        end = slot_end(region, progress.slot)
        return f"{region.id}  {end:%a %H:%M}  {self._done(progress, end)}{error}"

    def _done(self, progress: RegionProgress, end: datetime) -> str:
        if self._ahead is None:
            return lag(datetime.now(UTC) - end)
        return f"{progress.share(self._ahead.get(progress.region, {})):4.0%}"

    def news(self) -> list[str]:
        """What happened to the source since the last call, in sentences."""
        found: list[str] = []
        for progress in self._watch.regions:
            while progress.news:  # another thread may add to it
                found.append(progress.news.pop(0))
        return found

    def summary(self) -> str:
        """Summary of the run for its end, one line per region."""
        return "\n".join(map(self._summary, self._watch.look()))

    def _summary(self, progress: RegionProgress) -> str:
        seconds = time.monotonic() - self._started
        error = f"; RMSE {progress.rmse:.3f} (baseline {progress.baseline_rmse:.3f})" if progress.rmse is not None else ""
        lost = f"; {progress.lost:,} offsets lost before they were read" if progress.lost else ""
        read = self._intake.totals(progress.region) if self._intake is not None else Totals()
        # What was read counts, not only what is in closed slots: where everything is rejected, no slot closes.
        events, rejected = max(progress.events, read.received), max(progress.rejected, read.refused)
        return (
            f"{progress.region}: {progress.slots:,} slots closed, {events:,} events ({progress.rides:,} rides counted, "
            f"{progress.corrections:,} of them corrections, {rejected:,} rejected) in {seconds:.1f} s{error}{lost}"
        )
