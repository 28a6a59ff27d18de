"""Imported by the fork server last: keeps the collector off all that is loaded, so that pages stay shared."""

from __future__ import annotations

import gc

gc.collect()
gc.freeze()
