"""A third-party backend: in memory, with an option of each kind."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Literal

from pydantic import ByteSize, Field, SecretStr, create_model, field_validator, model_validator

from holdall.backend import Backend, BackendOptions
from holdall.backends.memory import MemoryBackend
from holdall.errors import StorageUnavailable


class Colour(enum.Enum):
    """A choice by name."""

    RED = "red"
    GREEN = "green"


class FakeBackend(MemoryBackend):
    """Keeps its URL and options for inspection; fails in the way that its host names."""

    class Options(BackendOptions):
        """One option of each kind."""

        level: Literal["low", "high"] | None = None
        colour: Colour = Colour.RED
        part_bytes: ByteSize = ByteSize(1024)
        patience: dt.timedelta = dt.timedelta(seconds=1)
        fast: bool = False
        retries: int = Field(default=3, ge=0)
        endpoint_url: str | None = None
        secret_key: SecretStr | None = None
        pin_token: SecretStr = Field(default=SecretStr("000000"), min_length=6)
        passphrase: str = ""

        @field_validator("passphrase")
        @classmethod
        def _no_blanks(cls, value):
            if " " in value:
                raise ValueError(f"{value!r} has a blank")
            return value

        @model_validator(mode="after")
        def _fitting(self):
            if self.fast and self.retries > 5:
                raise ValueError(
                    f"fast goes with few retries, not with key {self.secret_key and self.secret_key.get_secret_value()}"
                )
            return self

    def __init__(self, url, options):
        super().__init__((url.host + url.path) or None)
        self.url, self.options = url, options

    @classmethod
    def from_url(cls, url, options):
        said = f"https://{url.username}:{url.password}@{url.host} refused {dict(url.query)}"
        if url.host == "value-error":
            raise ValueError(said)
        if url.host == "os-error":
            raise ConnectionRefusedError(said)
        if url.host == "unavailable":
            raise StorageUnavailable(said)
        return cls(url, options)


class Demanding(MemoryBackend):
    """Has a required option."""

    class Options(BackendOptions):
        """An option without a default."""

        region: str

    @classmethod
    def from_url(cls, url, options):
        return cls()


class ManyDrivers(MemoryBackend):
    """Accepts every driver; each has an option of its own name."""

    any_driver = True

    class Options(BackendOptions):
        """An option that all drivers have."""

        speed: int = 1

    @classmethod
    def options_for(cls, url):
        driver = url.scheme.partition("+")[2]
        return create_model("Driven", __base__=cls.Options, **{driver: (int, 0)}) if driver else cls.Options

    @classmethod
    def from_url(cls, url, options):
        backend = cls()
        backend.scheme, backend.options = url.scheme, options
        return backend


class Clientless(MemoryBackend):
    """Needs a client library to know its options, and imports it without further ado."""

    @classmethod
    def options_for(cls, url):
        raise ImportError(f"no client for {url.reveal()}")


class Careless(MemoryBackend):
    """Has a secret option without a secret's name."""

    class Options(BackendOptions):
        """An option whose value would be shown."""

        pin: SecretStr | None = None


class Greedy(MemoryBackend):
    """Has an option of the store's own name."""

    class Options(BackendOptions):
        """An option that the store has already."""

        max_bytes: int = 1


class Unfinished(Backend):
    """Implements three of the five required methods."""

    @classmethod
    def from_url(cls, url, options):
        return cls()

    def stage(self, file_id):
        raise NotImplementedError

    def read_meta(self, file_id):
        raise NotImplementedError

    def open_data(self, file_id, start=0, stop=None):
        raise NotImplementedError


class Optionless(MemoryBackend):
    """Its options are not a model."""

    Options = dict


NOT_A_CLASS = "FakeBackend"
