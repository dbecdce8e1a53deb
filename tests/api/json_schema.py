"""The part of JSON Schema that our documents use, checked plainly."""

from typing import Any

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def problems(schema: dict[str, Any], value: object, where: str = "$") -> list[str]:
    """What is wrong with a value; empty if it fits."""
    if "anyOf" in schema:
        found = [problems(option, value, where) for option in schema["anyOf"]]
        return [] if any(not each for each in found) else found[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r} not in {schema['enum']}"]
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{where}: expected {kind}, got {value!r}"]
    out: list[str] = []
    if isinstance(value, dict):
        known = schema.get("properties", {})
        out += [f"{where}: misses {name}" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            extra = schema.get("additionalProperties", True)
            if name in known:
                out += problems(known[name], item, f"{where}.{name}")
            elif extra is False:
                out.append(f"{where}: {name} is not documented")
            elif isinstance(extra, dict):
                out += problems(extra, item, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        out += [each for place, item in enumerate(value) for each in problems(schema["items"], item, f"{where}[{place}]")]
    return out
