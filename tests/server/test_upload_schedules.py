"""Servers that end one upload at the same time, call by call of the storage, in orders drawn by chance."""

from __future__ import annotations

import random
import threading

import anyio
import pytest
from tests.server._stores import begun, uploads_on

import holdall
from holdall import FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import _assembly
from holdall.server._assembly import Completion
from holdall.server._errors import APIError
from holdall.wrappers import Intercepting

PIECES = [b"one", b"two"]
# Besides some at random, such that have found what goes wrong if an end is not sealed, by its maker or by its reader.
SEEDS = [*range(10), 432, 1008, 1244, 1554, 2442]


class Dead(OSError):
    """The process was killed."""


class Schedule:
    """Lets one of several actors do one call at a time, chosen by chance; an actor may die at any of its calls."""

    def __init__(self, seed, *, deaths):
        self.chance, self.deaths = random.Random(seed), deaths
        self.moved = threading.Condition()
        self.waiting, self.running, self.next = set(), set(), None
        self.speeds = {}

    def run(self, actors):
        """Run these functions to their end; what each returned."""
        results = {}

        def act(name):
            try:
                results[name] = actors[name]()
            finally:
                with self.moved:
                    self.running.discard(name)
                    self.moved.notify_all()

        self.running = set(actors)
        threads = [threading.Thread(target=act, args=(name,)) for name in actors]
        for thread in threads:
            thread.start()
        with self.moved:
            while self.running:
                # Nobody moves before all have said what they do next.
                assert self.moved.wait_for(lambda: self.waiting == self.running and self.next is None, 60)
                self.next = self.choice() if self.waiting else None
                self.moved.notify_all()
        for thread in threads:
            thread.join()
        return results

    def choice(self):
        """Who is next: for a while one is faster than the others, and another all but stands still."""
        if not self.speeds or self.chance.random() < 0.03:
            self.speeds = {name: self.chance.random() ** 4 for name in "abcde"}
        names = sorted(self.waiting)
        return self.chance.choices(names, [self.speeds[name] for name in names])[0]

    def turn(self, name):
        """Wait for this actor's turn; False if it is its last call."""
        with self.moved:
            self.waiting.add(name)
            self.moved.notify_all()
            assert self.moved.wait_for(lambda: self.next == name, 60)
            return self.chance.random() >= self.deaths

    def done(self, name, verb):
        with self.moved:
            if verb in {"publish", "read_meta"} and self.chance.random() < 0.3:
                self.speeds[name] = 1e-9  # between a claim and what follows, others do all they can
            self.waiting.discard(name)
            self.next = None
            self.moved.notify_all()


class Scheduled(Intercepting):
    """The storage as one actor has it."""

    def __init__(self, inner, schedule, name):
        super().__init__(inner)
        self.schedule, self.name, self.dead = schedule, name, False
        self.one_at_a_time = threading.Lock()

    def around(self, verb, file_id, call):
        with self.one_at_a_time:
            return self._in_turn(verb, call)

    def _in_turn(self, verb, call):
        if self.dead:
            raise Dead
        lives = self.schedule.turn(self.name)
        try:
            if lives or self.schedule.chance.random() < 0.5:
                result = call()
            if not lives:
                self.dead = True
                raise Dead
            return result
        finally:
            self.schedule.done(self.name, verb)


@pytest.mark.parametrize("deaths", [0.0, 0.03])
@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_told_how_an_upload_ended_is_told_the_same(seed, deaths, monkeypatch):
    """Three servers complete it, sometimes a fourth in another order, and sometimes one cancels it; none waits for another, so that each who is
    slower counts as dead, and some are. All who get an answer get one, it stays true, and there is one file or none.
    """
    monkeypatch.setattr(_assembly, "PATIENCE_SECONDS", 0.0)
    backend, schedule = MemoryBackend(), Schedule(seed, deaths=deaths)
    upload, ids = anyio.run(begun, uploads_on(backend), *PIECES)

    def actor(name, call, *arguments):
        uploads = uploads_on(Scheduled(backend, schedule, name))

        async def act():
            try:
                body = await getattr(uploads, call)(upload, *arguments)
            except APIError:
                return None  # it ended otherwise
            except holdall.HoldallError:
                return None  # it died, or is to try again
            return body["status"], body["file"] and body["file"]["id"]

        return lambda: anyio.run(act)

    same, other = Completion(part_ids=ids), Completion(part_ids=ids[::-1])
    actors = {name: actor(name, "complete", same) for name in "abc"}
    if schedule.chance.random() < 0.5:
        actors["d"] = actor("d", "complete", other)
    if schedule.chance.random() < 0.2:
        actors["e"] = actor("e", "cancel")
    told = schedule.run(actors)

    answers = {answer for answer in told.values() if answer is not None}
    files = {file.id: FileStore(backend).get_content(file.id) for file in FileStore(backend)}
    assert set(files.values()) <= {b"onetwo", b"twoone"}
    assert len(answers) <= 1
    assert answers or deaths
    for status, file_id in answers:
        assert (file_id in files) == (status == "completed")
    if not deaths:
        assert len(files) == len([1 for status, _ in answers if status == "completed"])
