"""Any sequence of operations, compared with a model."""

from __future__ import annotations

from typing import Any

from holdall.conformance._kit import Broken, Kit, NotChecked, expect, expect_error
from holdall.conformance._registry import check
from holdall.errors import FileNotFound, InvalidRequest

SIZES = (0, 1, 64, 65, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1_048_575, 1_048_576, 1_048_577)
_STEPS = 15
_PATIENCE_SECONDS = 60


@check("stateful.model_agrees")
def model_agrees(kit: Kit) -> None:
    """Two handles and reopening; sizes from a list of boundary values, and others."""
    try:
        from hypothesis import HealthCheck, Phase, Verbosity, settings
        from hypothesis import seed as with_seed
        from hypothesis.stateful import run_state_machine_as_test
    except ImportError:
        raise NotChecked("hypothesis is not installed: pip install 'holdall[conformance]'") from None

    machine = with_seed(kit.settings.seed)(_machine(kit))
    # If listings lag, most of the time is spent waiting.
    most = int(_PATIENCE_SECONDS / max(_STEPS * kit.store.backend.limits.settle_seconds, 0.01))
    chosen = settings(
        max_examples=min(kit.settings.max_examples, max(most, 1)),
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        print_blob=False,
        # One failure at a time: a group of failures would not show what they are.
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Broken as error:
        steps = "\n".join(getattr(error, "__notes__", ()))
        raise Broken(f"{error.did}, in\n{steps}" if steps else error.did, error.expected, error.saw) from error


def _machine(kit: Kit) -> Any:
    from hypothesis import strategies as st
    from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

    sizes = st.sampled_from([*filter(kit.fits, SIZES)]) | st.integers(0, 300_000)
    handles = st.integers(0, 1)

    class Machine(RuleBasedStateMachine):
        """Two handles on one location, and a model of its content."""

        files = Bundle("files")

        def __init__(self) -> None:
            super().__init__()
            self.url = kit.fresh()
            self.handles = [kit.target.open(self.url), kit.target.open(self.url)]
            self.model: dict[str, tuple[bytes, Any]] = {}

        @rule(target=files, handle=handles, size=sizes, purpose=st.sampled_from(("batch", "vision")))
        def create(self, handle: int, size: int, purpose: str) -> str:
            data = kit.noise(size)
            metadata = {"size": size, "nested": [None, {"": size}]}
            file = self.handles[handle].create(f"{size}.bin", data, purpose=purpose, metadata=metadata)
            expect(file.id in self.model, False, "a new id is one that was there")
            expect((file.bytes, file.metadata), (size, metadata), f"create({size} bytes): bytes and metadata")
            self.model[file.id] = (data, file)
            kit.settle()
            content = self.handles[1 - handle].get_content(file.id)
            expect(content, data, f"get_content of {size} bytes on the other handle, after create")
            return file.id

        @rule(handle=handles, file_id=files, start=st.integers(0, 70_000), length=st.integers(0, 70_000))
        def read(self, handle: int, file_id: str, start: int, length: int) -> None:
            store = self.handles[handle]
            if file_id not in self.model:
                expect_error(FileNotFound, "get_content of a deleted file", lambda: store.get_content(file_id))
                return
            data, file = self.model[file_id]
            expect(store.get(file_id), file, "get")
            expect(store.get_content(file_id), data, f"get_content of {len(data)} bytes")
            did = f"get_content({start}, {start + length}) of {len(data)} bytes"
            if start > len(data):
                expect_error(InvalidRequest, did, lambda: store.get_content(file_id, start, start + length))
            else:
                expect(store.get_content(file_id, start, start + length), data[start : start + length], did)

        @rule(handle=handles, file_id=files)
        def delete(self, handle: int, file_id: str) -> None:
            store = self.handles[handle]
            if self.model.pop(file_id, None) is None:
                expect_error(FileNotFound, "delete of a deleted file", lambda: store.delete(file_id))
            else:
                store.delete(file_id)
                kit.settle()

        @rule(handle=handles, size=st.sampled_from((10, 200_000)))
        def fail(self, handle: int, size: int) -> None:
            def dying() -> Any:
                yield kit.noise(size)
                raise ZeroDivisionError

            store = self.handles[handle]
            did = f"create whose source raises after {size} bytes"
            expect_error(ZeroDivisionError, did, lambda: store.create("x", dying(), purpose="batch"))

        @rule(handle=handles)
        def reopen(self, handle: int) -> None:
            self.handles[handle].close()
            self.handles[handle] = kit.target.open(self.url)

        @rule(handle=handles, limit=st.integers(1, 5), order=st.sampled_from(("asc", "desc")))
        def page(self, handle: int, limit: int, order: str) -> None:
            store, seen, after = self.handles[handle], [], None
            while True:
                page = store.list(limit=limit, after=after, order=order)
                seen += [f.id for f in page]
                if not page.has_more:
                    break
                after = page.last_id
            expect(seen, self._ids(order), f"the ids of all pages of {limit}, {order}")

        @invariant()
        def lists_agree(self) -> None:
            for n, store in enumerate(self.handles):
                expect([f.id for f in store.list()], self._ids("asc"), f"list() on handle {n + 1}")
            wanted = [i for i in self._ids("asc") if self.model[i][1].purpose == "batch"]
            expect([f.id for f in self.handles[0].list(purpose="batch")], wanted, "list(purpose='batch')")

        def _ids(self, order: str) -> list[str]:
            files = sorted((file for _, file in self.model.values()), key=lambda f: (f.created_at, f.id))
            return [f.id for f in (files if order == "asc" else reversed(files))]

        def teardown(self) -> None:
            for store in self.handles:
                store.close()

    return Machine
