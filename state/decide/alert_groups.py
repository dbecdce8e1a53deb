"""Which live signals belong to one cause: a partition of them that does not depend on the order in which they came.

A signal is explained by another if the table of causes says so of their kinds, the other is of the same region or of the
whole instance, and it began at most `REROOT_US` later and ended at most `LINGER_US` before. What nothing explains is a
root. Roots of the same kind, and roots that a common cause may explain that was not seen yet, are one group if they began
within `REROOT_US` of each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from state.decide.alert_causes import depth, explained_by, explanations_of

US_PER_MIN = 60_000_000
REROOT_US = 20 * US_PER_MIN  # four slots: detectors of a cause need up to three, those of its symptoms sometimes one
LINGER_US = 20 * US_PER_MIN  # symptoms in windows of an hour start late, but not later than this


@dataclass(frozen=True, slots=True)
class LiveSignal:
    """A signal as the hub holds it.

    Attributes:
        key: See `Signal.key`.
        first_us: When it was first seen to fire.
        last_us: When it was last seen to fire or to end.
        ended_us: When it ended; -1 while it fires.
        rank: The highest severity that it has had.
        clock: Whose time these are: a region, or "" for the machine.
        refired: Times at which it fired again, oldest first; few are kept.
        index: Of its newest entry in the log of alerts.
        evidence: (log, first, last) of the records that it was last seen in.
    """

    key: str
    kind: str
    region: str
    subject: str
    first_us: int
    last_us: int
    ended_us: int
    rank: int
    clock: str
    message: str
    cells: tuple[str, ...]
    refired: tuple[int, ...]
    index: int
    evidence: tuple[tuple[str, int, int], ...]

    @property
    def firing(self) -> bool:
        """Whether it holds."""
        return self.ended_us < 0


@dataclass(frozen=True, slots=True)
class Group:
    """Signals of one cause: the root, and all of them in order, the root first."""

    root: LiveSignal
    signals: tuple[LiveSignal, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all, the root's first."""
        return tuple(one.key for one in self.signals)


def explains(cause: LiveSignal, symptom: LiveSignal) -> bool:
    """Whether one signal explains another."""
    if symptom.kind not in explained_by(cause.kind) or cause.region not in ("", symptom.region):
        return False
    if cause.cells and symptom.cells and not set(cause.cells) & set(symptom.cells):
        return False
    in_time = cause.first_us <= symptom.first_us + REROOT_US
    return in_time and (cause.firing or symptom.first_us <= cause.ended_us + LINGER_US)


def grouped(signals: Iterable[LiveSignal]) -> list[Group]:
    """The partition; groups in the order of their roots' first times.

    A signal that several roots explain belongs to the deepest of them, then to the one that began nearest to it.
    """
    live = sorted(signals, key=lambda one: (one.first_us, one.key))
    causes = {one.key: [other for other in live if explains(other, one)] for one in live}
    roots = [one for one in live if not causes[one.key]]
    clusters = _clusters(roots)
    members: dict[str, list[LiveSignal]] = {cluster[0].key: list(cluster) for cluster in clusters}
    cluster_of = {one.key: cluster[0].key for cluster in clusters for one in cluster}
    for one in live:
        if causes[one.key]:
            best = min(_tops(one, causes), key=lambda cause: (-depth(cause.kind), abs(cause.first_us - one.first_us), cause.key))
            members[cluster_of[best.key]].append(one)
    return [Group(chosen[0], (chosen[0], *sorted(chosen[1:], key=lambda one: (one.first_us, one.key)))) for chosen in members.values()]


def _tops(one: LiveSignal, causes: Mapping[str, Sequence[LiveSignal]]) -> list[LiveSignal]:
    """The roots above a signal, over any number of steps; what explains it may itself be explained by what does not."""
    found: dict[str, LiveSignal] = {}
    seen: set[str] = set()
    ahead = [one]
    while ahead:
        for cause in causes[ahead.pop().key]:
            if cause.key not in seen:
                seen.add(cause.key)
                if causes[cause.key]:
                    ahead.append(cause)
                else:
                    found[cause.key] = cause
    return list(found.values())


def _clusters(roots: Sequence[LiveSignal]) -> list[list[LiveSignal]]:
    """Roots that are taken as one cause until more is known, the deepest of each first."""
    clusters: list[list[LiveSignal]] = []
    for one in roots:
        for cluster in clusters:
            if one.first_us - cluster[0].first_us <= REROOT_US and all(_related(one, other) for other in cluster):
                cluster.append(one)
                break
        else:
            clusters.append([one])
    return [sorted(cluster, key=lambda one: (-depth(one.kind), one.first_us, one.key)) for cluster in clusters]


def _related(one: LiveSignal, other: LiveSignal) -> bool:
    if one.kind == other.kind:
        return one.region == other.region
    near = one.region == other.region or "" in (one.region, other.region)
    return near and bool(explanations_of(one.kind) & explanations_of(other.kind))
