"""For a notebook or a script: connecting the client to a Ketline server, and estimating before submitting."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit_ibm_runtime import QiskitRuntimeService
    from requests import PreparedRequest, Response


def connect(url: str, key: str, instance: str | None = None, **options: Any) -> QiskitRuntimeService:
    """A ``QiskitRuntimeService`` of the Ketline server at ``url``.

    Args:
        url: address of the server, for instance ``http://127.0.0.1:8000``.
        key: an API key of that server.
        instance: name or CRN of an instance; None leaves the choice to the client.
        options: further arguments of ``QiskitRuntimeService``.

    The client finds its token service, resource search and catalog through environment variables alone, and
    reads them again whenever it opens another instance. They are set for this process and stay set, so a
    process talks to one Ketline server at a time; ``QISKIT_FUNCTIONS_EXPERIMENTAL``, with which the client
    looks for no instances at all, is unset.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService

    os.environ.update(addresses(url))
    os.environ.pop("QISKIT_FUNCTIONS_EXPERIMENTAL", None)
    base = f"{url.rstrip('/')}/api/v1"
    return QiskitRuntimeService(
        channel="ibm_quantum_platform",
        token=key,
        url=url.rstrip("/"),
        instance=instance,
        url_resolver=lambda *_: base,
        **options,
    )


def addresses(url: str) -> dict[str, str]:
    """The environment variables through which the client finds the services beside the API."""
    base = url.rstrip("/")
    return {
        "IAM_URL": base,
        "GLOBAL_SEARCH_URL": base,
        "GLOBAL_CATALOG_URL": f"{base}/catalog/api/v1",
    }


def estimate(service: QiskitRuntimeService, submit: Callable[[], object]) -> dict[str, Any]:
    """What a job would use and cost, before it is submitted; nothing is queued, stored or billed.

    ::

        told = estimate(service, lambda: sampler.run([circuit]))
        told["estimated_running_time_seconds"], told["rounds"], told["limits"], told.get("cost")

    ``submit`` is called: what it would submit, encoded by the client's own code, is posted to
    ``/ketline/v1/estimate`` instead of ``/jobs``, and the answer is that of the first such job. What other
    threads submit meanwhile isn't touched. A primitive in a session or batch is estimated as a job there.

    Args:
        service: the service of the primitive, from `connect` or the client's own.
        submit: a call of a primitive's ``run``.

    Raises:
        qiskit_ibm_runtime.IBMRuntimeError: the payload is refused, with the code that its job would get.
        ValueError: ``submit`` submitted nothing, or the client keeps its connections in another way.
    """
    from requests.adapters import HTTPAdapter

    asking = get_ident()

    class Diverted(HTTPAdapter):
        def send(self, request: PreparedRequest, *given: Any, **more: Any) -> Response:
            base, jobs, rest = (request.url or "").rpartition(_JOBS)
            if request.method != "POST" or not jobs or rest or get_ident() != asking:
                return super().send(request, *given, **more)
            request.url = f"{base}/ketline/v1/estimate"
            answer = super().send(request, *given, **more)
            if answer.status_code == 200:
                raise _Estimated(answer.json())
            return answer

    try:
        sessions = [client._session for client in service._api_clients.values()]  # noqa: SLF001
    except AttributeError as error:
        raise ValueError(
            f"this version of the client keeps its connections in another way: {error}"
        ) from error
    before = [dict(session.adapters) for session in sessions]
    try:
        for session in sessions:
            for scheme, adapter in list(session.adapters.items()):
                session.mount(scheme, Diverted(max_retries=adapter.max_retries))
        submit()
    except _Estimated as estimated:
        return estimated.told
    finally:
        for session, adapters in zip(sessions, before, strict=True):
            for scheme, adapter in adapters.items():
                session.mount(scheme, adapter)
    raise ValueError("nothing was submitted, so nothing could be estimated")


_JOBS = "/api/v1/jobs"


class _Estimated(BaseException):
    """Carries the answer out through the client, which has no way to end a call without a job."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__("estimated instead of submitted")
        self.told = told
