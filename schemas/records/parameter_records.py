"""Records of parameters and feature flags that are changed while a home runs, in the `control` log.

`schemas.records.records` re-exports these. They are written by commands alone, never by a run, so the time that they hold does not
make two runs differ.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSet:
    """From the next close or decision on, a parameter has this value in one scope."""

    parameter: str  # a name of `state.decide.parameter_table`
    region: str  # empty for the instance
    cell: str  # geohash; empty for every cell of the scope
    value: str  # canonical text; empty: the scope has no value of its own any more
    unit: str  # of the value
    set_at_us: int  # when it was decided, UTC; never before an earlier record of this kind or `FlagSet`
    author: str  # a role or the opaque name of a key, never a person
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSet:
    """From the next evaluation on, a feature flag has this definition."""

    flag: str
    definition: str  # canonical JSON, as `state.decide.flags` parses it; empty: there is no such flag any more
    set_at_us: int  # as in `ParameterSet`
    author: str
    reason: str
