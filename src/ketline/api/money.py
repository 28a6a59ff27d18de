"""Usage as money, where the site has rates."""

from __future__ import annotations

from typing import Any

from ketline.config import Settings
from ketline.planning.estimate import Rates


def rates_of(settings: Settings) -> Rates:
    """The site's rates; none without ``[money]``."""
    if settings.money is None:
        return Rates()
    prices = {(rate.plan, rate.qpu): rate.per_second for rate in settings.money.rates}
    return Rates(settings.money.currency, prices)


def cost_of(settings: Settings, seconds: float, plan: str, backend: str) -> dict[str, Any]:
    """``{"cost": …}`` for usage, or nothing where no rate applies."""
    cost = rates_of(settings).cost(seconds, plan, backend)
    return {} if cost is None else {"cost": cost.as_dict()}
