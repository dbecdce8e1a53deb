"""The metric detector written plainly: every step computes what it needs from the list of all values before it."""

import math
import statistics

from state.detect import metric


def scores_of(values: list[float], steps_per_day: int) -> list[float]:
    """The score of each step of a metric of counts, 0 while nothing is known."""
    per_week = 7 * steps_per_day
    kept: list[float] = []  # what is remembered of each step
    errors: list[tuple[int, float]] = []  # time of day, error
    scales: list[float] = []
    ratios: list[float] = []
    means: list[float] = []
    out = []
    for step, value in enumerate(values):
        past = [kept[step - week * per_week] for week in range(1, metric.WEEKS + 1) if step >= week * per_week]
        known = [one for one in past if not math.isnan(one)]
        if math.isnan(value) or len(known) < metric.LEAST_WEEKS:
            kept.append(math.nan if math.isnan(value) else math.log1p(value))
            if math.isnan(value):
                ratios.append(math.nan)
            out.append(0.0)
            continue
        usual = statistics.median(known) + level_of(errors, scales, steps_per_day)
        error, time = math.log1p(value) - usual, step % steps_per_day
        scale = scale_of(errors, time, abs(error), steps_per_day)
        errors.append((time, error))
        scales.append(scale)
        most = metric.CLIP * scale
        kept.append(usual + max(-most, min(most, error)))
        ratios.append(max(-3 * metric.CLIP, min(3 * metric.CLIP, error / scale)))
        length = max(2, round(metric.WINDOW_DAYS * steps_per_day))
        means.append(abs(sum(one for one in ratios[-length:] if not math.isnan(one)) / length))
        single = chance([abs(e) / s for (_, e), s in zip(errors, scales, strict=True)], steps_per_day)
        sustained = chance(spreads(means, steps_per_day), steps_per_day)
        out.append(1.0 - min(1.0, 2.0 * min(single, sustained)))
    return out


def weight(half_life: float) -> float:
    """Of a new value."""
    return 1.0 - float(0.5 ** (1.0 / half_life))


def level_of(errors: list[tuple[int, float]], scales: list[float], steps_per_day: int) -> float:
    """The sum of clipped errors, each with its weight."""
    clipped = [max(-metric.CLIP * s, min(metric.CLIP * s, e)) for (_, e), s in zip(errors, scales, strict=True)]
    return weight(metric.LEVEL_DAYS * steps_per_day) * sum(clipped)


def scale_of(errors: list[tuple[int, float]], time: int, error: float, steps_per_day: int) -> float:
    """The scale of a time of day before an error is learned from."""
    sizes = [(at, abs(one)) for at, one in errors]
    overall = max(sizes[0][1] if sizes else error, metric.LEAST_SCALE_VALUE)
    own = math.nan
    for number, (at, size) in enumerate(sizes, start=1):
        if at == time:
            own = overall if math.isnan(own) else own
            share = max(weight(metric.SCALE_DAYS), 1 / (number / steps_per_day + metric.SCALE_PRIOR_DAYS))
            own += share * (min(size, metric.CLIP * max(own, metric.LEAST_SCALE_VALUE)) - own)
        share = max(weight(metric.SCALE_DAYS * steps_per_day), 1 / (number + steps_per_day / 4))
        overall += share * (min(size, metric.CLIP * max(overall, metric.LEAST_SCALE_VALUE)) - overall)
    own = overall if math.isnan(own) else own
    return max(own, metric.LEAST_SCALE * overall, metric.LEAST_SCALE_VALUE)


def spreads(means: list[float], steps_per_day: int) -> list[float]:
    """The means of the window, each by its usual size."""
    spread, out = max(means[0], 0.5), []
    for number, mean in enumerate(means, start=1):
        spread = spread if number > 1 else max(mean, 0.5)
        out.append(mean / max(spread, metric.LEAST_SCALE_VALUE))
        share = max(weight(metric.SCALE_DAYS * steps_per_day), 1 / (number + steps_per_day))
        spread += share * (min(mean, metric.CLIP * max(spread, metric.LEAST_SCALE_VALUE)) - spread)
    return out


def chance(ratios: list[float], steps_per_day: int) -> float:
    """The chance of a ratio as large as the last one, by those before it."""
    *before, last = ratios
    kept = 0.5 ** (1 / (metric.TAIL_DAYS * steps_per_day))
    faded = [kept ** (len(before) - 1 - i) for i in range(len(before))]
    prior = metric.TAIL_PRIOR * kept ** len(before)
    beyond = [(f, math.log(r / metric.TAIL_FROM)) for f, r in zip(faded, before, strict=True) if r > metric.TAIL_FROM]
    exceedances = prior + sum(f for f, _ in beyond)
    index = (prior * metric.TAIL_INDEX + sum(f * min(x, metric.TAIL_CLIP) for f, x in beyond)) / exceedances
    share = exceedances / (prior / metric.TAIL_SHARE + sum(faded))
    return min(1.0, share * (last / metric.TAIL_FROM) ** (-1 / index)) if last > 0 else 1.0
