"""The baseline and the quiet forecast of one cell, from their definitions."""

from tests.state.demand.plain_counts import PlainClock, PlainCounts


def plain_profile(counts: PlainCounts, clock: PlainClock, at: int, cell: int, horizons: tuple[int, ...]) -> list[float]:
    """Baseline per horizon after a closed slot: the last four weeks, else the last six days, else the mean of the last day."""
    start = at + 1
    out = []
    weights = {clock.days_before(start, 7 * week): 0.8**week for week in (1, 2, 3, 4)}
    seasons = {slot: weight for slot, weight in weights.items() if counts.all_seen(slot, slot + horizons[0])}
    if not seasons:
        days = [clock.days_before(start, day) for day in range(1, 7)]
        seasons = {slot: 1.0 for slot in days if counts.all_seen(slot, slot + horizons[0])}
    for h in horizons:
        whole = {slot: weight for slot, weight in seasons.items() if counts.all_seen(slot, slot + h)}
        if whole:
            rides = sum(weight * counts.total([cell], slot, slot + h) for slot, weight in whole.items())
            out.append(rides / sum(whole.values()))
        else:
            rides = counts.total([cell], start - counts.day, start)
            out.append(rides / max(counts.seen(start - counts.day, start), 1) * h)
    return out


def plain_expected(counts: PlainCounts, clock: PlainClock, slot: int) -> float:
    """Rides that the profile expects of the whole region in a slot; none without a past."""
    seasons = [(clock.days_before(slot, 7 * week), 0.8**week) for week in (1, 2, 3, 4)]
    seasons = [(at, weight) for at, weight in seasons if counts.all_seen(at, at + 1)]
    if not seasons:
        days = [clock.days_before(slot, day) for day in range(1, 7)]
        seasons = [(at, 1.0) for at in days if counts.all_seen(at, at + 1)]
    if not seasons:
        return 0.0
    rides = sum(weight * counts.city(at, at + 1) for at, weight in seasons)
    return rides / sum(weight for _, weight in seasons)


def plain_rate(counts: PlainCounts, at: int, cell: int) -> float:
    """Mean rides per observed slot of the last 28 days."""
    month = at + 1 - 28 * counts.day
    return counts.total([cell], month, at + 1) / max(counts.seen(month, at + 1), 1)


def plain_quiet(counts: PlainCounts, at: int, cell: int) -> bool:
    """Whether a cell has fewer than 0.05 rides per 15 minutes in the mean over 28 days."""
    return plain_rate(counts, at, cell) / counts.region.slot_min * 15 < 0.05


def plain_quiet_parts(counts: PlainCounts, clock: PlainClock, at: int, cell: int, horizons: tuple[int, ...]) -> list[list[float]]:
    """Profile, last hour and last day of a quiet cell, per horizon.

    The cell's rate is drawn towards a 32nd of its parent's by 0.3 rides, the parent's shape of the day towards the
    region's by 12 rides; a shape looks half an hour further on both sides.
    """
    until, region = at + 1, counts.region
    month = until - 28 * counts.day
    parent = counts.siblings(cell)
    seen = max(counts.seen(month, until), 1)
    city_rate = max(counts.city(month, until) / seen, 1e-9)
    parent_rate = counts.total(parent, month, until) / seen
    prior = max(parent_rate / 32, 1e-9)
    rate = (counts.total([cell], month, until) + 0.3) / (seen + 0.3 / prior)
    wide, hour = max(30 // region.slot_min, 1), max(60 // region.slot_min, 1)
    days = [clock.days_before(until, day) for day in (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)]
    days = [day for day in days if counts.all_seen(day - wide, day + wide + horizons[-1])]
    profile, last_hour, last_day = [], [], []
    for h in horizons:
        slots = len(days) * (h + 2 * wide)
        city = sum(counts.city(day - wide, day + h + wide) for day in days)
        city_shape = city / slots / city_rate if days else 1.0
        rides = sum(counts.total(parent, day - wide, day + h + wide) for day in days)
        shape = (rides + 12 * city_shape) / (parent_rate * slots + 12)
        profile.append(rate * shape * h)
        last_hour.append(counts.total([cell], until - hour, until) / max(counts.seen(until - hour, until), 1) * h)
        last_day.append(counts.total([cell], until - counts.day, until) / max(counts.seen(until - counts.day, until), 1) * h)
    return [profile, last_hour, last_day]
