"""A data folder as the verbs see it, beside a server that may be running there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ketline.api.money import cost_of_all, rates_of
from ketline.cli.data_folder import server_url
from ketline.cli.options import settings_of
from ketline.cli.output import Refusal
from ketline.cli.remote import Remote
from ketline.client import addresses
from ketline.config import ConfigError, InstanceSettings, QpuSettings, Settings
from ketline.core.model import JobStatus
from ketline.errors import INSTANCE_NOT_FOUND, JOB_NOT_FOUND, SESSION_NOT_FOUND, KetlineError
from ketline.service.administration import Administration, Enrolment
from ketline.service.data import DataFolder
from ketline.service.keys import Role
from ketline.service.records import job_from_row, job_view_from_row, workload_from_row, workload_view
from ketline.service.splitting import split
from ketline.service.views import InstanceView, UsagePart
from ketline.store import ledger, queries
from ketline.store.schema import StoreError
from ketline.store.store import Store

Row = dict[str, Any]


class Centre:
    """Keys, instances, QPUs, jobs, sessions and batches of a data folder, as rows to be printed.

    A folder without data is refused unless ``make`` says that it may be prepared.
    """

    def __init__(self, data: Path, config: Path | None, *, make: bool = False) -> None:
        self.settings: Settings = settings_of(config, data)
        self._folder = data.expanduser().resolve()
        url = DataFolder(self._folder).database_url(self.settings)
        if (
            not make
            and self.settings.store.database_url is None
            and not (self._folder / "ketline.db").exists()
        ):
            raise Refusal(
                f"{data}: there is no data of a server.",
                "Name its folder with --data, or start one: `ketline serve --data DIR`.",
            )
        try:
            self._administration = Administration(self._folder, self.settings)
            self._store = Store(url, failed=lambda _: None, readers=1)
        except (StoreError, ConfigError, OSError) as error:
            raise Refusal(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()
        self._administration.close()

    def environment(self, instance: str) -> dict[str, str]:
        """The variables that point the client at this server, in an instance."""
        view = self._instance(instance)
        key = self._administration.administrator_key()
        if key is None:
            raise Refusal(
                "the administrator's key isn't in the data folder any more.",
                "Make one with `ketline keys create`, and set QISKIT_IBM_TOKEN to it yourself.",
            )
        url = self._url()
        return {
            **addresses(url),
            "QISKIT_IBM_URL": f"{url}/experimental/api/v1",
            "QISKIT_IBM_TOKEN": key,
            "QISKIT_IBM_INSTANCE": view.crn,
        }

    def _url(self) -> str:
        """Where the server is, or will be when it is started with this configuration."""
        server = self.settings.server
        running = server_url(self._folder)
        if running is not None:
            return running
        if server.public_url:
            return server.public_url.rstrip("/")
        if server.port == 0:
            raise Refusal(
                "the server isn't running, and takes a free port when it starts.", "Start it first."
            )
        host = "127.0.0.1" if server.host in {"0.0.0.0", "::"} else server.host  # noqa: S104 - compared
        return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"

    def keys(self) -> list[Row]:
        """All keys, without their secrets."""
        found = self._administration.keys()
        return [self._key_row(dataclasses.asdict(key)) for key in found]

    def create_key(self, user: str, name: str, role: Role, instances: list[str]) -> Row:
        """A new key; the row holds the key itself, this once."""
        view, text = self._administration.create_key(user, name, role, instances)
        return {**self._key_row(dataclasses.asdict(view)), "key": text}

    def enrol(self, wanted: Sequence[Enrolment]) -> list[Row]:
        """Keys for many users, or none; each row holds the key itself, this once."""
        made = self._administration.enrol(wanted)
        names = {view.instance_id: view.name for view in self._administration.instances()}
        return [
            {"user": each.user, "instances": [names[i] for i in view.instances], "key": text}
            for each, (view, text) in zip(wanted, made, strict=True)
        ]

    def revoke_key(self, key_id: str) -> Row:
        """Revoke a key."""
        return self._key_row(dataclasses.asdict(self._administration.revoke_key(key_id)))

    def _key_row(self, row: Row) -> Row:
        names = {view.instance_id: view.name for view in self._administration.instances()}
        row["user"] = self._users().get(row["user_id"], "")
        row["instances"] = [names.get(instance_id, instance_id) for instance_id in row["instances"]]
        row["opens"] = ", ".join(row["instances"]) or "all"
        return row

    def _users(self) -> dict[str, str]:
        return {row["user_id"]: row["name"] for row in self._store.read_now(queries.users)}

    def instances(self) -> list[Row]:
        """All instances with their usage."""
        return [
            dataclasses.asdict(view) | self._cost_of_instance(view)
            for view in self._administration.instances()
        ]

    def _cost_of_instance(self, view: InstanceView) -> Row:
        """What its usage in the present period costs, where the site has rates."""
        if self.settings.money is None:
            return {}
        query = ledger.LedgerQuery(instances=(view.instance_id,), start=view.period_start.timestamp())
        parts = self._store.read_now(ledger.parts, query)
        told = cost_of_all(self.settings, (UsagePart(view.plan, part.qpu_id, part.seconds) for part in parts))
        return {} if not told else {"cost": told["cost"]["amount"], "currency": told["cost"]["currency"]}

    def create_instance(self, wanted: InstanceSettings) -> Row:
        """A new instance; a running server makes it itself, so that it knows it at once."""
        if server_url(self._folder) is not None:
            body = wanted.model_dump(mode="json", exclude_unset=True)
            Remote.of(self._folder).ask("POST", "/ketline/v1/instances", body=body)
            return dataclasses.asdict(self._instance(wanted.name))
        return dataclasses.asdict(self._administration.create_instance(wanted))

    def _instance(self, name: str) -> InstanceView:
        for view in self._administration.instances():
            if name in {view.name, view.crn, view.instance_id}:
                return view
        raise KetlineError(INSTANCE_NOT_FOUND, instance=name)

    def qpus(self) -> list[Row]:
        """The QPUs of the configuration with their mode and their unfinished jobs."""
        left = {row["qpu_id"]: row for row in self._store.read_now(queries.qpus)}
        unfinished = self._store.read_now(queries.unfinished_jobs)
        return [self._qpu_row(qpu, left, unfinished) for qpu in self.settings.qpus]

    def _qpu_row(self, qpu: QpuSettings, left: dict[str, Any], unfinished: Any) -> Row:
        mine = [row["status"] for row in unfinished if row["qpu_id"] == qpu.name]
        return {
            "name": qpu.name,
            "driver": qpu.driver,
            "device": qpu.device,
            "simulator": qpu.simulator,
            "lanes": qpu.lanes,
            "pace": qpu.pace,
            "mode": left[qpu.name]["mode"] if qpu.name in left else "online",
            "mode_reason": left[qpu.name]["mode_reason"] if qpu.name in left else "",
            "queued": mine.count(JobStatus.QUEUED.value),
            "running": mine.count(JobStatus.RUNNING.value),
        }

    def jobs(self, instance: str | None, *, pending: bool, tags: list[str], limit: int) -> list[Row]:
        """Jobs of one instance or of all, newest first."""
        names = self._users()
        rows = []
        for view in self._wanted(instance):
            wanted = queries.JobQuery(
                view.instance_id, pending=True if pending else None, tags=tuple(tags), limit=limit
            )
            found, _ = self._store.read_now(queries.jobs, wanted)
            rows += [self._job_row(row, view, names) for row in found]
        return sorted(rows, key=lambda row: row["created_at"], reverse=True)[:limit]

    def job(self, job_id: str) -> Row:
        """One job; JOB_NOT_FOUND."""
        row = self._store.read_now(queries.job, job_id)
        if row is None:
            raise KetlineError(JOB_NOT_FOUND, job_id=job_id)
        return self._job_row(row, self._instance(row["instance_id"]), self._users())

    def _job_row(self, row: Any, instance: InstanceView, users: dict[str, str]) -> Row:
        view = job_view_from_row(row)
        shown = dataclasses.asdict(view)
        reason = shown.pop("reason")
        return {
            **shown,
            **self._cost(view.usage_seconds, instance, view.backend),
            "instance": instance.name,
            "user": users.get(view.user_id, view.user_id),
            "doing": view.stage.value.replace("_", " ") if view.stage != "none" else view.status.value,
            "reason": None if reason is None else f"{reason['message']} ({reason['code']})",
            "reason_code": None if reason is None else reason["code"],
            "solution": None if reason is None else reason["solution"],
        }

    def sessions(self, instance: str | None, *, still_open: bool, limit: int) -> list[Row]:
        """Sessions and batches of one instance or of all, newest first."""
        names = self._users()
        rows = []
        for view in self._wanted(instance):
            wanted = queries.ItemQuery(view.instance_id, modes=("dedicated", "batch"), limit=limit)
            found, _ = self._store.read_now(queries.items, wanted)
            rows += [self._session_row(row, view, names) for _, row in found]
        rows = [row for row in rows if not still_open or row["closed_at"] is None]
        return sorted(rows, key=lambda row: row["created_at"], reverse=True)[:limit]

    def session(self, workload_id: str) -> Row:
        """One session or batch; SESSION_NOT_FOUND."""
        row = self._store.read_now(queries.workload, workload_id)
        if row is None:
            raise KetlineError(SESSION_NOT_FOUND, workload_id=workload_id)
        noun, until = workload_from_row(row), self._until()
        unfinished = [
            job_from_row(each)
            for each in self._store.read_now(queries.unfinished_jobs)
            if each["workload_id"] == workload_id
        ]
        instance = self._instance(row["instance_id"])
        found = split(noun, unfinished, until)
        as_batch = self._cost(found.as_batch_seconds, instance, noun.qpu_id)
        return {
            **self._session_row(row, instance, self._users()),
            **dataclasses.asdict(found),
            **{f"{name}_as_batch": value for name, value in as_batch.items()},
        }

    def _until(self) -> float:
        """Until when the open windows of sessions count: now, or when the server stopped."""
        if server_url(self._folder) is not None:
            return time.time()
        return self._store.read_now(queries.last_event_at)

    def _cost(self, seconds: float, instance: InstanceView, backend: str) -> Row:
        """What usage costs, where the site has rates."""
        if self.settings.money is None:
            return {}
        cost = rates_of(self.settings).cost(seconds, instance.plan, backend)
        return {} if cost is None else {"cost": cost.amount, "currency": cost.currency}

    def _session_row(self, row: Any, instance: InstanceView, users: dict[str, str]) -> Row:
        noun = workload_from_row(row)
        shown = dataclasses.asdict(workload_view(noun))
        reason = shown.pop("reason")
        return {
            **shown,
            **self._cost(noun.usage_seconds, instance, noun.qpu_id),
            "mode": "session" if noun.mode == "dedicated" else noun.mode.value,
            "instance": instance.name,
            "user": users.get(noun.user_id, noun.user_id),
            "jobs": noun.jobs_submitted,
            "jobs_completed": noun.jobs_completed,
            "reason": None if reason is None else f"{reason['message']} ({reason['code']})",
            "history": [{"state": state, "at": at} for state, at in shown["history"]],
        }

    def _wanted(self, instance: str | None) -> list[InstanceView]:
        return [self._instance(instance)] if instance is not None else list(self._administration.instances())
