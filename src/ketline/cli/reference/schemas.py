"""Tables of keys from the schemas of pydantic models: what may be given, its default, what it means."""

from __future__ import annotations

import json
from typing import Any

from ketline.cli.reference.markdown import prose, table

_KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "`true`, `false`"}
_LIMITS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def keys(definition: dict[str, Any]) -> str:
    """The table of a model's keys, from its JSON schema."""
    required = definition.get("required", [])
    rows = [
        (
            f"`{key}`",
            _allowed(field),
            "required" if key in required else _default(field.get("default")),
            prose(field.get("description", "Which of these it is." if key == "kind" else "")),
        )
        for key, field in definition["properties"].items()
    ]
    return table(("key", "value", "default", "meaning"), rows)


def name_of(reference: str) -> str:
    """The model that a ``$ref`` leads to."""
    return reference.rsplit("/", 1)[-1]


def _allowed(field: dict[str, Any]) -> str:
    options = field.get("anyOf") or field.get("oneOf") or [field]
    return " or ".join(_one(option) for option in options if option.get("type") != "null")


def _one(option: dict[str, Any]) -> str:
    if "$ref" in option:
        return f"[{name_of(option['$ref'])}](#{name_of(option['$ref']).lower()})"
    if "enum" in option:
        return ", ".join(f"`{json.dumps(value)}`" for value in option["enum"])
    if "const" in option:
        return f"`{json.dumps(option['const'])}`"
    if option["type"] == "array":
        return "list of tables" if "$ref" in option.get("items", {}) else "list of texts"
    limits = [f"{sign} {option[key]:,}" for key, sign in _LIMITS if key in option]
    if "pattern" in option:
        limits.append(f"like `{option['pattern']}`")
    return ", ".join([_KINDS[option["type"]], *limits])


def _default(value: Any) -> str:
    return "unset" if value is None else f"`{json.dumps(value)}`"
