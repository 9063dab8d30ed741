"""Options of a store and of its backend, in one query string: validation, and explanations of mistakes."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import ByteSize, ConfigDict, Field, SecretBytes, SecretStr, ValidationError

from holdall.backend import BackendOptions
from holdall.errors import InvalidStoreURL, PluginLoadError
from holdall.url import is_secret_name, without_passwords

__all__ = ["DEFAULT_MAX_BYTES", "StoreOptions", "nearest", "split_options"]

DEFAULT_MAX_BYTES = 512 * 1024 * 1024

_SHOWN_CHARACTERS = 100
_SECRET_TYPES = (SecretStr, SecretBytes)
_OWN_WORDS = frozenset({"value_error", "assertion_error"})
# pydantic's messages for these describe its parsing, not what to write.
_WORDS = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "int_parsing": "should be a whole number",
    "float_parsing": "should be a number",
    "byte_size": "should be a size such as 64MiB, or a number of bytes",
    "byte_size_unit": "should be a size such as 64MiB, or a number of bytes",
}


class StoreOptions(BackendOptions):
    """Options that every store has, whatever its backend."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: ByteSize = Field(default=ByteSize(DEFAULT_MAX_BYTES), gt=0, description="largest file, such as 1GiB")


def split_options(
    scheme: str, options: Mapping[str, Any], backend_options: type[BackendOptions]
) -> tuple[StoreOptions, BackendOptions]:
    """The validated options of the store and of the backend.

    Raises `InvalidStoreURL` naming the option that is unknown or ill-typed, the ones that exist, and the nearest.
    """
    own, theirs = set(StoreOptions.model_fields), set(backend_options.model_fields)
    if own & theirs:
        raise PluginLoadError(
            f"the backend of {scheme}:// has an option {min(own & theirs)!r}, which every store has already; "
            "rename the backend's"
        )
    for name in sorted(theirs):
        is_secret = any(part in _SECRET_TYPES for part in _parts(backend_options.model_fields[name].annotation))
        if is_secret and not is_secret_name(name):
            raise PluginLoadError(
                f"the option {name!r} of {scheme}:// is a secret, but its name does not say so and would be shown with "
                f"its value; rename it there, such as to {name + '_secret'!r}"
            )
    for name in options:
        if name not in own | theirs:
            raise InvalidStoreURL(_unknown(scheme, name, own | theirs))
    try:
        return (
            StoreOptions.model_validate({k: v for k, v in options.items() if k in own}),
            backend_options.model_validate({k: v for k, v in options.items() if k in theirs}),
        )
    except ValidationError as error:
        # "from None": pydantic's error quotes the input, which may be a secret.
        raise InvalidStoreURL(_ill_typed(scheme, error, backend_options)) from None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant, or None."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def _unknown(scheme: str, name: str, known: set[str]) -> str:
    meant = nearest(name, known)
    hint = f"; did you mean {meant!r}?" if meant else ";"
    return f"unknown option {name!r} for {scheme}://{hint} it has: {', '.join(sorted(known))}"


def _ill_typed(scheme: str, error: ValidationError, backend_options: type[BackendOptions]) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if not name:
        return f"the options of {scheme}:// do not fit together: {_without_prefix(first['msg'])}"
    if first["type"] == "missing":
        return f"{scheme}:// needs the option {name!r}; add ?{name}=… to the URL"
    fields = StoreOptions.model_fields | backend_options.model_fields
    annotation = fields[name].annotation if name in fields else None
    if is_secret_name(name):
        # A message from the backend's own validator may quote the value.
        why = "it is not accepted" if first["type"] in _OWN_WORDS else _why(first)
        return f"option {name!r} of {scheme}://: {why}"
    shown = without_passwords(repr(first["input"]))
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    meant = nearest(str(first["input"]).lower(), _choices(first["type"], annotation))
    hint = f"; did you mean {meant!r}?" if meant else ""
    return f"option {name!r} of {scheme}:// cannot be {shown}: {_why(first)}{hint}"


def _why(error: Mapping[str, Any]) -> str:
    return _WORDS.get(error["type"]) or _without_prefix(error["msg"])


def _without_prefix(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _choices(kind: str, annotation: Any) -> list[str]:
    if kind in {"bool_parsing", "bool_type"}:
        return ["true", "false"]
    choices: list[str] = []
    for part in _parts(annotation):
        if isinstance(part, enum.EnumType):
            members: Iterable[enum.Enum] = part
            choices += [str(member.value) for member in members]
        elif isinstance(part, (str, int)):
            choices.append(str(part))
    return choices


def _parts(annotation: Any) -> Iterator[Any]:
    """The types and literals that an annotation consists of."""
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _parts(part)
