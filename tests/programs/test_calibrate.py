"""Calibrate: circuits on all qubits, times in the result."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from lab import context, decoded, device_noise, posted, work
from qiskit_ibm_runtime import Calibrator
from qiskit_ibm_runtime.decoders.calibrator.decoder import CalibratorResultDecoder

from ketline.programs.base import Result, open_params, program
from ketline.units.errors import JobError


def test_the_client_reads_the_times() -> None:
    program_id, raw = posted(Calibrator, lambda calibrator: calibrator.run())
    assert program_id == "calibrate"
    body = work("calibrate", raw, context(), noise=device_noise())
    result = CalibratorResultDecoder.decode(body.decode())
    assert result.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert result.start < result.stop
    assert decoded(body)["schema_version"] == "v0.1"


def test_it_asks_for_a_calibration_and_reads_all_qubits() -> None:
    from lab import run_unit

    made = program("calibrate")
    where = context()
    step = made.prepare(open_params(b'{"schema_version": "v0.1", "options": {}}', where.limits), where)
    outcome = run_unit(step.unit)
    assert [int(item.bits["c"][0, 0, 0]) for item in outcome.items] == [0, 0b11111]
    ended = made.finalize(step.state, outcome, where)
    assert isinstance(ended, Result)
    assert ended.calibrate


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"options": {}}, "schema_version"),
        ({"schema_version": "v0.1", "options": {"deep": True}}, "deep"),
        ({"schema_version": "v0.1", "options": {"experimental": {"x": 1}}}, "x"),
    ],
)
def test_what_is_wrong_is_named(params: dict[str, object], words: str) -> None:
    with pytest.raises(JobError, match=words):
        work("calibrate", json.dumps(params).encode(), context())
