"""Feature flags: a definition parsed and checked, and what it says for a context, by the evaluation model of OpenFeature.

A share of a split is decided by a hash of the flag and the targeting key alone, so that the same key always gets the same variant,
in every process and language, and keeps it while its variant's share grows from the start of the list.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import UsageError

MILLI = 1000
TARGETING_KEY, REGION, CELL = "targetingKey", "region", "cell"

Json = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Context = Mapping[str, object]


class State(StrEnum):
    """Whether the rules of a flag are asked."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class Kind(StrEnum):
    """Type of a flag's values."""

    BOOLEAN = "boolean"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    OBJECT = "object"


class Reason(StrEnum):
    """Why a flag has its value, by OpenFeature's specification."""

    STATIC = "STATIC"  # the flag has no rules
    TARGETING_MATCH = "TARGETING_MATCH"  # a rule with a variant matched
    SPLIT = "SPLIT"  # a rule with shares matched
    DEFAULT = "DEFAULT"  # no rule matched
    DISABLED = "DISABLED"


class Code(StrEnum):
    """Why a flag could not be evaluated, by OpenFeature's specification."""

    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    PARSE_ERROR = "PARSE_ERROR"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    GENERAL = "GENERAL"


@dataclass(frozen=True, slots=True)
class Share:
    """A variant that so many of 1,000 targeting keys get."""

    variant: str
    share_milli: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Whom a rule is for, and what they get: one variant, or a split whose shares add up to 1,000.

    Attributes:
        regions: Ids; empty for every region, and for none.
        cells: Geohashes, of which one must be the beginning of the cell; empty for every cell, and for none.
    """

    regions: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    variant: str = ""
    split: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag as `state.decide.flag_text` reads it."""

    key: str
    kind: Kind
    state: State
    variants: Mapping[str, Json]
    default: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a flag says."""

    value: Json
    variant: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a flag says nothing, in one sentence."""

    code: Code
    details: str


def evaluate(flag: Flag, context: Context) -> Evaluated | Failed:
    """The value of a flag for a context: that of the first rule that matches.

    Args:
        context: `region` and `cell` are what rules look at, and `targetingKey` decides in a split; others do not matter.

    >>> flag = Flag("new-page", Kind.BOOLEAN, State.ENABLED, {"on": True, "off": False}, "off", (Rule(("nyc",), (), "on"),))
    >>> evaluate(flag, {"region": "nyc"})
    Evaluated(value=True, variant='on', reason=<Reason.TARGETING_MATCH: 'TARGETING_MATCH'>)
    """
    for name in (TARGETING_KEY, REGION, CELL):
        if not isinstance(context.get(name, ""), str):
            return Failed(Code.INVALID_CONTEXT, f"context: {name}: expected a text, got {type(context[name]).__name__}")
    if flag.state is State.DISABLED:
        return _variant(flag, flag.default, Reason.DISABLED)
    for rule in flag.rules:
        if not _matches(rule, str(context.get(REGION, "")), str(context.get(CELL, "")).lower()):
            continue
        if rule.variant:
            return _variant(flag, rule.variant, Reason.TARGETING_MATCH)
        key = str(context.get(TARGETING_KEY, ""))
        if not key:
            return Failed(Code.TARGETING_KEY_MISSING, f"flag {flag.key}: a share decides, so the context needs a {TARGETING_KEY}")
        return _variant(flag, _shared(rule.split, place_milli(flag.key, key)), Reason.SPLIT)
    return _variant(flag, flag.default, Reason.DEFAULT if flag.rules else Reason.STATIC)


def place_milli(flag: str, key: str) -> int:
    """The place of a targeting key among 1,000: the first 8 bytes of SHA-256 over flag, a zero byte and key, times 1,000 / 2^64.

    >>> place_milli("new-page", "rider-1")
    583
    """
    digest = hashlib.sha256(flag.encode() + b"\0" + key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") * MILLI >> 64


def kind_of(value: Json) -> Kind | None:
    """The type of a flag with this value; None for a value that no flag has.

    >>> kind_of(True), kind_of(1)
    (<Kind.BOOLEAN: 'boolean'>, <Kind.INTEGER: 'integer'>)
    """
    kinds = ((bool, Kind.BOOLEAN), (str, Kind.STRING), (int, Kind.INTEGER), (float, Kind.FLOAT), (dict, Kind.OBJECT))
    return next((kind for of, kind in kinds if isinstance(value, of)), None)


def require(found: Evaluated | Failed) -> Evaluated:
    """What a flag says.

    Raises:
        UsageError: it says nothing.
    """
    if isinstance(found, Failed):
        raise UsageError(f"{found.code}: {found.details}")
    return found


def _variant(flag: Flag, variant: str, reason: Reason) -> Evaluated:
    return Evaluated(flag.variants[variant], variant, reason)


def _matches(rule: Rule, region: str, cell: str) -> bool:
    return (not rule.regions or region in rule.regions) and (not rule.cells or cell.startswith(rule.cells))


def _shared(split: tuple[Share, ...], place: int) -> str:
    """The variant in whose share a place lies."""
    below = 0
    for share in split:
        below += share.share_milli
        if place < below:
            return share.variant
    raise AssertionError("the shares of a split add up to 1,000")
