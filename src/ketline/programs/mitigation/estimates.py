"""From counts to expectation values, with errors that know what hangs together.

    estimates = estimate(measurement, runs, readout, extrapolation)
    estimates.fields["evs"], estimates.fields["stds"], …

Every estimate is a function of the means of single terms: a weighted sum, divided by readout factors
(`trex`), extrapolated over noise factors (`extrapolate`). Its error is propagated through the gradient of
that function to the data themselves, randomisation by randomisation, so terms measured together and terms
corrected with the same calibration enter with their covariances.

Fields are float64 arrays of the plan's ``shape`` (and more axes at the end):

``evs``, ``stds``
    The estimate and its standard error; from the spread over randomisations if there are several.
``ensemble_standard_error``
    The error as if all shots were one sample; without extrapolation only.
``evs_noise_factors``, ``stds_noise_factors``, ``ensemble_stds_noise_factors``
    With extrapolation: at each noise factor, ``(*shape, factors)``.
``evs_extrapolated``, ``stds_extrapolated``
    With extrapolation: each extrapolator at each target, ``(*shape, extrapolators, targets)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ketline.programs.mitigation.counts import Counts
from ketline.programs.mitigation.extrapolate import choose, extrapolate
from ketline.programs.mitigation.observables import MeasurementPlan
from ketline.programs.mitigation.trex import Readout

Array = NDArray[np.float64]

_POINTS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Run:
    """What came out at one noise factor.

    Set ``first + r * n_settings + s`` is setting ``s`` in randomisation ``r``. ``factors`` float64 ``(sets
    of counts,)`` multiplies the results of every set (signs times gamma).
    """

    counts: Counts
    randomizations: int
    first: int = 0
    factors: Array | None = None


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """Over which noise factors (one for each run), how, and to where besides zero."""

    noise_factors: tuple[float, ...]
    extrapolators: tuple[str, ...]
    targets: tuple[float, ...]


@dataclass(slots=True)
class Estimates:
    """The fields described above, and the extrapolator that was chosen for every element and term."""

    fields: dict[str, Array] = field(default_factory=dict)
    extrapolators: list[list[str]] = field(default_factory=list)


@dataclass(slots=True)
class _Terms:
    """The terms of one observable at some points, as measured.

    Axes: runs f, randomisations r, points p, terms t.
    """

    letters: NDArray[np.uint8]
    bases: NDArray[np.int64]
    sets: list[NDArray[np.int64]]
    samples: list[Array]
    means: Array


def estimate(
    plan: MeasurementPlan,
    runs: list[Run],
    readout: Readout | None = None,
    extrapolation: Extrapolation | None = None,
) -> Estimates:
    """Estimate every element of a plan.

    Args:
        plan: What was measured.
        runs: One without, or one for every noise factor with extrapolation.
        readout: The calibration to correct with; its qubits include the plan's.
        extrapolation: How to extrapolate the runs.
    """
    count = len(plan.elements)
    shapes: dict[str, tuple[int, ...]] = {"evs": (), "stds": ()}
    if extrapolation is None:
        shapes["ensemble_standard_error"] = ()
    else:
        factors = (len(extrapolation.noise_factors),)
        evaluated = (len(extrapolation.extrapolators), len(extrapolation.targets))
        shapes |= {
            "evs_noise_factors": factors,
            "stds_noise_factors": factors,
            "ensemble_stds_noise_factors": factors,
            "evs_extrapolated": evaluated,
            "stds_extrapolated": evaluated,
        }
    flat = {name: np.zeros((count, *shape)) for name, shape in shapes.items()}
    chosen: list[list[str]] = [[] for _ in range(count)]

    setting_of = np.full(
        (int(np.max(plan.elements[:, 0], initial=0)) + 1, max(1, len(plan.bases))), -1, np.int64
    )
    setting_of[plan.settings[:, 0], plan.settings[:, 1]] = np.arange(len(plan.settings))
    by_observable = np.argsort(plan.elements[:, 1], kind="stable")
    starts = np.searchsorted(plan.elements[by_observable, 1], np.arange(len(plan.constants) + 1))
    for k in range(len(plan.constants)):
        places = by_observable[starts[k] : starts[k + 1]]
        terms = slice(plan.bounds[k], plan.bounds[k + 1])
        constant = plan.constants[k]
        for name, array in flat.items():
            if name.startswith("evs"):
                array[places] = constant
        if terms.start == terms.stop:
            continue
        size = max(run.randomizations for run in runs) * (terms.stop - terms.start)
        step = max(1, _POINTS_AT_ONCE // size)
        for begin in range(0, len(places), step):
            some = places[begin : begin + step]
            measured = _measure(plan, terms, setting_of[plan.elements[some, 0]], runs)
            part, names = _combine(plan, terms, measured, runs, readout, extrapolation)
            for name, value in part.items():
                flat[name][some] += value
            for place, name_list in zip(some, names, strict=True):
                chosen[place] = name_list
    fields = {name: value.reshape(plan.shape + value.shape[1:]) for name, value in flat.items()}
    return Estimates(fields, chosen if extrapolation is not None else [])


def _measure(plan: MeasurementPlan, terms: slice, setting_of: NDArray[np.int64], runs: list[Run]) -> _Terms:
    letters, bases = plan.letters[terms], plan.term_bases[terms]
    samples, sets = [], []
    for run in runs:
        shape = (run.randomizations, len(setting_of))
        sample = np.empty((*shape, len(letters)))
        for basis in np.unique(bases):
            here = _sets(run, setting_of[:, basis], len(plan.settings))
            columns = np.flatnonzero(bases == basis)
            sample[:, :, columns] = run.counts.means(here, letters[columns])
            if run.factors is not None:
                sample[:, :, columns] *= run.factors[here][:, :, None]
        samples.append(sample)
        sets.append(
            np.stack([_sets(run, setting_of[:, basis], len(plan.settings)) for basis in np.unique(bases)])
        )
    means = np.stack([sample.mean(axis=0) for sample in samples])
    return _Terms(letters, bases, sets, samples, means)


def _sets(run: Run, settings: NDArray[np.int64], n_settings: int) -> NDArray[np.int64]:
    return run.first + np.arange(run.randomizations)[:, None] * n_settings + settings[None, :]


def _combine(
    plan: MeasurementPlan,
    terms: slice,
    measured: _Terms,
    runs: list[Run],
    readout: Readout | None,
    extrapolation: Extrapolation | None,
) -> tuple[dict[str, Array], list[list[str]]]:
    coefficients = plan.coefficients[terms]
    shrunk, calibration = np.ones(len(coefficients)), None
    if readout is not None:
        calibration = readout.factors(plan.qubits, measured.letters)
        shrunk = calibration.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = measured.means / shrunk

    def error(weights: Array, pooled: bool = False) -> Array:
        """Error of ``sum over f, t of weights[f, p, t] * values[f, p, t]`` for every point."""
        variance = _variance(measured, runs, weights / shrunk, pooled)
        if calibration is not None:
            slope = -(weights * values / shrunk).sum(axis=0)
            variance = variance + _calibration_variance(calibration, slope, readout)
        return np.sqrt(np.maximum(variance, 0.0))

    def at(run: int) -> Array:
        weights = np.zeros_like(values)
        weights[run] = coefficients
        return weights

    with np.errstate(divide="ignore", invalid="ignore"):
        each = values @ coefficients
        if extrapolation is None:
            weights = at(0)
            part = {
                "evs": each[0],
                "stds": error(weights),
                "ensemble_standard_error": error(weights, pooled=True),
            }
            return part, [[] for _ in each[0]]
        part = {
            "evs_noise_factors": each.T,
            "stds_noise_factors": np.stack([error(at(f)) for f in range(len(runs))], axis=1),
            "ensemble_stds_noise_factors": np.stack(
                [error(at(f), pooled=True) for f in range(len(runs))], axis=1
            ),
        }
        names = _extrapolated(measured, runs, values, shrunk, coefficients, extrapolation, error, part)
    return part, names


def _extrapolated(
    measured: _Terms,
    runs: list[Run],
    values: Array,
    shrunk: Array,
    coefficients: Array,
    extrapolation: Extrapolation,
    error: Callable[[Array], Array],
    part: dict[str, Array],
) -> list[list[str]]:
    """Fill in what is extrapolated, and tell which extrapolator each term of each point took."""
    n_factors, points, n_terms = values.shape
    single = np.zeros((n_factors, points, n_terms))
    for t in range(n_terms):
        weights = np.zeros((1, points, n_terms))
        weights[0, :, t] = 1.0 / shrunk[t]
        for f in range(n_factors):
            padded = np.zeros_like(values)
            padded[f] = weights[0]
            single[f, :, t] = np.sqrt(np.maximum(_variance(measured, runs, padded, False), 0.0))
    flat = values.reshape(n_factors, -1).T
    errors = single.reshape(n_factors, -1).T
    targets = np.array([0.0, *extrapolation.targets])
    fits = extrapolate(
        extrapolation.extrapolators, np.array(extrapolation.noise_factors), flat, errors, targets
    )
    letters = ["0" if ((row > 0) <= (row >> 2 > 0)).all() else "Z" for row in measured.letters] * points
    choice = choose(fits.values[:, :, 0], fits.errors(errors)[:, :, 0], letters)
    rows = np.arange(len(choice))

    def weights_of(gradient: Array) -> Array:
        return np.moveaxis(gradient.reshape(points, n_terms, n_factors), 2, 0) * coefficients

    part["evs"] = fits.values[choice, rows, 0].reshape(points, n_terms) @ coefficients
    part["stds"] = _told(part["evs"], error(weights_of(fits.gradients[choice, rows, 0])))
    n_extrapolators, n_targets = len(extrapolation.extrapolators), len(extrapolation.targets)
    part["evs_extrapolated"] = np.empty((points, n_extrapolators, n_targets))
    part["stds_extrapolated"] = np.empty((points, n_extrapolators, n_targets))
    for e in range(n_extrapolators):
        for x in range(n_targets):
            value = fits.values[e, :, x + 1].reshape(points, n_terms) @ coefficients
            part["evs_extrapolated"][:, e, x] = value
            own = error(weights_of(fits.gradients[e, :, x + 1]))
            part["stds_extrapolated"][:, e, x] = _told(value, own)
    names = np.array(extrapolation.extrapolators)[choice].reshape(points, n_terms)
    chosen: list[list[str]] = names.tolist()
    return chosen


def _told(values: Array, errors: Array) -> Array:
    """Errors, infinite where there is a value of which no error can be told."""
    return np.where(np.isnan(errors) & np.isfinite(values), np.inf, errors)


def _variance(measured: _Terms, runs: list[Run], weights: Array, pooled: bool) -> Array:
    """Variance of the weighted sum of means: terms of one basis together, bases and runs apart."""
    total = np.zeros(measured.means.shape[1])
    for f, run in enumerate(runs):
        if not np.any(weights[f]):
            continue
        for group, basis in enumerate(np.unique(measured.bases)):
            columns = np.flatnonzero(measured.bases == basis)
            weight = weights[f][:, columns]
            if run.randomizations > 1 and not pooled:
                sums = np.einsum("rpt,pt->rp", measured.samples[f][:, :, columns], weight)
                total += sums.var(axis=0, ddof=1) / run.randomizations
                continue
            sets = measured.sets[f][group]
            gain = 1.0 if run.factors is None else float(np.abs(run.factors[sets]).max()) ** 2
            squares = run.counts.square(sets, measured.letters[columns], weight) * gain
            mean = (measured.means[f][:, columns] * weight).sum(axis=1)
            shots = run.randomizations * run.counts.shots
            total += (squares - mean**2) / max(1, shots - 1)
    return total


def _calibration_variance(calibration: Array, slope: Array, readout: Readout | None) -> Array:
    """Variance that the calibration's own errors bring, by its randomisations or, with one, its shots."""
    if len(calibration) > 1:
        return (calibration @ slope.T).var(axis=0, ddof=1) / len(calibration)
    assert readout is not None
    spread = np.maximum(1.0 - calibration[0] ** 2, 0.0)
    return (slope**2 * spread).sum(axis=1) / max(1, readout.counts.shots - 1)
