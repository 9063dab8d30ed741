"""Periodic removal of expired files and of leftovers of interrupted uploads.

Any number of workers and hosts may do this at once: an expired file is removed by the first of them, and a leftover
only once it has been unchanged for longer than any upload pauses.
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
# A sweep reads the metadata of every file, which must not become the main load of a large store.
_COST = 100

_log = logging.getLogger("holdall.server")


class Sweepable(Protocol):
    """The stores of all tenants, for maintenance."""

    def tenants(self) -> list[str | None]:
        """All current tenants."""

    def apart(self, tenant: str | None) -> contextlib.AbstractAsyncContextManager[AsyncFileStore]:
        """The store of a tenant, open only within the context."""


@dataclass(frozen=True, slots=True)
class Swept:
    """The result of sweeping one store."""

    what: str
    """The kind of store: a key of the mapping given to the `Sweeper`."""
    report: SweepReport | None
    """None if it failed."""


class Sweeper:
    """Sweeps the stores of all tenants repeatedly, one after another. A failure of one does not affect the others, and
    is logged when it begins and when it is over.
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
        """`stores` maps a kind of store, in words, to the stores. A round begins about every `every` seconds, with
        jitter; less often if it takes long, so that sweeping takes at most a hundredth of the time. `older_than` is
        that of `FileStore.sweep`. `pause`, `chance` and `clock` are for tests.
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
        """Sweep until cancelled, which also ends a running sweep.

        The first sweep is delayed: a server that restarts repeatedly should not sweep each time.
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
        except Exception as error:  # noqa: BLE001 - the next store must still be swept
            self._tell(what, tenant, error)
        else:
            self._tell(what, tenant, None)
            if report.expired or report.leftovers:
                counts = len(report.expired), len(report.leftovers)
                _log.info("swept the %s of %s: %d expired, %d leftovers", what, _name(tenant), *counts)
        for observe in self._observers:
            observe(Swept(what, report))

    def _tell(self, what: str, tenant: str | None, error: Exception | None) -> None:
        """Log a failure when it begins, when its kind changes, and when it is over, instead of in each round."""
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
