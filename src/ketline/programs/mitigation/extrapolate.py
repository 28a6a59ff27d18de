"""Extrapolation of noise-amplified expectation values, many at a time.

    fits = extrapolate(["exponential", "linear"], factors, values, errors, targets=[0, 1, 3])
    fits.values       # (extrapolators, data sets, targets)
    fits.gradients    # (extrapolators, data sets, targets, factors): d value / d data
    chosen = choose(fits.values[..., 0], fits.errors(errors)[..., 0], letters)  # which one to take

The models, their order of preference and what makes a fit acceptable are those that `qiskit_mitigation` uses
in the client (``zne/extrapolation.py``), so that both agree; this is the same for thousands of data sets at
once. Errors are propagated through the fit's gradient, so they are in the units of the data's own errors, and
correlations between data sets can be taken along by whoever knows them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REQUIRED_FACTORS: dict[str, int] = {
    "exponential": 2,
    "double_exponential": 4,
    "linear": 2,
    "fallback": 1,
    **{f"polynomial_degree_{degree}": degree + 1 for degree in range(1, 8)},
}
"""Every extrapolator, and the number of noise factors that it needs."""

_STEPS = 80
_MAX_EXPONENT = 60.0
_SINGULAR = 1e13


@dataclass(frozen=True, slots=True)
class Fits:
    """What every extrapolator makes of every data set at every target.

    Where the data don't determine a fit its gradient is NaN; where there is none its value is, too.
    """

    values: Array
    gradients: Array

    def errors(self, errors: Array) -> Array:
        """Standard errors of ``values``, from those of the data ``(data sets, factors)``."""
        return np.sqrt(np.einsum("esxf,sf->esx", self.gradients**2, errors**2))


def extrapolate(
    extrapolators: Sequence[str], factors: Array, values: Array, errors: Array, targets: Array
) -> Fits:
    """Fit every model to every data set and evaluate it.

    Args:
        extrapolators: Names in `REQUIRED_FACTORS`, with no more parameters than there are factors.
        factors: Noise factors, ``(factors,)``.
        values: ``(data sets, factors)``; a data set with a value that isn't finite gives NaN.
        errors: Their standard errors; zero or infinite ones are replaced by the data set's smallest or
            largest other one, and if there is none all points weigh the same.
        targets: Noise factors to evaluate at, ``(targets,)``.

    Raises:
        ValueError: an extrapolator isn't known or needs more factors.
    """
    factors, targets = np.asarray(factors, float), np.asarray(targets, float)
    sigma = _usable(np.asarray(errors, float))
    # A correction of readout may have divided by zero; no model fits that.
    unknown: NDArray[np.bool_] = np.logical_not(np.isfinite(values).all(axis=1))
    values = np.where(unknown[:, None], 0.0, values)
    parts = []
    for name in extrapolators:
        if name not in REQUIRED_FACTORS:
            raise ValueError(f"extrapolator {name!r} isn't one of {', '.join(REQUIRED_FACTORS)}")
        if len(factors) < REQUIRED_FACTORS[name]:
            raise ValueError(f"{name} requires at least {REQUIRED_FACTORS[name]} noise_factors")
        if name == "fallback":
            parts.append(_lowest(factors, values, targets))
        elif name.endswith("exponential"):
            parts.append(_exponential(1 if name == "exponential" else 2, factors, values, sigma, targets))
        else:
            degree = 1 if name == "linear" else int(name.rpartition("_")[2])
            parts.append(_polynomial(degree, factors, values, sigma, targets))
    fits = Fits(np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts]))
    fits.values[:, unknown] = np.nan
    fits.gradients[:, unknown] = np.nan
    return fits


def choose(values: Array, errors: Array, letters: Sequence[str]) -> NDArray[np.int64]:
    """The first acceptable extrapolator of each data set, or the one with the smallest error if none is.

    A value is acceptable if it and its error are finite, the error isn't larger than the observable's largest
    value, and the value is within that distance of the observable's range.

    Args:
        values: At zero noise, ``(extrapolators, data sets)``.
        errors: Their standard errors.
        letters: The Pauli and projector letters of each data set's observable; its range is [0, 1] with
            projectors alone and [-1, 1] otherwise.
    """
    low = np.array([0.0 if re.fullmatch(r"[I01lr+\-]+", term) else -1.0 for term in letters])
    with np.errstate(invalid="ignore"):
        acceptable = (
            np.isfinite(values)
            & np.isfinite(errors)
            & (errors <= 1.0)
            & (values - errors >= low - 1.0)
            & (values + errors <= 2.0)
        )
    ranked = np.where(np.isfinite(errors), errors, np.inf)
    return np.where(acceptable.any(axis=0), acceptable.argmax(axis=0), ranked.argmin(axis=0)).astype(np.int64)


def _usable(errors: Array) -> Array:
    good = np.isfinite(errors) & (errors > 0)
    smallest = np.where(good, errors, np.inf).min(axis=1, keepdims=True)
    largest = np.where(good, errors, 0.0).max(axis=1, keepdims=True)
    none = ~good.any(axis=1, keepdims=True)
    filled = np.where(np.isnan(errors), np.inf, errors)
    return np.clip(filled, np.where(none, 1.0, smallest), np.where(none, 1.0, largest))


def _lowest(factors: Array, values: Array, targets: Array) -> tuple[Array, Array]:
    place = int(np.argmin(factors))
    gradient = np.zeros((len(values), len(targets), len(factors)))
    gradient[:, :, place] = 1.0
    return np.repeat(values[:, place : place + 1], len(targets), axis=1), gradient


def _polynomial(
    degree: int, factors: Array, values: Array, sigma: Array, targets: Array
) -> tuple[Array, Array]:
    weighted = np.vander(factors, degree + 1)[None] / sigma[:, :, None]
    solution = np.linalg.pinv(weighted) / sigma[:, None, :]
    gradient = np.einsum("xk,skf->sxf", np.vander(targets, degree + 1), solution)
    return np.einsum("sxf,sf->sx", gradient, values), gradient


def _exponential(
    terms: int, factors: Array, values: Array, sigma: Array, targets: Array
) -> tuple[Array, Array]:
    """Sums of exponentials by Levenberg and Marquardt; two of them may only decay."""
    limit = _MAX_EXPONENT / max(1.0, float(np.max(np.abs(np.concatenate([factors, targets])))))
    upper = limit if terms == 1 else 0.0
    theta = _seed(terms, factors, values, sigma, limit, upper)
    cost = _cost(theta, factors, values, sigma)
    damping = np.full(len(values), 1e-3)
    for _ in range(_STEPS):
        jacobian = _jacobian(theta, factors) / sigma[:, :, None]
        residual = (values - _model(theta, factors)) / sigma
        hessian = np.einsum("sfk,sfl->skl", jacobian, jacobian)
        slope = np.einsum("sfk,sf->sk", jacobian, residual)
        diagonal = np.einsum("skk->sk", hessian)
        damped = hessian + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(2 * terms)
        step = np.linalg.solve(damped, slope[:, :, None])[:, :, 0]
        tried = theta + step
        tried[:, 1::2] = np.clip(tried[:, 1::2], -limit, upper)
        new_cost = _cost(tried, factors, values, sigma)
        better = new_cost <= cost
        theta = np.where(better[:, None], tried, theta)
        done = np.abs(step) <= 1e-10 * (np.abs(theta) + 1e-10)
        cost = np.where(better, new_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-12, 1e12)
        if done.all():
            break
    return _evaluate(theta, factors, sigma, targets)


def _evaluate(theta: Array, factors: Array, sigma: Array, targets: Array) -> tuple[Array, Array]:
    jacobian = _jacobian(theta, factors) / sigma[:, :, None]
    hessian = np.einsum("sfk,sfl->skl", jacobian, jacobian)
    scale = np.sqrt(np.einsum("skk->sk", hessian))
    scale = np.where(scale > 0, scale, 1.0)
    hessian = hessian / (scale[:, :, None] * scale[:, None, :])
    with np.errstate(all="ignore"):
        singular = ~(np.linalg.cond(hessian) < _SINGULAR)
    # Where the data don't determine the parameters no error can be told; the fit is taken if no other is.
    hessian[singular] = np.eye(hessian.shape[-1])
    solution = np.linalg.solve(hessian, np.swapaxes(jacobian / scale[:, None, :], 1, 2))
    solution = solution / scale[:, :, None] / sigma[:, None, :]
    gradient = np.einsum("sxk,skf->sxf", _jacobian(theta, targets), solution)
    gradient[singular] = np.nan
    return _model(theta, targets), gradient


def _seed(terms: int, factors: Array, values: Array, sigma: Array, limit: float, upper: float) -> Array:
    """From a straight line through the logarithms, weighted by what their errors are there."""
    sign = np.sign(values[:, np.argmin(factors)])
    sign = np.where(sign == 0, 1.0, sign)
    size = np.clip(np.abs(values), 1e-15, None)
    line = np.vander(factors, 2)[None] * (size / sigma)[:, :, None]
    solution = np.linalg.pinv(line) @ (np.log(size) * size / sigma)[:, :, None]
    rate, start = solution[:, 0, 0], solution[:, 1, 0]
    if terms == 2:
        rate = -np.abs(rate)
    amplitude = sign * np.exp(np.clip(start, -_MAX_EXPONENT, _MAX_EXPONENT)) / terms
    columns = [column for k in range(terms) for column in (amplitude, np.clip(rate * (k + 1), -limit, upper))]
    return np.stack(columns, axis=1)


def _model(theta: Array, x: Array) -> Array:
    parts = [theta[:, k : k + 1] * np.exp(theta[:, k + 1 : k + 2] * x) for k in range(0, theta.shape[1], 2)]
    return np.sum(parts, axis=0, dtype=np.float64)


def _jacobian(theta: Array, x: Array) -> Array:
    columns = []
    for k in range(0, theta.shape[1], 2):
        power = np.exp(theta[:, k + 1 : k + 2] * x)
        columns += [power, theta[:, k : k + 1] * x * power]
    return np.stack(columns, axis=-1)


def _cost(theta: Array, factors: Array, values: Array, sigma: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.sum(((values - _model(theta, factors)) / sigma) ** 2, axis=1)
