"""The options of `s3://`."""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, SecretStr, field_validator, model_validator

from holdall.backend import BackendOptions

__all__ = ["MIB", "S3Options", "checked_endpoint"]

MIB = 1024 * 1024
_DEFAULT_PART_BYTES = ByteSize(8 * MIB)


class S3Options(BackendOptions):
    """Options of `s3://`. Credentials that are not given here come from the client's own credential chain."""

    endpoint_url: str | None = Field(
        default=None, description="where the server is, such as http://127.0.0.1:9000; default: AWS, or its environment"
    )
    region: str | None = Field(default=None, min_length=1, description="the bucket's region, such as eu-west-1")
    profile: str | None = Field(default=None, min_length=1, description="a profile of ~/.aws/config")
    anon: bool = Field(default=False, description="send no credentials: for public buckets")
    key: SecretStr | None = Field(default=None, description="access key id; together with secret")
    secret: SecretStr | None = Field(default=None, description="secret access key; together with key")
    token: SecretStr | None = Field(default=None, description="session token of temporary credentials")
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        default=None, description="encryption at rest to ask for; default: the bucket's own"
    )
    sse_kms_key_id: str | None = Field(default=None, min_length=1, description="the KMS key, with sse=aws:kms")
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="how the bucket is named: in the path, or in the host name"
    )
    part_size: ByteSize = Field(
        default=_DEFAULT_PART_BYTES,
        ge=5 * MIB,
        le=5 * 1024 * MIB,
        description="larger files are uploaded in parts of this size, such as 16MiB; at most 10 000 parts",
    )
    max_concurrency: int = Field(
        default=1, ge=1, le=64, description="parts of one upload on their way at once; each takes part_size of memory"
    )
    retries: int = Field(default=4, ge=0, le=20, description="how often a request that may succeed later is repeated")
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600, description="how long the server may be silent")

    @field_validator("endpoint_url")
    @classmethod
    def _check_endpoint(cls, url: str | None) -> str | None:
        return None if url is None else checked_endpoint(url)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.key is None) != (self.secret is None):
            raise ValueError("key and secret are given together")
        if self.token is not None and self.key is None:
            raise ValueError("token is given together with key and secret")
        if self.key is not None and self.profile is not None:
            raise ValueError("credentials come from profile, or from key and secret; leave one out")
        if self.anon and (self.key is not None or self.profile is not None):
            raise ValueError("anon sends no credentials; leave out key, secret, token and profile")
        if self.sse_kms_key_id is not None and self.sse in {None, "AES256"}:
            raise ValueError("sse_kms_key_id needs sse=aws:kms")
        return self


def checked_endpoint(url: str) -> str:
    """The URL of a server, if it is valid. Raises `ValueError` with the reason, without quoting the URL."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not contain credentials; give key and secret")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it must be an http:// or https:// URL")
    if parts.query or parts.fragment:
        raise ValueError("it must have no query")
    return url
