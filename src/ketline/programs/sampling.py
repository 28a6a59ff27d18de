"""Drawing from a posted samplex over a broadcast shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.mitigation.samplexes import draw
from ketline.programs.wire.guard import guarded

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

    Raises:
        JobError: the samplex can't be sampled with these arguments.
    """
    drawn: dict[str, NDArray[Any]] = guarded(
        lambda: draw(samplex, arguments, shape, rng), field, "a samplex that can be sampled"
    )
    return drawn
