"""Keys and instances: who is let in, by whom they are made, and when a running server hears of it."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from centre_lab import Centre, play

from ketline.config import ConfigError, InstanceSettings, PlanSettings, Settings
from ketline.errors import BAD_CREDENTIALS, INSTANCE_NOT_FOUND, INVALID_REQUEST, KetlineError
from ketline.service import keys
from ketline.service.administration import Administration


def test_a_key_shows_its_id_and_keeps_its_secret() -> None:
    key_id, secret, text = keys.make_secret()
    assert keys.split(text) == (key_id, secret)
    assert len(secret) >= 43, "256 random bits"
    assert keys.hashed(secret, b"pepper") != keys.hashed(secret, b"other")
    assert secret.encode() not in keys.hashed(secret, b"pepper")
    for wrong in (
        "",
        "nonsense",
        f"ketline-{key_id}",
        f"ibm-{key_id}-{secret}",
        "ketline--",
        "ketline-a-" + "b" * 300,
    ):
        assert keys.split(wrong) is None


@pytest.mark.parametrize("existing", [False, True])
def test_other_users_of_the_machine_can_not_read_secrets_and_results(tmp_path: Path, existing: bool) -> None:
    root = tmp_path / "centre"
    if existing:
        (root / "files").mkdir(parents=True, mode=0o755)
        root.chmod(0o755)
        (root / "ketline.db").touch(mode=0o644)

    async def scenario(c: Centre) -> None:
        job = await c.submit()
        await c.end(job)
        opened = [
            path
            for path in (root, *root.iterdir())
            if path.name in {"files", "scratch", "qpus"} or path.name.startswith("ketline.db")
            if stat.S_IMODE(path.stat().st_mode) & 0o077
        ]
        assert not [path for path in opened if path.name != "scratch"]
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in (root / "scratch").iterdir())
        assert len(list(root.glob("ketline.db*"))) == 3, "the log that is written ahead is as private"

    play(root, scenario)
    assert stat.S_IMODE(root.stat().st_mode) == (0o755 if existing else 0o700)


def test_the_first_start_makes_what_is_needed(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        path = c.data.administrator_key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        owner = await c.runtime.exchange_key(path.read_text().strip())
        assert owner.role == "administrator"
        found = {view.name: view for view in await c.runtime.instances_of(owner)}
        assert {name: view.plan for name, view in found.items()} == {"default": "premium", "open": "open"}
        for view in found.values():
            parts = view.crn.split(":")
            assert parts[:6] == ["crn", "v1", "bluemix", "public", "quantum-computing", "us-east"]
            assert parts[7] == view.instance_id
            assert len(parts) == 10
        text = path.read_text().strip()
        for wrong in (text[:-1], text + "x", "nonsense", ""):
            with pytest.raises(KetlineError) as caught:
                await c.runtime.exchange_key(wrong)
            assert caught.value.kind is BAD_CREDENTIALS
        with pytest.raises(KetlineError) as caught:
            await c.runtime.enter(owner, "crn:v1:bluemix:public:quantum-computing:us-east:a/x:y::")
        assert caught.value.kind is INSTANCE_NOT_FOUND
        stored = c.rows("SELECT secret_hash FROM keys")[0][0]
        assert text.rpartition("-")[2].encode() not in stored

    play(tmp_path, scenario)


def test_a_running_server_hears_of_new_keys_and_instances_and_of_revoked_ones(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        with Administration(tmp_path, Settings()) as desk:
            made = desk.create_instance(InstanceSettings(name="lab", plan="premium", tags=("physics",)))
            view, text = desk.create_key("eve", "laptop", "user", ["lab"])
            names = [view.name for view in desk.keys()]  # noqa: SIM118 - not a dict
            assert names == ["first", "laptop"]
            eve = await c.runtime.exchange_key(text)
            assert (eve.role, eve.key_id) == ("user", view.key_id)
            assert [i.name for i in await c.runtime.instances_of(eve)] == ["lab"]
            c.me = await c.runtime.enter(eve, made.crn)
            job = await c.submit()
            assert job.user_id == eve.user_id
            with pytest.raises(KetlineError) as caught:
                await c.enter_as(eve, "default")
            assert caught.value.kind is INSTANCE_NOT_FOUND
            await c.end(job)
            desk.revoke_key(view.key_id)
        await asyncio.sleep(2.1)
        for use in (c.runtime.exchange_key(text), c.runtime.enter(eve, made.crn)):
            with pytest.raises(KetlineError) as caught:
                await use
            assert caught.value.kind is BAD_CREDENTIALS

    play(tmp_path, scenario)


def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path) -> None:
    with Administration(tmp_path, Settings()) as desk:
        assert desk.administrator_key() is not None
        for attempt in (
            lambda: desk.create_key("eve", "k", "king"),  # type: ignore[arg-type]
            lambda: desk.create_instance(InstanceSettings(name="x", plan="platinum")),
            lambda: desk.create_instance(InstanceSettings(name="default")),
            lambda: desk.revoke_key("not-there"),
        ):
            with pytest.raises(KetlineError) as caught:
                attempt()
            assert caught.value.kind is INVALID_REQUEST
        with pytest.raises(KetlineError, match="nowhere"):
            desk.create_key("eve", "k", "user", ["nowhere"])


def test_instances_follow_the_configuration(tmp_path: Path) -> None:
    lab = InstanceSettings(name="lab", plan="tiny", limit_seconds=50.0)
    plans = {"tiny": PlanSettings(limit_seconds=10.0, max_execution_seconds=5.0)}

    async def first(c: Centre) -> None:
        inside = await c.enter("lab")
        view = await c.runtime.instance(inside)
        assert (view.plan, view.limit_seconds) == ("tiny", 50.0)
        spec = c.runtime._house.engine.scheduler.instances[view.instance_id]
        assert (spec.limit_seconds, spec.max_execution_seconds) == (50.0, 5.0)
        await c.runtime.set_instance_limit(inside, 70.0)
        assert (await c.runtime.instance(inside)).limit_seconds == 70.0

    async def second(c: Centre) -> None:
        view = await c.runtime.instance(await c.enter("lab"))
        assert view.limit_seconds == 70.0, "what an administrator set outlives a restart"
        assert view.tags == ("new",)

    play(tmp_path, first, plans=plans, instances=(lab,))
    play(tmp_path, second, plans=plans, instances=(lab.model_copy(update={"tags": ("new",)}),))


def test_an_instance_moves_to_another_account_with_what_it_used(tmp_path: Path) -> None:
    lab = InstanceSettings(name="lab", account="physics")
    seen: list[tuple[str, float]] = []

    async def spend(c: Centre) -> None:
        c.me = await c.enter("lab")
        await c.end(await c.submit())
        view = await c.runtime.instance(c.me)
        seen.append((view.crn, view.consumed_seconds))
        assert view.account == "physics"

    async def look(c: Centre) -> None:
        view = await c.runtime.instance(await c.enter("lab"))
        assert (view.account, view.crn) == ("chemistry", seen[0][0])
        assert view.consumed_seconds == pytest.approx(seen[0][1])
        accounts = c.runtime._house.engine.scheduler._c.fair.accounts
        assert "physics" not in accounts
        assert accounts["chemistry"].meter.used(c.runtime._house.clock.now()) == pytest.approx(seen[0][1])

    async def stays(c: Centre) -> None:
        assert (await c.runtime.instance(await c.enter("lab"))).account == "chemistry"

    play(tmp_path, spend, instances=(lab,))
    play(tmp_path, look, instances=(InstanceSettings(name="lab", account="chemistry"),))
    play(tmp_path, stays, instances=(InstanceSettings(name="lab"),))
    with pytest.raises(ConfigError, match="region: it was made in us-east"):
        play(tmp_path, stays, instances=(InstanceSettings(name="lab", region="eu-de"),))


def test_an_instance_on_an_unknown_plan_is_refused(tmp_path: Path) -> None:
    async def never(c: Centre) -> None:
        raise AssertionError(c)

    with pytest.raises(ConfigError, match="there is no plan 'platinum'"):
        play(tmp_path, never, instances=(InstanceSettings(name="lab", plan="platinum"),))
