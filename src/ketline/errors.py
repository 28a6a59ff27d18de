"""Every error, once: code, HTTP status, what it means and what to do. The reference page is made from this.

Codes below 9000 are those of IBM's registry where their meaning is confirmed (``rest.md`` G); Ketline's own
start at 9100. ``status`` is None for codes that only ever appear as the reason of a job or a workload.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One entry of the registry. ``message`` is a template for ``str.format``."""

    code: int
    status: int | None
    title: str
    message: str
    solution: str


class KetlineError(Exception):
    """An error with an entry in the registry; its fields fill the entry's message.

    ``retry_after_seconds`` may be set to tell the client when to come again.
    """

    retry_after_seconds: float | None = None

    def __init__(self, kind: ErrorKind, **fields: object) -> None:
        self.kind = kind
        self.message = kind.message.format(**fields)
        self.solution = kind.solution.format(**fields)
        super().__init__(self.message)


REGISTRY: dict[int, ErrorKind] = {}


def _define(code: int, status: int | None, title: str, message: str, solution: str) -> ErrorKind:
    if code in REGISTRY:
        raise ValueError(f"error code {code} is defined twice")
    REGISTRY[code] = kind = ErrorKind(code, status, title, message, solution)
    return kind


NOT_AUTHORIZED = _define(
    1200,
    403,
    "Not authorized",
    "{who} may not {action}.",
    "Ask an administrator for the role that allows it.",
)
BAD_CREDENTIALS = _define(
    1201, 401, "Bad credentials", "{why}", "Check the API key, or make a new one with `ketline keys create`."
)
TOO_MANY_REQUESTS = _define(
    1202, 429, "Too many requests",
    "The limit of {limit} submissions per {period_seconds} s is reached.",
    "Wait for the seconds given in Retry-After, then submit again.",
)  # fmt: skip
TOO_MANY_TAGS = _define(
    1204, 400, "Too many tags", "A job may carry 8 tags; tags has {count}.", "Send at most 8 tags."
)
TAG_TOO_LONG = _define(
    1205, 400, "Tag too long", "A tag may have 86 characters; {tag!r} has {length}.", "Shorten the tag."
)
INVALID_REQUEST = _define(
    1215,
    400,
    "Invalid request",
    "{field}: {problem}",
    "Correct the field {field} and send the request again.",
)
BACKEND_NOT_FOUND = _define(
    1216, 404, "Backend not found", "There is no backend {name!r} for this instance.",
    "List the backends with GET /backends or `ketline qpus list`.",
)  # fmt: skip
SESSION_CLOSED = _define(
    1217, 400, "Session closed", "Session {workload_id} has been closed{why}.",
    "Open another session or batch and submit there.",
)  # fmt: skip
SESSION_NOT_FOUND = _define(
    9101, 404, "Session not found", "There is no session or batch {workload_id!r} in this instance.",
    "Check the id, and the instance that the request names.",
)  # fmt: skip
INSTANCE_NOT_FOUND = _define(
    1279, 404, "Instance not found", "There is no instance {instance!r} for this key.",
    "List the instances with `ketline instances list`.",
)  # fmt: skip
KEY_NOT_FOUND = _define(
    9709, 404, "Key not found", "There is no key {key_id!r} that this key may revoke.",
    "List the keys with `ketline keys list`.",
)  # fmt: skip
JOB_NOT_FOUND = _define(
    1291, 404, "Job not found", "Job not found. Job ID: {job_id}",
    "Check the id, and the instance that the request names.",
)  # fmt: skip
RAN_TOO_LONG = _define(
    1305, None, "Ran too long", "Ran too long: the job reached its limit of {limit_seconds:g} s on the QPU.",
    "Raise max_execution_time, or split the job.",
)  # fmt: skip
JOB_NOT_CANCELLABLE = _define(
    1306, 409, "Job not cancellable", "Job {job_id} is already {status}.", "Nothing is left to be cancelled."
)
JOB_NOT_FINAL = _define(
    1337, 409, "Job not final", "Job {job_id} is {status}; only a finished job can be deleted.",
    "Cancel the job first, or wait for its end.",
)  # fmt: skip
NO_SESSIONS_ON_PLAN = _define(
    1352, 400, "No sessions on this plan",
    "You are not authorized to run a session when using the {plan} plan.",
    "Create an instance of a different plan type or use a different execution mode.",
)  # fmt: skip
NO_SUCH_PATH = _define(
    9110, 404, "No such path", "There is nothing at {path}.",
    "Check the path; GET /ketline/v1/openapi.json lists what there is.",
)  # fmt: skip
METHOD_NOT_ALLOWED = _define(
    9111, 405, "Method not allowed", "{method} isn't possible at {path}.", "Use one of: {allowed}."
)
PAYLOAD_TOO_LARGE = _define(
    9112, 413, "Payload too large", "The body may have {limit} bytes, and has more.",
    "Split the job into several, or ask an administrator to raise server.max_payload_bytes.",
)  # fmt: skip
PLAN_NOT_FOUND = _define(
    9113, 404, "Plan not found", "There is no plan {plan_id!r} among those of this key.",
    "Search for the instances of this key; each names its plan.",
)  # fmt: skip
ERROR_CODE_NOT_FOUND = _define(
    9114, 404, "Error code not found", "There is no error with the code {code!r}.",
    "GET /ketline/v1/errors lists them all.",
)  # fmt: skip
CANNOT_SIMULATE = _define(
    9301, None, "Cannot be simulated", "{what} can't be simulated: {why}.",
    "Use fewer qubits, a shallower circuit or fewer shots, or raise memory_bytes of the QPU.",
)  # fmt: skip
NOT_EMULATED = _define(
    9302, None, "Not emulated", "{field}: the emulator can't do that{why}.",
    "Leave the option out, or run on a QPU that has it.",
)  # fmt: skip
QPU_OUT_OF_MEMORY = _define(
    9303, None, "Out of memory on the QPU",
    "The job needed more than the {limit_bytes} bytes of the QPU {qpu}.",
    "Split the job, or raise memory_bytes of the QPU.",
)  # fmt: skip
QPU_PROCESS_DIED = _define(
    9304, None, "QPU process died", "The process of the QPU {qpu} died while it ran the job{why}.",
    "Submit the job again; if it happens again, split the job.",
)  # fmt: skip
QPU_FAULT = _define(
    9305, None, "QPU fault", "The QPU {qpu} failed while it ran the job: {why}.",
    "Submit the job again; if it fails again, tell the operator of the QPU.",
)  # fmt: skip
PENDING_JOB_LIMIT = _define(
    3458, 400, "Pending-job limit", "The limit of {limit} unfinished jobs is reached.",
    "Wait until a job has finished, or cancel one.",
)  # fmt: skip
INSTANCE_ARCHIVED = _define(
    9601, 403, "Instance archived", "Instance {instance!r} is archived.",
    "Use another instance, or ask an administrator to reactivate this one.",
)  # fmt: skip
QPU_RETIRED = _define(9602, 400, "Backend retired", "Backend {name!r} is retired.", "Choose another backend.")
JOB_CANCELLED = _define(
    9603, None, "Job cancelled", "The job was cancelled on request.", "Submit it again if it is still wanted."
)
WORKLOAD_CANCELLED = _define(
    9604, None, "Session cancelled",
    "The session or batch {workload_id} was cancelled: queued jobs were dropped, running ones finish.",
    "Submit again outside, or in another session or batch.",
)  # fmt: skip
WORKLOAD_CLOSED = _define(
    9605, None, "Session closed by its user", "The session or batch was closed by its user.",
    "Open another one for further jobs.",
)  # fmt: skip
WORKLOAD_UNUSED = _define(
    9606, None, "Session unused", "There was no job to run for 30 minutes.",
    "Open another one when jobs are ready.",
)  # fmt: skip
WORKLOAD_EXPIRED = _define(
    9607, None, "Session expired", "The maximum time to live of {max_ttl_seconds:g} s was reached.",
    "Open another one for further jobs; a longer max_time gives them longer.",
)  # fmt: skip
USAGE_LIMIT = _define(
    9608, None, "Usage limit reached", "The instance reached its limit of {limit_seconds:g} s.",
    "Raise the instance's limit, or wait until usage leaves the window.",
)  # fmt: skip
QPU_GONE = _define(
    9609, None, "Backend removed", "Backend {name!r} was removed while the job waited.",
    "Submit to another backend.",
)  # fmt: skip
QPU_PAUSED = _define(
    9610, None, "Backend paused", "{name} was paused by itself: {why}.",
    "An administrator puts it online again when it is well.",
)  # fmt: skip
CANNOT_LISTEN = _define(
    9115, None, "Can't listen", "The server can't listen on {host} port {port}: {why}.",
    "Choose another address with --host and --port, or end what uses this one.",
)  # fmt: skip
NOT_IN_TARGET = _define(
    1517, None, "Not in the instruction set",
    "The instruction {name} on qubits {qubits} is not supported by the target system.",
    "Transform the circuit with generate_preset_pass_manager(backend=backend) first.",
)  # fmt: skip
CIRCUIT_REJECTED = _define(
    1602, None, "Circuit rejected", "{field}: {problem}", "Correct the circuit and submit it again."
)
INPUT_NOT_READ = _define(
    1603, None, "Input can't be read", "{field}: {problem}", "Post what the client's encoder writes."
)
LIMIT_EXCEEDED = _define(
    9401, None, "Limit exceeded", "{what}: {value:,} exceeds the limit of {limit:,}.",
    "Split the job, or make its circuits shorter.",
)  # fmt: skip
OPTION_REFUSED = _define(
    9402, None, "Option refused", "options.{name}: {problem}", "Change or remove options.{name}."
)
TASK_TOO_LONG = _define(
    9701, None, "Classical work took too long", "{doing} the job took longer than {limit_seconds:g} s.",
    "Split the job into smaller ones.",
)  # fmt: skip
TASK_OUT_OF_MEMORY = _define(
    9702, None, "Classical work ran out of memory",
    "{doing} the job wanted more than {limit_bytes} bytes of memory.", "Split the job into smaller ones.",
)  # fmt: skip
TASK_FAILED = _define(
    9703, None, "Classical work failed", "{doing} the job failed: {why}.",
    "Submit the job again; if it fails again, report the job's id.",
)  # fmt: skip
PROGRAM_NOT_FOUND = _define(
    9704, 404, "Program not found", "There is no program {program!r}; installed are {installed}.",
    "Use one of the installed programs.",
)  # fmt: skip
LIMIT_BELOW_USAGE = _define(
    9611, 409, "Limit below usage",
    "The instance has used {used:.6g} s already; a limit of {limit:g} s lies below that.",
    "Set a limit above what was used, or wait until usage leaves the window.",
)  # fmt: skip
TOO_MANY_ESTIMATES = _define(
    9708, 429, "Too many estimates",
    "Estimates are being made already: {mine} for a user or {all} for all is the most at a time.",
    "Ask again after the seconds given in Retry-After.",
)  # fmt: skip
STORAGE_FAILED = _define(
    9705, 507, "Nothing stored", "The job could not be stored: {why}.",
    "Nothing was kept of it. Tell the operator of the server, and submit it again later.",
)  # fmt: skip
CALIBRATION_NOT_FOUND = _define(
    9706, 404, "Calibration not found", "Backend {name!r} has no calibration {calibration_id!r}.",
    "Leave calibration_id out to use the current one.",
)  # fmt: skip
INTERNAL = _define(
    9999, 500, "Internal error", "An internal error happened; nothing was stored.",
    "Send the request again; if it fails again, report the trace id.",
)  # fmt: skip
