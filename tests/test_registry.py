"""Discovery: backends are found by their entry points, loaded one at a time, and broken one at a time."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import tomllib

import pytest
from tests._markdown import ROOT
from tests.fake_plugin.install import install

import holdall
from holdall import InvalidStoreURL, PluginLoadError, UnknownScheme, registry
from holdall.backends.memory import MemoryBackend

CLASS = "fake_store:FakeBackend"


def run(code, *path, **environment):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_plugin_works_once_it_is_installed(put_on_path):
    """Nothing but the entry point makes `open_store` find it, also with a driver in the scheme."""
    put_on_path({"fake": CLASS, "fake+driver": CLASS})

    for url in ("fake://", "fake+driver://a/b"):
        with holdall.open_store(url) as store:
            file = store.create("a", b"abc", purpose="batch")
            assert store.get_content(file.id) == b"abc"


def test_a_plugin_is_not_imported_before_its_scheme_is_opened(tmp_path):
    """Opening one scheme imports no other plugin."""
    code = """
        import sys, holdall
        from holdall import registry
        holdall.open_store("memory://")
        print("fake_store" in sys.modules)
        registry.load("fake")
        print("fake_store" in sys.modules)
    """

    assert run(code, install(tmp_path, {"fake": CLASS})).split() == ["False", "True"]


def test_a_plugin_installed_while_the_process_runs_is_found(put_on_path):
    """No cache of what is installed is in the way."""
    with pytest.raises(UnknownScheme):
        registry.load("fake")
    put_on_path({"fake": CLASS})

    assert registry.load("fake").__name__ == "FakeBackend"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import a_module_that_nobody_has", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("", "AttributeError: module 'fake_broken' has no attribute 'FakeBackend'"),
    ],
)
def test_a_broken_plugin_breaks_only_its_own_scheme(put_on_path, source, why):
    """Its scheme says which package is broken and why; the others work, and `installed` shows both."""
    put_on_path({"fake": CLASS}, "good")
    put_on_path({"broken": "fake_broken:FakeBackend"}, "bad", name="fake-broken", module="fake_broken", source=source)

    with pytest.raises(PluginLoadError) as caught:
        holdall.open_store("broken://")
    assert str(caught.value).startswith(f"the backend of broken:// from fake-broken 1.2.3 does not load: {why}")
    assert caught.value.__cause__ is not None

    shown = {info.scheme: info for info in registry.installed()}
    assert (shown["broken"].problem, shown["broken"].backend) == (str(caught.value), None)
    assert (shown["fake"].problem, shown["fake"].backend.__name__) == (None, "FakeBackend")
    assert shown["memory"].backend is MemoryBackend
    assert (shown["fake"].package, shown["fake"].target) == ("fake-store 1.2.3", CLASS)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("fake_store:NOT_A_CLASS", "is registered for odd://, but is not a Backend class"),
        ("fake_store:Colour", "is registered for odd://, but is not a Backend class"),
        ("fake_store:Unfinished", "is registered for odd://, but does not implement list_ids, remove"),
        (
            "fake_store:Optionless",
            "is registered for odd://, but its Options are not a subclass of holdall.backend.BackendOptions",
        ),
    ],
)
def test_what_is_no_backend_is_refused_when_it_is_loaded(put_on_path, target, why):
    """The error names the entry, its package, and what is missing."""
    put_on_path({"odd": target})

    with pytest.raises(PluginLoadError) as caught:
        holdall.open_store("odd://")

    assert str(caught.value) == f"{target} of fake-store 1.2.3 {why}"


def test_two_packages_with_one_scheme_are_both_named(put_on_path):
    """Neither wins by chance: whoever uses the scheme learns which two packages claim it."""
    put_on_path({"fake": CLASS}, "one")
    put_on_path({"fake": "fake_other:FakeBackend"}, "two", name="fake-other", version="9", module="fake_other")

    with pytest.raises(PluginLoadError) as caught:
        registry.load("fake")
    assert str(caught.value) == (
        "fake:// is registered twice, by fake-other 9 (fake_other:FakeBackend) and fake-store 1.2.3 "
        "(fake_store:FakeBackend); uninstall one of them"
    )
    assert [info.problem for info in registry.installed() if info.scheme == "fake"] == [str(caught.value)] * 2


def test_one_package_that_is_on_the_path_twice_counts_once(put_on_path):
    """A source tree beside its own installation is no conflict."""
    put_on_path({"fake": CLASS}, "one")
    put_on_path({"fake": CLASS}, "two")

    assert registry.load("fake").__name__ == "FakeBackend"
    assert [info.problem for info in registry.installed() if info.scheme == "fake"] == [None]


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_no_writable_cache_is_needed(tmp_path, variable):
    """Discovery works, and writes nothing, where stevedore could not keep its cache."""
    nowhere = tmp_path / "file"
    nowhere.touch()
    site = install(tmp_path / "site", {"fake": CLASS})
    code = "import holdall; print(type(holdall.open_store('fake://').backend).__name__)"

    assert run(code, site, **{variable: str(nowhere)}).strip() == "FakeBackend"
    assert run(code, site, **{variable: str(tmp_path / "home")}).strip() == "FakeBackend"
    assert not (tmp_path / "home").exists()


def test_discovery_logs_nothing(put_on_path, caplog):
    """A broken plugin is told by an exception, not in the log as well."""
    put_on_path({"broken": "fake_broken:X"}, module="fake_broken", source="1 / 0")

    with caplog.at_level(logging.WARNING), pytest.raises(PluginLoadError):
        registry.load("broken")

    assert caplog.messages == []


def test_a_class_that_takes_any_driver_is_asked_only_where_nobody_registers_one(put_on_path):
    """`scheme+driver` goes to whoever registers it; then to the class of `scheme`, if it says that it takes any."""
    put_on_path({"many": "fake_store:ManyDrivers", "many+own": CLASS, "one": CLASS})

    assert registry.load("many+anything").__name__ == "ManyDrivers"
    assert registry.load("many").__name__ == "ManyDrivers"
    assert registry.load("many+own").__name__ == "FakeBackend"
    with pytest.raises(UnknownScheme):
        registry.load("one+anything")
    with pytest.raises(UnknownScheme):
        registry.load("many.other+anything")
    with holdall.open_store("many+fast://") as store:
        assert store.backend.scheme == "many+fast"


def test_the_options_of_a_url_may_depend_on_its_driver(put_on_path):
    """Each driver's own options are read and refused like those that all drivers have."""
    put_on_path({"many": "fake_store:ManyDrivers"})

    with holdall.open_store("many+fast://?fast=3&speed=2") as store:
        assert (store.backend.options.fast, store.backend.options.speed) == (3, 2)
    with pytest.raises(InvalidStoreURL, match=r"unknown option 'fast' for many\+slow://.*it has: .*slow, speed"):
        holdall.open_store("many+slow://?fast=3")
    assert [i.backend.Options.__name__ for i in registry.installed() if i.scheme == "many"] == ["Options"]


