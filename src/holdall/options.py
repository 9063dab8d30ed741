"""Options of a store and of its backend: one query string, each option typed, each mistake explained."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import ByteSize, ConfigDict, Field, SecretStr, ValidationError

from holdall.backend import BackendOptions
from holdall.errors import InvalidStoreURL, PluginLoadError
from holdall.url import is_secret_name

__all__ = ["DEFAULT_MAX_BYTES", "StoreOptions", "nearest", "split_options"]

DEFAULT_MAX_BYTES = 512 * 1024 * 1024


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
            f"the backend of {scheme}:// has an option {min(own & theirs)!r}, which is the store's; rename it there"
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
    secret = is_secret_name(name) or SecretStr in (annotation, *get_args(annotation))
    value = first["input"]
    shown = "" if secret else f" cannot be {value!r}"
    choices = _choices(first["type"], annotation)
    meant = None if secret else nearest(str(value).lower(), choices)
    hint = f"; did you mean {meant!r}?" if meant else ""
    return f"option {name!r} of {scheme}://{shown}: {_without_prefix(first['msg'])}{hint}"


def _without_prefix(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _choices(kind: str, annotation: Any) -> list[str]:
    if kind in {"bool_parsing", "bool_type"}:
        return ["true", "false"]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [str(member.value) for member in annotation]
    return [str(choice) for choice in get_args(annotation)]
