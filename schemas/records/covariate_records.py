"""The record of covariates, in the `control` log. `schemas.records.records` re-exports it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CovariatesKnown:
    """Values of a region's covariates became known, such as weather observed or forecast; `schemas.events.covariates` lists the names.

    From the next close on, a close uses those values that were known by the end of its slot. The columns have one row per value.
    """

    region: str
    source: bytes  # SHA-256 of the file that they were imported from
    names: tuple[str, ...]  # each once, ascending
    name: tuple[int, ...]  # place in `names`
    valid_s: tuple[int, ...]  # the time that the value is for, seconds since 1970, UTC
    known_s: tuple[int, ...]  # when it became known
    values_milli: tuple[int, ...]  # 1/1000 of the covariate's unit
