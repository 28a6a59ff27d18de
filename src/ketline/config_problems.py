"""What is wrong with a configuration, in lines that name where, which key and what is allowed."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ketline.config import ENV_DELIMITER, ENV_PREFIX, Centre, InstanceSettings, Settings
from ketline.problems import problem

OTHER_VARIABLES = frozenset({"KETLINE_DATA", "KETLINE_CONFIG"})
"""Variables that the command line reads; every other ``KETLINE_…`` has to be a setting."""


def of_environment(variables: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and aren't."""
    problems = []
    for variable in sorted(variables):
        if not variable.startswith(ENV_PREFIX) or variable in OTHER_VARIABLES:
            continue
        section = variable.removeprefix(ENV_PREFIX).split(ENV_DELIMITER)[0].lower()
        if section not in Settings.model_fields:
            problems.append(f"{variable}: unknown setting; {_allowed(section, Settings.model_fields)}")
    return problems


def of_validation(
    error: ValidationError, given: Mapping[str, Any], source: str, table: type[BaseModel] = Centre
) -> list[str]:
    """One line for each thing that the types refuse; ``given`` is what the file (or the table) holds."""
    errors = error.errors(include_url=False)
    places = [details["loc"] for details in errors]
    return [
        _line(details, given, source, table)
        for details in errors
        # A list whose only entries are wrong also counts as too short: that would be told twice.
        if details["type"] != "too_short" or not any(_within(place, details["loc"]) for place in places)
    ]


def of_meaning(settings: Settings, source: str) -> list[str]:
    """What is well-formed but can't be meant: unknown names, the same name twice."""
    qpus = [qpu.name for qpu in settings.qpus]
    problems = [
        *_twice("instances", (instance.name for instance in settings.instances)),
        *_twice("qpus", qpus),
    ]
    for n, instance in enumerate(settings.instances):
        problems += of_instance(instance, f'instances[{n}] ("{instance.name}")', settings)
    drivers = {"emulator", *(entry.name for entry in importlib.metadata.entry_points(group="ketline.qpus"))}
    devices = emulated_devices()
    for n, qpu in enumerate(settings.qpus):
        where = f'qpus[{n}] ("{qpu.name}")'
        if qpu.name.startswith("mock_"):
            problems.append(f"{where}.name: names that begin with mock_ belong to the twins for dry runs")
        if qpu.driver not in drivers:
            problems.append(f'{where}.driver: no driver "{qpu.driver}"; {_allowed(qpu.driver, drivers)}')
        elif qpu.driver == "emulator" and qpu.device not in devices:
            problems.append(f'{where}.device: no device "{qpu.device}"; {_allowed(qpu.device, devices)}')
    for n, rate in enumerate(settings.money.rates if settings.money else ()):
        for key, name, known in (("plan", rate.plan, list(settings.all_plans())), ("qpu", rate.qpu, qpus)):
            if name not in ("*", *known):
                problems.append(f'money.rates[{n}].{key}: no {key} "{name}"; {_allowed(name, ["*", *known])}')
    return [f"{source}: {problem}" for problem in problems]


def of_instance(instance: InstanceSettings, where: str, settings: Settings) -> list[str]:
    """What an instance asks for that this centre doesn't have."""
    plans = settings.all_plans()
    qpus = [qpu.name for qpu in settings.qpus]
    problems = []
    if instance.plan not in plans:
        problems.append(f'{where}.plan: no plan "{instance.plan}"; {_allowed(instance.plan, plans)}')
    problems += [
        f'{where}.qpus: no QPU "{name}"; {_allowed(name, qpus)}'
        for name in instance.qpus or ()
        if name not in qpus
    ]
    if instance.qpus == ():
        problems.append(f"{where}.qpus: an instance without a QPU can do nothing; leave it out to allow all")
    return problems


def emulated_devices() -> list[str]:
    """The device snapshots that come with the client package, found without importing it."""
    package = importlib.util.find_spec("qiskit_ibm_runtime")
    if package is None or not package.submodule_search_locations:
        return []
    folder = Path(package.submodule_search_locations[0]) / "fake_provider" / "backends"
    return sorted(
        properties.parent.name
        for properties in folder.glob("*/props_*.json")
        if properties.with_name(properties.name.replace("props", "conf")).is_file()
    )


def _line(details: ErrorDetails, given: Mapping[str, Any], source: str, table: type[BaseModel]) -> str:
    loc = details["loc"]
    variable = ENV_PREFIX + ENV_DELIMITER.join(str(part) for part in loc).upper()
    where = variable if variable in os.environ else f"{source}: {_key_path(loc, given)}"
    if details["type"] == "extra_forbidden":
        model = _model_at(table, loc[:-1])
        allowed = list(model.model_fields) if model is not None else []
        return f"{where}: unknown key; {_allowed(str(loc[-1]), allowed)}"
    if details["type"] == "too_short":
        return f"{where}: at least {details['ctx']['min_length']} is needed"
    return f"{where}: {problem(details)}"


def _within(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _key_path(loc: Sequence[int | str], given: Mapping[str, Any]) -> str:
    """``instances[1] ("lab").plan``: list entries are shown with their names."""
    text = ""
    value: Any = given
    for part in loc:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
        if isinstance(part, int):
            text += f"[{part}]"
            if isinstance(value, dict) and isinstance(value.get("name"), str):
                text += f' ("{value["name"]}")'
        else:
            text += f".{part}" if text else part
    return text or "settings"


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The table that a key path leads to."""
    parts = list(loc)
    while parts:
        field = model.model_fields.get(str(parts.pop(0)))
        if field is None:
            return None
        annotation: Any = field.annotation
        if get_origin(annotation) is UnionType:
            annotation = next((part for part in get_args(annotation) if part is not NoneType), None)
        if get_origin(annotation) in {dict, tuple}:
            annotation = get_args(annotation)[1 if get_origin(annotation) is dict else 0]
            if parts:
                parts.pop(0)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        model = annotation
    return model


def _twice(table: str, names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    problems = []
    for n, name in enumerate(names):
        if name in seen:
            problems.append(f'{table}[{n}].name: "{name}" is taken already; every name may be used once')
        seen.add(name)
    return problems


def _allowed(name: str, allowed: Iterable[str]) -> str:
    names = sorted(allowed)
    nearest = difflib.get_close_matches(name, names, 1)
    hint = f'did you mean "{nearest[0]}"? ' if nearest else ""
    return f"{hint}allowed: {', '.join(names)}"
