"""Connecting a notebook or a script: a plain ``QiskitRuntimeService`` that talks to a Ketline server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit_ibm_runtime import QiskitRuntimeService


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
