"""The codes that decisions carry. `ketline.errors` has an entry of the same number for each."""

from __future__ import annotations

from typing import Final

INVALID_REQUEST: Final = 1215
BACKEND_NOT_FOUND: Final = 1216
SESSION_CLOSED: Final = 1217
INSTANCE_NOT_FOUND: Final = 1279
RAN_TOO_LONG: Final = 1305
JOB_NOT_CANCELLABLE: Final = 1306
NO_SESSIONS_ON_PLAN: Final = 1352
PENDING_JOB_LIMIT: Final = 3458
SESSION_NOT_FOUND: Final = 9101
LIMIT_EXCEEDED: Final = 9401
INSTANCE_ARCHIVED: Final = 9601
QPU_RETIRED: Final = 9602
JOB_CANCELLED: Final = 9603
WORKLOAD_CANCELLED: Final = 9604
WORKLOAD_CLOSED: Final = 9605
WORKLOAD_UNUSED: Final = 9606
WORKLOAD_EXPIRED: Final = 9607
USAGE_LIMIT: Final = 9608
QPU_GONE: Final = 9609
QPU_PAUSED: Final = 9610
