"""Drawing from a samplex over a broadcast shape."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.failures import rejected

if TYPE_CHECKING:
    from samplomatic.samplex import Samplex
    from samplomatic.tensor_interface import TensorInterface


def sample(
    samplex: Samplex,
    arguments: TensorInterface,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    field: str,
) -> dict[str, NDArray[Any]]:
    """Draw for every element of ``shape``: arrays of shape ``(*shape, *intrinsic)``.

    Axes along which the arguments vary are swept; all others are randomisations, drawn together.

    Raises:
        JobError: the samplex can't be sampled with these arguments.
    """
    own = (1,) * (len(shape) - arguments.ndim) + arguments.shape
    swept = [axis for axis, size in enumerate(own) if size > 1]
    drawn = [axis for axis, size in enumerate(own) if size <= 1]
    inner = tuple(shape[axis] for axis in drawn)
    lead = len(shape) - arguments.ndim
    outputs: dict[str, NDArray[Any]] = {}
    for index in np.ndindex(tuple(shape[axis] for axis in swept)):
        place = dict(zip(swept, index, strict=True))
        chosen = tuple(place.get(lead + axis, 0) for axis in range(arguments.ndim))
        try:
            part = samplex.sample(
                arguments[chosen] if chosen else arguments,
                num_randomizations=math.prod(inner),
                rng=rng,
                max_workers=1,
            )
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - the arguments are the job's, and so is what they break
            raise rejected(field, f"the samplex can't be sampled: {type(error).__name__}: {error}") from None
        target = tuple(place.get(axis, slice(None)) for axis in range(len(shape)))
        for name, value in part.items():
            if name not in outputs:
                outputs[name] = np.empty((*shape, *value.shape[1:]), dtype=value.dtype)
            outputs[name][target] = value.reshape(*inner, *value.shape[1:])
    return outputs
