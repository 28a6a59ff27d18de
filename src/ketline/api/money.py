"""Usage as money, where the site has rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ketline.config import Settings
from ketline.planning.estimate import Rates
from ketline.service.views import UsagePart


def rates_of(settings: Settings) -> Rates:
    """The site's rates; none without ``[money]``."""
    if settings.money is None:
        return Rates()
    prices = {(rate.plan, rate.qpu): rate.per_second for rate in settings.money.rates}
    return Rates(settings.money.currency, prices)


def cost_of_all(settings: Settings, parts: Iterable[UsagePart]) -> dict[str, Any]:
    """``{"cost": …}`` for usage at several prices, or nothing where none of it has one."""
    rates = rates_of(settings)
    costs = [rates.cost(part.seconds, part.plan, part.backend) for part in parts]
    amounts = [cost.amount for cost in costs if cost is not None]
    return {"cost": {"amount": sum(amounts), "currency": rates.currency}} if amounts else {}


def cost_of(settings: Settings, seconds: float, plan: str, backend: str) -> dict[str, Any]:
    """``{"cost": …}`` for usage, or nothing where no rate applies."""
    cost = rates_of(settings).cost(seconds, plan, backend)
    return {} if cost is None else {"cost": cost.as_dict()}
