"""A running server, asked over its REST interface with the administrator's key."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Literal

from ketline.cli.data_folder import local_url
from ketline.cli.output import Refusal

ADMINISTRATOR_KEY = "administrator.key"
TIMEOUT_SECONDS = 60
_UNKNOWN_KEY = "BXNIM0415E"
"""How the token exchange refuses a key (``rest.md`` A.3)."""
GRANT = "urn:ibm:params:oauth:grant-type:apikey"

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Query = Mapping[str, str | int | Sequence[str] | None]


class Remote:
    """The server that works in a data folder. Every refusal of the server becomes a `Refusal`."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        form = urllib.parse.urlencode({"grant_type": GRANT, "apikey": key}).encode()
        self._headers: dict[str, str] = {}
        told = json.loads(self._read(urllib.request.Request(f"{url}/identity/token", form)))  # noqa: S310
        self._headers["Authorization"] = f"Bearer {told['access_token']}"

    @classmethod
    def of(cls, data: Path) -> Remote:
        """The server of a folder, asked as its administrator."""
        folder = data.expanduser().resolve()
        url = local_url(folder)
        if url is None:
            raise Refusal(f"{data}: no server is running.", f"Start it: `ketline serve --data {data}`.")
        try:
            key = (folder / ADMINISTRATOR_KEY).read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            raise Refusal(
                f"{data}: the administrator's key isn't there any more.",
                f"Put it back into {folder / ADMINISTRATOR_KEY}.",
            ) from error
        try:
            return cls(url, key)
        except Refusal as refused:
            if _UNKNOWN_KEY not in refused.message:
                raise
            raise Refusal(
                f"{folder / ADMINISTRATOR_KEY}: the server doesn't know this key, or it was revoked.",
                "Put a working key of an administrator there: `ketline keys create` makes one.",
            ) from refused

    def ask(
        self,
        method: Method,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        crn: str | None = None,
    ) -> dict[str, Any]:
        """The JSON that the server answers; empty when it answers nothing. ``crn`` names an instance."""
        content = self._read(self._request(method, path, query, body, crn))
        told: dict[str, Any] = json.loads(content) if content else {}
        return told

    def save(self, path: str, file: Path, *, query: Query | None = None, crn: str | None = None) -> None:
        """Write what the server answers into a file, piece by piece."""
        with (
            self._answering(),
            self._open(self._request("GET", path, query, None, crn)) as answer,
            file.open("wb") as output,
        ):
            while piece := answer.read(1 << 20):
                output.write(piece)

    def instances(self) -> dict[str, str]:
        """The CRNs of all instances, by name."""
        found = self.ask("GET", "/ketline/v1/instances")["instances"]
        return {instance["name"]: instance["crn"] for instance in found}

    def _request(
        self, method: Method, path: str, query: Query | None, body: Mapping[str, Any] | None, crn: str | None
    ) -> urllib.request.Request:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(given, doseq=True)}" if given else "")
        headers = dict(self._headers)
        if crn is not None:
            headers["Service-CRN"] = crn
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        return urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - our own server

    def _read(self, request: urllib.request.Request) -> bytes:
        with self._answering(), self._open(request) as answer:
            return answer.read()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Refusals, and answers that don't come or break off, as a `Refusal`."""
        try:
            yield
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read()) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
            why = getattr(error, "reason", error)
            raise Refusal(f"{self.url} doesn't answer: {why or type(error).__name__}") from error

    @staticmethod
    def _open(request: urllib.request.Request) -> HTTPResponse:
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
        return answer


def quoted(name: str) -> str:
    """A name as a part of a path."""
    return urllib.parse.quote(name, safe="")


def _refusal(status: int, content: bytes) -> Refusal:
    try:
        first = json.loads(content)["errors"][0]
        message = first["message"].rstrip(".")
        return Refusal(f"{message} ({first['code']}).", first.get("solution") or "")
    except (ValueError, LookupError, TypeError):
        return Refusal(f"the server answered {status}: {content[:200].decode(errors='replace')}")
