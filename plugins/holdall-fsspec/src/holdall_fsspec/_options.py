"""Options of a URL, for any protocol: those of the backend, and the arguments of the filesystem's constructor.

The type of an argument is taken from its annotation or default; without both, the text is parsed as JSON if it is valid
JSON, and is used as text otherwise.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fsspec.spec import AbstractFileSystem
from pydantic import BaseModel, BeforeValidator, ByteSize, Field, create_model

from holdall.backend import BackendOptions
from holdall.errors import InvalidStoreURL
from holdall.options import StoreOptions, nearest
from holdall.url import StoreURL, is_secret_name
from holdall_fsspec._protocol import Protocol

__all__ = ["PREFIX", "FsspecOptions", "arguments", "options_for"]

PREFIX = "opt."
MIB = 1024 * 1024


class FsspecOptions(BackendOptions):
    """Options of every protocol. Each has additional ones: the arguments of its filesystem's constructor."""

    commit: Literal["auto", "put", "move"] = Field(
        default="auto",
        description="how metadata appears: by one PUT, or moved from a temporary name; auto: as suits the filesystem",
    )
    part_size: ByteSize = Field(
        default=ByteSize(5 * MIB), ge=5 * MIB, le=1024 * MIB, description="bytes of a part of a large upload"
    )


# These would enable caches, break sharing between threads, or are not text.
_NOT_OPTIONS = frozenset(
    (  # noqa: SIM905 - a list of names reads best as text
        "self skip_instance_cache use_listings_cache listings_expiry_time max_paths asynchronous loop global_store "
        "auto_mkdir batch_size client session request_session fs fo target_protocol target_options pool_type "
        "get_client auth auth_strategy pkey transport transport_factory mounts event_hooks limits"
    ).split()
)
# Taken from the authority of the URL.
_ADDRESS = frozenset({"host", "port", "base_url"})

# The functions that receive a constructor's keyword arguments, and further ones that it accepts.
_HANDED_ON = {
    "fsspec.implementations.sftp": (("paramiko.client:SSHClient.connect",), ("temppath", "host_key_policy")),
    "sshfs.spec": (("asyncssh:SSHClientConnectionOptions.prepare",), ()),
    "webdav4.fsspec": (("webdav4.client:Client.__init__", "webdav4.http:Client.__init__"), ()),
}
_CONNECTS = {"hostname", "sock", "http_client"}


def options_for(protocol: Protocol, url: StoreURL) -> type[FsspecOptions]:
    """The options model of this URL: each argument that can be given as text, and each `opt.NAME` in it."""
    known, is_open = _arguments(protocol.cls)
    fields: dict[str, Any] = {
        name: _field(parameter, protocol)
        for name, parameter in known.items()
        # An argument with the name of an option of the store or the backend, or of a pydantic attribute, needs the
        # prefix.
        if name not in FsspecOptions.model_fields
        and name not in StoreOptions.model_fields
        and not hasattr(BaseModel, name)
    }
    if protocol.address == "base_url":
        fields["tls"] = (bool, Field(default=True, description="https; false: http"))
    for name in url.query:
        if name.startswith(PREFIX):
            fields[name] = _prefixed(name, known, protocol, is_open=is_open)
    return create_model(f"{protocol.name.capitalize()}Options", __base__=FsspecOptions, **fields)


def arguments(options: BackendOptions) -> dict[str, Any]:
    """The constructor arguments that were given. Raises `InvalidStoreURL` if one was given twice."""
    given: dict[str, Any] = {}
    for name in options.model_fields_set - set(FsspecOptions.model_fields) - {"tls"}:
        bare = name.removeprefix(PREFIX)
        if bare in given:
            raise InvalidStoreURL(f"the options {bare!r} and {PREFIX + bare!r} are the same; keep one")
        given[bare] = getattr(options, name)
    return given


def _prefixed(name: str, known: dict[str, inspect.Parameter], protocol: Protocol, *, is_open: bool) -> Any:
    bare = name.removeprefix(PREFIX)
    if bare in known:
        return _field(known[bare], protocol)
    if bare in _NOT_OPTIONS | _ADDRESS or not bare.isidentifier():
        raise InvalidStoreURL(f"{bare!r} of {protocol.name} cannot be set by an option")
    if not is_open:
        meant = nearest(bare, known)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise InvalidStoreURL(f"unknown option {name!r} for {protocol.name}{hint}; it has: {', '.join(sorted(known))}")
    return (_Loose, Field(default=None, description=_described(protocol)))


def _arguments(cls: type[AbstractFileSystem]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The arguments that can be options, and whether the class accepts others, of unknown names."""
    found: dict[str, inspect.Parameter] = {}
    is_open = True
    for base in cls.__mro__:
        if not is_open or base is AbstractFileSystem:
            break
        if "__init__" in base.__dict__:
            is_open = _collect(base.__dict__["__init__"], found)
    targets, more = _HANDED_ON.get(cls.__module__, ((), ()))
    for target in targets:
        _collect(_resolve(target), found)
    for name in more:
        found.setdefault(name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None))
    # The class that a parameter without a default marks itself with is callable, too. Only the class's own constructor
    # can demand an argument: it may give those of its bases itself.
    demanded = {p.name for p in inspect.signature(cls.__init__).parameters.values() if p.default is p.empty}
    usable = {
        name: parameter
        for name, parameter in found.items()
        if not (name in _NOT_OPTIONS | _ADDRESS | _CONNECTS or name.startswith("_"))
        and (name in demanded or not callable(parameter.default))
    }
    return usable, is_open


def _collect(function: Any, found: dict[str, inspect.Parameter]) -> bool:
    """Add the named parameters of a function. Returns whether it accepts any others."""
    takes_more = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            found.setdefault(parameter.name, parameter)
        takes_more = takes_more or parameter.kind is parameter.VAR_KEYWORD
    return takes_more


def _resolve(target: str) -> Any:
    module, _, path = target.partition(":")
    return functools.reduce(getattr, path.split("."), importlib.import_module(module))


_SIMPLE: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_WRAPPED = re.compile(r"(?:typing\.)?Optional\[(.*)\]|(?:typing\.)?Union\[(.*), *None(?:Type)?\]")


def _described(protocol: Protocol) -> str:
    return f"as the constructor of {protocol.cls.__name__} has it"


def _field(parameter: inspect.Parameter, protocol: Protocol) -> Any:
    default = ... if parameter.default is parameter.empty else None
    kind = next(_kinds(parameter), None)
    if kind is None:
        kind = str if _is_text(parameter.name) else _Loose
    field = Field(default=default, description=_described(protocol))
    return (kind | None if isinstance(kind, type) else kind, field)


def _kinds(parameter: inspect.Parameter) -> Iterator[type]:
    """The type according to the annotation, or else to the default."""
    annotation = parameter.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation).strip("'\"")
    if wrapped := _WRAPPED.fullmatch(text):
        text = wrapped[1] or wrapped[2]
    text = text.replace(" ", "").removesuffix("|None")
    if text in _SIMPLE:
        yield _SIMPLE[text]
    elif type(parameter.default) in _SIMPLE.values():
        yield type(parameter.default)


def _is_text(name: str) -> bool:
    return name in {"user", "username", "account_name", "project"} or (
        is_secret_name(name) and "token" not in name and not name.endswith("timeout")
    )


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


_Loose = Annotated[Any, BeforeValidator(_read)]
