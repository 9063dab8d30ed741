"""Removing, now and then, what nobody needs: expired files, and leftovers of uploads that died.

Any number of workers and hosts may do so at once: a file that has expired is removed by whoever is first, and a
leftover is taken only when it has not changed for longer than any upload rests.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import anyio

from holdall.aio import AsyncFileStore
from holdall.errors import HoldallError
from holdall.upkeep import DEFAULT_GRACE_SECONDS, SweepReport

__all__ = ["DEFAULT_SWEEP_SECONDS", "Sweepable", "Sweeper", "Swept"]

DEFAULT_SWEEP_SECONDS = 600.0
# A sweep reads the metadata of every file: of a large store it must not become the main work of the storage.
_COST = 100

_log = logging.getLogger("holdall.server")


class Sweepable(Protocol):
    """The stores of all tenants, for upkeep."""

    def tenants(self) -> list[str | None]:
        """All there are now."""

    def apart(self, tenant: str | None) -> contextlib.AbstractAsyncContextManager[AsyncFileStore]:
        """The store of a tenant, open only as long as this lasts."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of sweeping one store."""

    what: str
    """Which kind of store: a key of what the `Sweeper` was given."""
    report: SweepReport | None
    """None if it failed."""


class Sweeper:
    """Sweeps the stores of all tenants again and again, one after another, each by itself: one that fails is logged
    when that begins and when it ends, and keeps no other from its turn.
    """

    def __init__(
        self,
        stores: Mapping[str, Sweepable],
        *,
        every: float = DEFAULT_SWEEP_SECONDS,
        older_than: float = DEFAULT_GRACE_SECONDS,
        observers: Iterable[Callable[[Swept], None]] = (),
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stores` by what they hold, in words. A round begins about every `every` seconds, at times that differ from
        process to process; later where it takes long, so that sweeping takes at most a hundredth of the time.
        `older_than` is that of `FileStore.sweep`. `pause`, `chance` and `clock` are for tests.
        """
        self._stores = stores
        self._every = every
        self._older_than = older_than
        self._observers = tuple(observers)
        self._pause = pause
        self._chance = chance
        self._clock = clock
        self._failing: dict[tuple[str, str | None], type[Exception]] = {}

    async def run(self) -> None:
        """Sweep until cancelled, which also ends a sweep that is under way.

        Not at once: a server that is started again and again has more urgent things to do.
        """
        await self._pause(self._every * (0.1 + 0.9 * self._chance()))
        while True:
            started = self._clock()
            await self.round()
            took = self._clock() - started
            await self._pause(max(self._every, took * _COST) * (0.5 + self._chance()))

    async def round(self) -> None:
        """Sweep every store once."""
        for what, stores in self._stores.items():
            for tenant in stores.tenants():
                await self._sweep(what, stores, tenant)

    async def _sweep(self, what: str, stores: Sweepable, tenant: str | None) -> None:
        report = None
        try:
            async with stores.apart(tenant) as store:
                report = await store.sweep(older_than=self._older_than)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next store has its turn
            self._tell(what, tenant, error)
        else:
            self._tell(what, tenant, None)
            if report.expired or report.leftovers:
                counts = len(report.expired), len(report.leftovers)
                _log.info("swept the %s of %s: %d expired, %d leftovers", what, _name(tenant), *counts)
        for observe in self._observers:
            observe(Swept(what, report))

    def _tell(self, what: str, tenant: str | None, error: Exception | None) -> None:
        """Log a failure when it begins, when it becomes another, and when it is over: not in each round."""
        before = self._failing.pop((what, tenant), None)
        if error is not None:
            self._failing[what, tenant] = type(error)
            if before is not type(error):
                trace = None if isinstance(error, HoldallError) else error
                _log.warning("cannot sweep the %s of %s: %s", what, _name(tenant), error, exc_info=trace)
        elif before is not None:
            _log.warning("sweeping the %s of %s works again", what, _name(tenant))


def _name(tenant: str | None) -> str:
    return "everybody" if tenant is None else tenant
