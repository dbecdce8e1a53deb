"""The body of a request: read up to a size limit, parsed strictly, and checked by the schema that OpenAPI publishes.

Supported keywords of JSON Schema: type, enum, required, properties, additionalProperties (false), items, maxItems,
minLength, maxLength, minimum, maximum, pattern. A schema with any other keyword is refused when the application is
built, so that every published constraint is checked.
"""

import json
import re

from starlette.requests import Request

from api.problems import Problem
from schemas.errors import ContractError

JsonSchema = dict[str, object]

LARGEST_BODY_BYTES = 16_384
_CHECKED = {"type", "enum", "required", "properties", "additionalProperties", "items", "maxItems"}
_CHECKED |= {"minLength", "maxLength", "minimum", "maximum", "pattern"}
_SHOWN_ONLY = {"description", "example"}
_TYPES: dict[object, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def require_checkable(schema: JsonSchema, where: str) -> None:
    """Refuse a schema with constraints that `require_valid` does not check.

    Raises:
        ContractError: it has an unsupported keyword or type.
    """
    unknown = schema.keys() - _CHECKED - _SHOWN_ONLY
    if unknown or schema.get("type") not in _TYPES or schema.get("additionalProperties", False) is not False:
        raise ContractError(f"{where}: expected a schema with supported keywords and types, got {schema}")
    for name, inner in _properties(schema).items():
        require_checkable(inner, f"{where}.{name}")
    if "items" in schema:
        require_checkable(_schema(schema["items"]), f"{where}[]")


async def read_json(request: Request, schema: JsonSchema) -> object:
    """The request's body, checked.

    Raises:
        Problem: 415 content type is not JSON, 413 too large, 400 invalid JSON, 422 does not match the schema.
    """
    value = await read_any_json(request)
    require_valid(schema, value, "body")
    return value


async def read_any_json(request: Request) -> object:
    """The request's body, of any form.

    Raises:
        Problem: 415 content type is not JSON, 413 too large, 400 invalid JSON.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(415, "unsupported-media-type", f"Content-Type: expected application/json, got {media_type!r}", field="Content-Type")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY_BYTES:
            raise Problem(413, "body-too-large", f"body: expected at most {LARGEST_BODY_BYTES} bytes, got more", field="body")
    try:
        value: object = json.loads(bytes(body).decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse)
    except (ValueError, RecursionError) as cause:
        raise Problem(400, "bad-json", f"body: expected JSON, got something else: {cause}", field="body") from None
    return value


def require_valid(schema: JsonSchema, value: object, field: str) -> None:
    """Refuse a value that does not match the schema; the error names the first invalid field.

    Raises:
        Problem: 422.

    >>> require_valid({"type": "integer", "minimum": 0}, 3, "index")
    >>> require_valid({"type": "integer", "minimum": 0}, True, "index")
    Traceback (most recent call last):
    api.problems.Problem: index: expected an integer, got true
    """
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise _wrong(field, f"expected {'an' if str(kind)[0] in 'aio' else 'a'} {kind}", value)
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        raise _wrong(field, f"expected one of {', '.join(map(str, allowed))}", value)
    if isinstance(value, str):
        _require_length(schema, "minLength", "maxLength", len(value), "characters", field)
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and not re.search(pattern, value):
            raise _wrong(field, f"expected a text that matches {pattern}", value)
    elif isinstance(value, int | float):
        _require_bounds(schema, value, field)
    elif isinstance(value, list):
        _require_length(schema, "", "maxItems", len(value), "items", field)
        if "items" in schema:
            for place, item in enumerate(value):
                require_valid(_schema(schema["items"]), item, f"{field}[{place}]")
    elif isinstance(value, dict):
        _require_members(schema, value, field)


def _require_members(schema: JsonSchema, value: dict[str, object], field: str) -> None:
    known, needed = _properties(schema), schema.get("required", [])
    for name in needed if isinstance(needed, list) else []:
        if name not in value:
            raise Problem(422, "missing-value", f"{_member(field, name)}: expected a value, got none", field=_member(field, name))
    for name, item in value.items():
        if name in known:
            require_valid(known[name], item, _member(field, name))
        elif schema.get("additionalProperties") is False:
            detail = f"{_member(field, name)[:100]}: no such member; known: {', '.join(known)}"
            raise Problem(422, "unknown-member", detail, field=_member(field, name)[:100])


def _require_length(schema: JsonSchema, low: str, high: str, found: int, unit: str, field: str) -> None:
    least, most = schema.get(low), schema.get(high)
    if isinstance(least, int) and found < least:
        raise Problem(422, "bad-value", f"{field}: expected at least {least} {unit}, got {found}", field=field)
    if isinstance(most, int) and found > most:
        raise Problem(422, "bad-value", f"{field}: expected at most {most} {unit}, got {found}", field=field)


def _require_bounds(schema: JsonSchema, value: float, field: str) -> None:
    least, most = schema.get("minimum"), schema.get("maximum")
    if isinstance(least, int | float) and value < least:
        raise _wrong(field, f"expected at least {least}", value)
    if isinstance(most, int | float) and value > most:
        raise _wrong(field, f"expected at most {most}", value)


def _wrong(field: str, expected: str, value: object) -> Problem:
    return Problem(422, "bad-value", f"{field}: {expected}, got {json.dumps(value, ensure_ascii=False)[:100]}", field=field)


def _member(field: str, name: str) -> str:
    return name if field == "body" else f"{field}.{name}"


def _properties(schema: JsonSchema) -> dict[str, JsonSchema]:
    found = schema.get("properties", {})
    return found if isinstance(found, dict) else {}


def _schema(found: object) -> JsonSchema:
    if not isinstance(found, dict):
        raise ContractError(f"schema: expected an object, got {found!r}")
    return found


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name in an object")
    return found


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a JSON number")
