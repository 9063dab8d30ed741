"""Files in a directory of this machine: the reference backend.

    <root>/<file_id>/data.bin, meta.json     an entry
    <root>/.staging/<file_id>.<random>.new   a write in progress
    <root>/.staging/<file_id>.<random>.old   a removed entry whose space is being given back

An entry appears in the root by one rename of its whole directory, and disappears by one: readers see all or nothing,
and what a crash leaves behind is in `.staging` only.
"""

from holdall.backends.local._backend import LocalBackend

__all__ = ["LocalBackend"]
