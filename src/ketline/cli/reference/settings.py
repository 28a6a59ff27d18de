"""The page of all settings, from `ketline.config`."""

from __future__ import annotations

import json
from typing import Any

from ketline.cli.reference.markdown import MADE_FROM, prose, table
from ketline.cli.reference.schemas import keys, name_of
from ketline.config import DEFAULT_PLANS, ENV_DELIMITER, ENV_PREFIX, Centre

INTRODUCTION = f"""# Settings

Settings come from three places; each wins over the one before: the defaults below, the file that
`ketline serve --config FILE` names (TOML), and environment variables. The variable of `[server] port` is
`{ENV_PREFIX}SERVER{ENV_DELIMITER}PORT`; a list or a table is given as JSON. An unknown key or a wrong value
is refused at start, with the file, the key and what is allowed.
"""


def page() -> str:
    """The whole page."""
    schema = Centre.model_json_schema()
    parts = [MADE_FROM.format(source="src/ketline/config.py"), INTRODUCTION]
    for name, property_ in schema["properties"].items():
        section, heading = _section(name, property_)
        definition = schema["$defs"][section]
        parts.append(f"\n## `{heading}`\n\n{_without_name(definition['description'])}\n")
        summary = prose(property_.get("description", ""))
        if property_.get("type") in {"array", "object"} and summary:
            parts.append(f"\n{summary}\n")
        parts.append("\n" + keys(definition))
        for key, field in definition["properties"].items():
            if "$ref" in field.get("items", {}):
                inner = schema["$defs"][name_of(field["items"]["$ref"])]
                parts.append(f"\n## `[[{name}.{key}]]`\n\n{_without_name(inner['description'])}\n")
                parts.append("\n" + keys(inner))
        if name == "plans":
            parts.append(_built_in_plans())
    return "".join(parts)


def _section(name: str, property_: dict[str, Any]) -> tuple[str, str]:
    for option in property_.get("anyOf", [property_]):
        if "$ref" in option:
            return name_of(option["$ref"]), f"[{name}]"
    if property_["type"] == "array":
        return name_of(property_["items"]["$ref"]), f"[[{name}]]"
    return name_of(property_["additionalProperties"]["$ref"]), f"[{name}.<name>]"


def _without_name(description: str) -> str:
    text = prose(description).partition(": ")[2]
    return text[:1].upper() + text[1:]


def _built_in_plans() -> str:
    """The figures in which the built-in plans differ from the defaults."""
    rows = []
    for name, plan in DEFAULT_PLANS.items():
        figures = plan.model_dump(exclude_unset=True)
        rows.append(
            (f"`{name}`", ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in figures.items()))
        )
    return "\nBuilt in are these plans; what isn't named here is as above.\n\n" + table(
        ("plan", "figures"), rows
    )
