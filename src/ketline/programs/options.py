"""Options of the legacy programs: the published models, read strictly."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

from ketline.programs.failures import bad_option

if TYPE_CHECKING:
    from pydantic import BaseModel

ModelT = TypeVar("ModelT", bound="BaseModel")


_LIFTED = ("scheduler_timing", "stretch_values", "allow_approximation")


def lifted(options: object) -> object:
    """Options with what belongs to ``experimental.execution`` put back there.

    The client merges ``experimental={"execution": …}`` into ``execution`` before it posts.
    """
    if not isinstance(options, dict) or not isinstance(options.get("execution"), dict):
        return options
    found = {name: value for name, value in options["execution"].items() if name in _LIFTED}
    if not found:
        return options
    rest = {name: value for name, value in options["execution"].items() if name not in _LIFTED}
    experimental = options.get("experimental") or {}
    inner = experimental.get("execution", {}) if isinstance(experimental, dict) else {}
    if not isinstance(experimental, dict) or not isinstance(inner, dict):
        return options
    merged = {**experimental, "execution": {**inner, **found}}
    return {**options, "execution": rest, "experimental": merged}


def validated(model: type[ModelT], value: object, name: str = "") -> ModelT:
    """Options as a published model; a key that the model doesn't know is refused at any depth.

    Keys whose value is null are taken as not given.

    Raises:
        JobError: an unknown key or a value that isn't allowed; the message names it.
    """
    from pydantic import ValidationError

    if not isinstance(value, dict):
        raise bad_option(name or "*", f"{type(value).__name__} instead of an object.")
    given = _known(model, value, name)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in (name, *first["loc"]) if part != "")
        raise bad_option(place or "*", f"{first['msg']}.") from None


def _known(model: type[BaseModel], value: dict[str, Any], name: str) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for key, part in value.items():
        place = f"{name}.{key}" if name else str(key)
        if key not in model.model_fields:
            raise bad_option(place, "there is no such option.", f"Remove options.{place}.")
        if part is None:
            continue
        inner = _model_in(model.model_fields[key].annotation)
        known[key] = _known(inner, part, place) if inner is not None and isinstance(part, dict) else part
    return known


def _model_in(annotation: Any) -> type[BaseModel] | None:
    from pydantic import BaseModel

    if get_origin(annotation) in (Union, types.UnionType):
        found = [one for one in map(_model_in, get_args(annotation)) if one is not None]
        return found[0] if len(found) == 1 else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if not any(field.alias for field in annotation.model_fields.values()) else None
    return None
