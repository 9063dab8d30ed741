"""Backends that wrap other backends and change their behaviour; the storage stays the same.

>>> from holdall import FileStore
>>> from holdall.backends.memory import MemoryBackend
>>> from holdall.wrappers import Prefixed, ReadOnly
>>> shared = MemoryBackend()
>>> with FileStore(Prefixed(shared, "alice")) as store:
...     file = store.create("notes.txt", b"mine", purpose="user_data")
>>> [file.filename for file in FileStore(ReadOnly(Prefixed(shared, "alice")))]
['notes.txt']
>>> [file.filename for file in FileStore(Prefixed(shared, "bob"))]
[]

A wrapper is created from a backend, never from a URL, and closing it closes the wrapped backend. `Wrapper` forwards
every call: override what should differ. `Intercepting` sends every call through one method; subclass it for counting,
timing, logging or retrying. `Latency` and `Faulty` are for tests.
"""

from holdall.wrappers._base import Wrapper
from holdall.wrappers._faulty import Fault, Faulty
from holdall.wrappers._intercepting import Intercepting, Verb
from holdall.wrappers._latency import Latency
from holdall.wrappers._prefixed import Prefixed
from holdall.wrappers._readonly import ReadOnly

__all__ = ["Fault", "Faulty", "Intercepting", "Latency", "Prefixed", "ReadOnly", "Verb", "Wrapper"]