def test_a_backend_that_cannot_tell_its_options_cannot_be_used(put_on_path):
    """Its own exception crosses no border, and no secret with it; `installed` says why, and shows the others."""
    put_on_path({"fake": CLASS, "bare": "fake_store:Clientless"})
    with pytest.raises(PluginLoadError) as caught:
        holdall.open_store("bare://me:hush-hush@place")
    assert str(caught.value) == (
        "the backend of bare:// cannot tell its options: ImportError: no client for bare://me:***@place"
    )
    assert isinstance(caught.value.__cause__, ImportError)

    shown = {info.scheme: info for info in registry.installed()}
    assert shown["bare"].problem == (
        "the backend of bare:// cannot tell its options: ImportError: no client for bare://"
    )
    assert (shown["bare"].options, shown["fake"].problem) == (None, None)
    assert "endpoint_url" in shown["fake"].options.model_fields


def _unknown(scheme):
    with pytest.raises(UnknownScheme) as caught:
        holdall.open_store(f"{scheme}://x")
    return str(caught.value).split("; ")


@pytest.mark.parametrize(
    ("scheme", "advice"),
    [
        ("flie", ["did you mean file://?"]),
        ("memry", ["did you mean memory://?"]),
        ("qqqqqq", []),
    ],
)
def test_an_unknown_scheme_names_the_nearest_and_all(put_on_path, scheme, advice):
    """The message says what was not found, what was probably meant, and what there is."""
    put_on_path({"fake": CLASS})
    first, *middle, last = _unknown(scheme)

    assert first == f"no installed backend has the scheme {scheme}://"
    assert middle == advice
    assert last.startswith("installed: ")
    assert {"fake", "file", "memory"} <= set(last.removeprefix("installed: ").split(", "))


@pytest.mark.parametrize(
    ("scheme", "package"),
    [
        ("s3", "holdall-s3"),
        ("gs+obstore", "holdall-obstore"),
        ("sftp", "holdall-fsspec"),
        ("fsspec+x", "holdall-fsspec"),
    ],
)
def test_the_package_that_would_supply_a_scheme_is_named(monkeypatch, scheme, package):
    """Somebody who lacks a plugin learns what to install."""
    monkeypatch.setattr(registry, "_entry_points", list)

    assert f"pip install {package} supplies it" in _unknown(scheme)


@pytest.mark.parametrize("plugin", ["holdall-fsspec", "holdall-obstore", "holdall-s3"])
def test_every_scheme_of_our_plugins_names_its_package(plugin):
    """None is left out of what can be named to somebody who lacks it."""
    project = tomllib.loads((ROOT / "plugins" / plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    schemes = project["entry-points"][registry.NAMESPACE]

    assert {scheme: registry.SUPPLIERS.get(scheme) for scheme in schemes} == dict.fromkeys(schemes, plugin)


def test_a_misspelt_scheme_of_a_plugin_that_is_not_there_names_both(monkeypatch):
    """The nearest name may be one that is not installed yet."""
    monkeypatch.setattr(registry, "_entry_points", list)

    assert "did you mean webdav:// (pip install holdall-fsspec)?" in _unknown("webdva")
