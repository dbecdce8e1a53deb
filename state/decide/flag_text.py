"""The text of a feature flag: JSON from outside, checked member by member, and the canonical form that the log holds."""

import json
import re
from collections.abc import Collection, Mapping

from schemas.errors import UsageError
from schemas.events.cells import cell_code
from state.decide.flags import MILLI, Flag, Json, Kind, Rule, Share, State, kind_of

LARGEST_BYTES = 16_384  # of the canonical text; an entry has at most 65,535
MOST = 64  # variants, rules, shares, regions, cells
LARGEST_NUMBER = 2**53  # JSON readers hold larger ones inexactly
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_key(key: str) -> str:
    """The key of a flag.

    Raises:
        UsageError: it has another form.
    """
    if not _KEY.fullmatch(key):
        raise UsageError(f"flag: expected a key of at most 64 letters, digits and . _ -, got {key[:80]!r}")
    return key


def parse_flag(key: str, text: str, regions: Collection[str] | None = None) -> Flag:
    """Read a definition.

    Args:
        regions: That rules may name; None for any: a recorded rule may name one that is gone.
    Raises:
        UsageError: it is no JSON, or one of its members is wrong; the text names it.

    >>> parse_flag("new-page", '{"variants": {"on": true, "off": false}, "default": "off"}').kind.value
    'boolean'
    """
    where = f"flag {check_key(key)}"
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_refused)
    except (ValueError, RecursionError) as wrong:
        raise UsageError(f"{where}: expected JSON, got something else: {str(wrong).splitlines()[0]}") from None
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        raise UsageError(f"{where}: expected text that UTF-8 can hold, got half of a surrogate pair") from None
    given = _members(where, found, {"state", "variants", "default", "rules"}, {"variants", "default"})
    variants, kind = _variants(where, given["variants"])
    default = _one_of(f"{where}: default", given["default"], variants)
    state = State(_one_of(f"{where}: state", given.get("state", "enabled"), [str(one) for one in State]))
    rules = _list(f"{where}: rules", given.get("rules", []), least=0)
    return Flag(
        key, kind, state, variants, default, tuple(_rule(f"{where}: rule {i}", rule, variants, regions) for i, rule in enumerate(rules, 1))
    )


def text_of(flag: Flag) -> str:
    """The canonical text of a definition, which `parse_flag` reads to the same flag.

    Raises:
        UsageError: it is too long to be recorded.
    """
    rules: list[dict[str, object]] = []
    for rule in flag.rules:
        shown: dict[str, object] = {}
        if rule.regions:
            shown["regions"] = list(rule.regions)
        if rule.cells:
            shown["cells"] = list(rule.cells)
        if rule.variant:
            shown["variant"] = rule.variant
        else:
            shown["split"] = [{"variant": one.variant, "share_milli": one.share_milli} for one in rule.split]
        rules.append(shown)
    whole = {"state": str(flag.state), "variants": flag.variants, "default": flag.default, "rules": rules}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    if len(text) > LARGEST_BYTES:
        raise UsageError(f"flag {flag.key}: expected a definition of at most {LARGEST_BYTES} bytes, got {len(text)}")
    return text


def _variants(where: str, given: Json) -> tuple[dict[str, Json], Kind]:
    if not isinstance(given, dict) or not 1 <= len(given) <= MOST:
        raise UsageError(f"{where}: variants: expected an object with 1 to {MOST} variants, got {_shown(given)}")
    for name, value in given.items():
        if not _KEY.fullmatch(name):
            raise UsageError(f"{where}: variants: expected names of at most 64 letters, digits and . _ -, got {name[:80]!r}")
        if kind_of(value) is None or not _sound(value):
            raise UsageError(f"{where}: variant {name}: expected true, false, a finite number, a text or an object, got {_shown(value)}")
    kinds = {kind_of(value) for value in given.values()}
    if kinds == {Kind.INTEGER, Kind.FLOAT}:  # 1 and 1.5: a flag has one type
        return {name: float(value) for name, value in given.items() if isinstance(value, int | float)}, Kind.FLOAT
    if len(kinds) != 1:
        raise UsageError(f"{where}: variants: expected values of one type, got {', '.join(sorted(str(kind) for kind in kinds))}")
    [kind] = kinds
    assert kind is not None  # checked above
    return dict(given), kind


