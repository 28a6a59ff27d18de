"""The centre's state for a monitoring system, in the text format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response

from ketline.api.asked import Query
from ketline.api.operations import Call, Operation
from ketline.core.model import QpuMode

_TEXT = "text/plain; version=0.0.4"

Sample = tuple[dict[str, str], float]


async def get_centre_metrics(call: Call) -> Response:
    """QPUs, queues and workers as Prometheus reads them; for administrators and managers.

    A scraper sends `Authorization: apikey <API key>`. What was used is in the ledger.
    """
    Query(call.query, ())
    qpus = await call.runtime.qpus(call.who)
    health = await call.runtime.health()
    workers = health["workers"]
    lines = [
        *_gauge(
            "ketline_qpu_mode",
            "1 for the mode that the QPU is in, 0 for the others.",
            [
                ({"qpu": qpu.name, "mode": mode.value}, float(qpu.mode is mode))
                for qpu in qpus
                for mode in QpuMode
            ],
        ),
        *_gauge(
            "ketline_qpu_ready",
            "Whether the QPU's process is up.",
            [({"qpu": qpu.name}, float(bool(qpu.process.get("ready")))) for qpu in qpus],
        ),
        *_gauge(
            "ketline_qpu_process_starts",
            "How often the QPU's process was started.",
            [({"qpu": qpu.name}, float(qpu.process.get("starts", 0))) for qpu in qpus],
        ),
        *_gauge(
            "ketline_qpu_queue_length",
            "Unfinished jobs of the QPU.",
            [({"qpu": qpu.name}, float(qpu.queue_length)) for qpu in qpus],
        ),
        *_gauge(
            "ketline_qpu_lanes", "Lanes of the QPU.", [({"qpu": qpu.name}, float(qpu.lanes)) for qpu in qpus]
        ),
        *_gauge(
            "ketline_workers",
            "Compute workers that are ready, and those of them that are busy.",
            [({"state": state}, float(workers[state])) for state in ("ready", "busy")],
        ),
        *_gauge("ketline_tasks_waiting", "Tasks that wait for a worker.", [({}, float(workers["waiting"]))]),
        *_gauge("ketline_jobs_unfinished", "Jobs that haven't ended.", [({}, health["jobs"]["unfinished"])]),
        *_gauge("ketline_workloads_open", "Open sessions and batches.", [({}, health["workloads"]["open"])]),
    ]
    return Response("\n".join([*lines, ""]).encode(), media_type=_TEXT)


def _gauge(name: str, meaning: str, samples: Iterable[Sample]) -> list[str]:
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        # Names of QPUs and modes hold nothing that would have to be escaped.
        told = ",".join(f'{key}="{text}"' for key, text in labels.items())
        lines.append(f"{name}{{{told}}} {value:g}" if told else f"{name} {value:g}")
    return lines


OPERATIONS = (
    Operation("GET", "/ketline/v1/metrics", get_centre_metrics, access="owner", media_type="text/plain"),
)
