"""Files in a local directory: the reference backend.

    <root>/<file_id>/data.bin, meta.json     an entry
    <root>/.staging/<file_id>.<random>.new   a write in progress
    <root>/.staging/<file_id>.<random>.old   a removed entry that is yet to be erased

An entry appears in the root, and disappears from it, by one rename of its directory: readers see all of it or nothing,
and a crash leaves remains in `.staging` only.
"""

from holdall.backends.local._backend import LocalBackend

__all__ = ["LocalBackend"]