def _rule(where: str, given: Json, variants: Mapping[str, Json], known: Collection[str] | None) -> Rule:
    rule = _members(where, given, {"regions", "cells", "variant", "split"}, set())
    if ("variant" in rule) == ("split" in rule):
        raise UsageError(f"{where}: expected either a variant or a split, got {'both' if 'split' in rule else 'neither'}")
    regions = _texts(f"{where}: regions", rule["regions"]) if "regions" in rule else ()
    for region in regions:
        if known is not None and region not in known:
            raise UsageError(f"{where}: regions: expected some of {', '.join(known) or 'none'}, got {region!r}")
    cells = _texts(f"{where}: cells", rule["cells"]) if "cells" in rule else ()
    for cell in cells:
        try:
            cell_code(cell)
        except UsageError as wrong:
            raise UsageError(f"{where}: cells: {wrong}") from None
    variant = _one_of(f"{where}: variant", rule["variant"], variants) if "variant" in rule else ""
    split = (
        tuple(_share(f"{where}: share {i}", one, variants) for i, one in enumerate(_list(f"{where}: split", rule["split"]), 1))
        if "split" in rule
        else ()
    )
    if split and (total := sum(share.share_milli for share in split)) != MILLI:
        raise UsageError(f"{where}: split: expected shares that add up to {MILLI}, got {total}")
    return Rule(regions, cells, variant, split)


def _share(where: str, given: Json, variants: Mapping[str, Json]) -> Share:
    share = _members(where, given, {"variant", "share_milli"}, {"variant", "share_milli"})
    milli = share["share_milli"]
    if not isinstance(milli, int) or isinstance(milli, bool) or not 0 <= milli <= MILLI:
        raise UsageError(f"{where}: share_milli: expected a whole number from 0 to {MILLI}, got {_shown(milli)}")
    return Share(_one_of(f"{where}: variant", share["variant"], variants), milli)


def _members(where: str, given: Json, known: set[str], needed: set[str]) -> dict[str, Json]:
    if not isinstance(given, dict):
        raise UsageError(f"{where}: expected an object, got {_shown(given)}")
    if unknown := sorted(given.keys() - known):
        raise UsageError(f"{where}: expected the members {', '.join(sorted(known))}, got {unknown[0][:80]!r}")
    if missing := sorted(needed - given.keys()):
        raise UsageError(f"{where}: {missing[0]}: expected a value, got none")
    return given


def _list(where: str, given: Json, least: int = 1) -> list[Json]:
    if not isinstance(given, list) or not least <= len(given) <= MOST:
        raise UsageError(f"{where}: expected a list of {least} to {MOST}, got {_shown(given)}")
    return given


def _texts(where: str, given: Json) -> tuple[str, ...]:
    found = _list(where, given)
    for text in found:
        if not isinstance(text, str) or not text or text != text.lower():
            raise UsageError(f"{where}: expected texts in lower case, got {_shown(text)}")
    return tuple(str(text) for text in found)


def _one_of(where: str, given: Json, known: Collection[str]) -> str:
    if not isinstance(given, str) or given not in known:
        raise UsageError(f"{where}: expected one of {', '.join(known)}, got {_shown(given)}")
    return given


def _sound(value: Json) -> bool:
    """Whether every number of a value is one that JSON readers hold exactly."""
    match value:
        case bool() | str() | None:
            return True
        case int() | float():
            return -LARGEST_NUMBER <= value <= LARGEST_NUMBER
        case list():
            return all(map(_sound, value))
        case dict():
            return all(map(_sound, value.values()))


def _shown(value: object) -> str:
    return json.dumps(value)[:100]


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a member twice")
    return found


def _refused(constant: str) -> Json:
    raise ValueError(f"{constant} is not a number of JSON")
