"""Which jobs are about to end."""

from datetime import UTC, datetime, timedelta

import pytest

from ketline.api.holding import seconds_to_end
from ketline.core.model import JobStatus, Stage
from ketline.service.views import JobView

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _job(stage, estimate=None, on_qpu_for=None, workload=None):
    return JobView(
        job_id="j", instance_id="i", user_id="u", backend="b", program="sampler", status=JobStatus.RUNNING,
        stage=stage, reason=None, created_at=NOW, running_at=NOW, finished_at=None, workload_id=workload,
        tags=(), cost_seconds=60.0, estimate_seconds=estimate, usage_seconds=0.0, qpu_seconds=0.0,
        private=False, calibration_id=None, caller="", revision=1,
        locked_at=None if on_qpu_for is None else NOW - timedelta(seconds=on_qpu_for),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (_job(Stage.FINALIZING), 1.0),
        (_job(Stage.PREPARING, 0.1), 0.0),
        (_job(Stage.WAITING_QPU, 0.1), 0.0),
        (_job(Stage.ON_QPU, None, 1.0), 0.0),
        (_job(Stage.ON_QPU, 2.0, 1.8), 0.5),
        (_job(Stage.ON_QPU, 2.0, 2.2), 0.1),
        (_job(Stage.ON_QPU, 2.0, 3.0), 0.0),
        (_job(Stage.ON_QPU, 2.0, 1.0), 0.0),
        (_job(Stage.ON_QPU, 2.0, 1.8, "session"), 0.0),
        (_job(Stage.ON_QPU, 2.0, 1.95, "session"), 0.35),
    ],
)
def test_an_end_before_the_next_poll_is_waited_for(job, expected):
    assert seconds_to_end(job, NOW) == pytest.approx(expected, abs=1e-6)
