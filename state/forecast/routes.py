"""Which trained model serves a region: its own champion, that of its parent, or the global one; and why those before it do not.

What the control log names follows from the log. What a run finds besides, such as a missing artefact, is an observation, like
an excused partition: it is recorded with the issue, and whoever folds the slot again takes it from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.records.records import Fallback, ForecastIssued

CHALLENGER = "challenger"  # of an experiment, in the reasons of an issue
GLOBAL_SCOPE = "global"  # stands for a region in the records of models that are trained on several
ROUTED_SINCE = 5  # version of the fold from which a parent's or the global model stands in


class Role(StrEnum):
    """Whose model it is; the order is that in which they are asked."""

    CHAMPION = "champion"
    PARENT = "parent"
    GLOBAL = "global"


class Why(StrEnum):
    """Why a model does not serve."""

    NO_MODEL = "no-model"  # none is promoted
    HELD = "held"  # the fold failed with it
    OFF = "off"  # a parameter says that no trained model serves
    MISSING = "missing"  # its artefact is not stored
    DAMAGED = "damaged"  # its artefact has other bytes than its digest says, or they are no model
    UNREADABLE = "unreadable"  # the store does not give its artefact out
    INCOMPATIBLE = "incompatible"  # trained for other horizons, slots or measures, or by a newer Ridecast
    SLOW = "slow"  # one of its forecasts took too long


OBSERVED = frozenset(Why) - {Why.NO_MODEL, Why.HELD, Why.OFF}  # found by a run; the others follow from the control log
FALLBACK_OF = {Role.CHAMPION: Fallback.NONE, Role.PARENT: Fallback.PARENT, Role.GLOBAL: Fallback.GLOBAL}

Named = Mapping[Role, bytes]
Fault = Callable[[Role, bytes], Why | None]


@dataclass(frozen=True, slots=True)
class Route:
    """The model that serves a region and measure.

    Attributes:
        digest: Of its artefact; empty for none.
        skipped: Role -> why its model does not serve, of those asked before. A role that has no model is left out, except for
            the region's own.
    """

    role: Role = Role.CHAMPION
    digest: bytes = b""
    skipped: Mapping[str, str] = field(default_factory=dict)


def choose(named: Named, *, fault: Fault, without: Why | None = None) -> Route:
    """The first usable model.

    Args:
        named: Role -> digest of the models in force; roles without one are left out.
        fault: Why a model cannot be used; None if it can.
        without: Why the region is served without any model; None if it is not.

    >>> choose({Role.PARENT: b"p"}, fault=lambda role, digest: None)
    Route(role=<Role.PARENT: 'parent'>, digest=b'p', skipped={'champion': 'no-model'})
    >>> choose({Role.CHAMPION: b"c"}, fault=lambda role, digest: Why.MISSING)
    Route(role=<Role.CHAMPION: 'champion'>, digest=b'', skipped={'champion': 'missing'})
    """
    if without is not None:
        return Route(skipped={str(Role.CHAMPION): str(without)})
    skipped: dict[str, str] = {}
    for role in Role:
        digest = named.get(role, b"")
        if not digest:
            if role is Role.CHAMPION:
                skipped[str(role)] = str(Why.NO_MODEL)
            continue
        why = fault(role, digest)
        if why is None:
            return Route(role, digest, skipped)
        skipped[str(role)] = str(why)
    return Route(skipped=skipped)


def recorded_fault(issued: ForecastIssued) -> Fault:
    """What a run found of its models at an issue: other reasons than these follow from the control log, and are not believed."""

    def fault(role: Role, digest: bytes) -> Why | None:
        why = issued.reasons.get(role)
        return Why(why) if why in OBSERVED else None

    return fault


def recorded_challenger(issued: ForecastIssued | None) -> Why | None:
    """Why the challenger of an experiment did not serve at an issue, as `recorded_fault`; None if nothing is recorded."""
    why = issued.reasons.get(CHALLENGER) if issued is not None else None
    return Why(why) if why in OBSERVED else None


OWNER = {Role.CHAMPION: "the region's own model", Role.PARENT: "the parent region's model", Role.GLOBAL: "the global model"}
STATE = {
    Why.NO_MODEL: "does not exist yet",
    Why.HELD: "is held back, because the fold failed with it",
    Why.OFF: "is switched off by the parameter trained_models",
    Why.MISSING: "has no artefact in the store",
    Why.DAMAGED: "is damaged",
    Why.UNREADABLE: "cannot be read from the store",
    Why.INCOMPATIBLE: "does not fit this region or this version of Ridecast",
    Why.SLOW: "was too slow",
}


def words(reasons: Mapping[str, str]) -> str:
    """Recorded reasons as a phrase; empty if there are none, or if a newer Ridecast has others.

    >>> words({"champion": "no-model", "parent": "missing"})
    "the region's own model does not exist yet, the parent region's model has no artefact in the store"
    """
    return ", ".join(f"{OWNER[role]} {STATE[Why(reasons[role])]}" for role in Role if reasons.get(role) in frozenset(Why))


def role_of(issued: ForecastIssued) -> Role | None:
    """Whose model an issue used; None for no trained model."""
    if not issued.models:
        return None
    return next((role for role in Role if role in issued.roles), Role.CHAMPION)


def scope_of(role: Role, region: str, parent: str | None) -> str:
    """The region, or what stands for one, under which the control log names the model of a role."""
    return {Role.CHAMPION: region, Role.PARENT: parent or "", Role.GLOBAL: GLOBAL_SCOPE}[role]
