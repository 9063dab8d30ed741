"""Installs a fake distribution: a module and a dist-info directory, in a folder for the path."""

from __future__ import annotations

import pathlib
import shutil

MODULE = pathlib.Path(__file__).with_name("fake_store.py")


def install(folder, entry_points, *, name="fake-store", version="1.2.3", module="fake_store", source=None):
    """`entry_points` maps schemes to targets. `source` is the module's text; by default that of `fake_store.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    if source is None:
        shutil.copy(MODULE, folder / f"{module}.py")
    else:
        (folder / f"{module}.py").write_text(source)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "".join(f"{scheme} = {target}\n" for scheme, target in entry_points.items())
    (info / "entry_points.txt").write_text(f"[holdall.backends]\n{lines}")
    return str(folder)
