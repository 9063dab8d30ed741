"""The backends for object stores on the network: S3 and compatible servers, Google and Azure."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from obstore import sign
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store
from pydantic import ByteSize, Field, SecretStr, field_validator, model_validator

from holdall import InvalidRequest, InvalidStoreURL, NotSupported
from holdall.backend import BackendOptions, Capability, Limits
from holdall_obstore._backend import MIB, ObstoreBackend

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

    from holdall.url import StoreURL

__all__ = ["AzureBackend", "GoogleBackend", "S3Backend"]

_MOST_PARTS = 10_000
# Reading metadata mostly waits for the network. A page of 20, plus the file that shows whether there are more, is read
# in one round.
_READERS = 24
_LONGEST_SIGNED_SECONDS = 7 * 86_400

_ALWAYS = (
    Capability.ATOMIC_PUBLISH
    | Capability.RANGED_READS
    | Capability.EXACT_LISTING
    | Capability.SHARED
    | Capability.PERSISTENT
    | Capability.PORTABLE_LAYOUT
)


class CloudOptions(BackendOptions):
    """Options that are the same for every kind of object store."""

    endpoint_url: str | None = Field(
        default=None,
        description="where the server is, such as http://127.0.0.1:9000; default: the provider's own",
    )
    anon: bool = Field(default=False, description="send no credentials: for what everybody may read")
    part_size: ByteSize = Field(
        default=ByteSize(8 * MIB),
        ge=5 * MIB,
        le=1024 * MIB,
        description="larger files are sent in parts of this size, such as 16MiB; 10 000 parts are the largest file",
    )
    max_concurrency: int = Field(
        default=1,
        ge=1,
        le=64,
        description="parts of one upload on their way at once; each takes part_size of memory",
    )
    retries: int = Field(default=8, ge=0, le=20, description="how often a request that may succeed later is repeated")
    timeout_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="how long the server may be silent, and one part take to be sent"
    )

    @field_validator("endpoint_url")
    @classmethod
    def _check_endpoint(cls, url: str | None) -> str | None:
        return None if url is None else _checked_endpoint(url)


class CloudBackend(ObstoreBackend):
    """The common part of the three backends."""

    def __init__(
        self, kind: type[Any], url: StoreURL, options: CloudOptions, config: dict[str, Any], endpoint: str | None
    ) -> None:
        """`kind` is obstore's class, `config` its specific configuration; `endpoint` is None for the provider's own."""
        if not url.host or url.port is not None:
            raise InvalidStoreURL(f"{url}: name a bucket, without a port: {url.scheme}://bucket/prefix")
        if url.username is not None:
            raise InvalidStoreURL(
                f"{url}: credentials come from the environment or from options, not before the bucket"
            )
        prefix = _prefix(url)
        silence = timedelta(seconds=options.timeout_seconds)
        client: ClientConfig = {
            # Only if it was requested, so that a redirect cannot lead away from TLS.
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "connect_timeout": min(silence, timedelta(seconds=10)),
            "read_timeout": silence,
            # obstore measures this to the end of the body, however slowly it is read: a day is practically unlimited.
            "timeout": timedelta(days=1),
        }
        retry: RetryConfig = {"max_retries": options.retries, "retry_timeout": silence}
        try:
            store = kind(url.host, config=config, client_options=client, retry_config=retry)
        except (BaseError, ValueError) as error:
            # Not chained, because obstore's message may quote its input, including secrets.
            raise InvalidStoreURL(f"{url}: {_refusal(error)}") from None
        where = f"{url.scheme}://{url.host}/{prefix}".rstrip("/")
        super().__init__(
            store,
            prefix,
            where,
            part_size=int(options.part_size),
            max_concurrency=options.max_concurrency,
            readers=_READERS,
        )
        self.capabilities = _ALWAYS
        if not options.anon:
            self.capabilities |= Capability.SIGNED_URLS
        # A custom endpoint's server may keep acknowledged data in memory.
        if endpoint is None:
            self.capabilities |= Capability.DURABLE
        self.limits = Limits(max_file_bytes=_MOST_PARTS * int(options.part_size))

    def signed_url(self, file_id: str, expires_in: int) -> str:
        if Capability.SIGNED_URLS not in self.capabilities:
            raise NotSupported("without credentials (anon=true) no URL can be signed", operation="signed_url")
        if not 1 <= expires_in <= _LONGEST_SIGNED_SECONDS:
            raise InvalidRequest(
                f"cannot sign a URL for {expires_in} seconds: it must be 1 second to 7 days", operation="signed_url"
            )
        store: Any = self.store
        with self.asking("sign a URL for", file_id):
            return sign(store, "GET", self.data_key(file_id), timedelta(seconds=expires_in))


class S3Backend(CloudBackend):
    """`s3+obstore://bucket/prefix`. Credentials: `AWS_ACCESS_KEY_ID` and related variables, a role of the machine, or
    the options.
    """

    class Options(CloudOptions):
        """Options of `s3+obstore://`."""

        region: str | None = Field(default=None, min_length=1, description="the bucket's region, such as eu-central-1")
        key: SecretStr | None = Field(default=None, description="access key id; together with secret")
        secret: SecretStr | None = Field(default=None, description="secret access key; together with key")
        token: SecretStr | None = Field(default=None, description="session token of temporary credentials")
        sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
            default=None, description="encryption at rest to ask for; default: the bucket's own"
        )
        sse_kms_key_id: str | None = Field(default=None, min_length=1, description="the KMS key, with sse=aws:kms")

        @model_validator(mode="after")
        def _pairs(self) -> Self:
            if (self.key is None) != (self.secret is None):
                raise ValueError("key and secret are given together")
            if self.token is not None and self.key is None:
                raise ValueError("token is given together with key and secret")
            if self.anon and self.key is not None:
                raise ValueError("anon sends no credentials; leave out key, secret and token")
            if self.sse_kms_key_id is not None and not (self.sse or "").startswith("aws:kms"):
                raise ValueError("sse_kms_key_id needs sse=aws:kms")
            return self

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        endpoint = options.endpoint_url or _endpoint_in("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        config: dict[str, Any] = {"disable_bulk_delete": True}
        config |= _given(
            endpoint=endpoint,
            region=options.region,
            server_side_encryption=options.sse,
            skip_signature=options.anon or None,
            sse_kms_key_id=options.sse_kms_key_id,
            access_key_id=_secret(options.key),
            secret_access_key=_secret(options.secret),
            session_token=_secret(options.token),
        )
        backend = cls(S3Store, url, options, config, endpoint)
        backend.capabilities |= Capability.ORDERED_LISTING
        return backend


class GoogleBackend(CloudBackend):
    """`gs+obstore://bucket/prefix`. Credentials: `GOOGLE_APPLICATION_CREDENTIALS`, `GOOGLE_SERVICE_ACCOUNT`, or those
    of the machine.
    """

    class Options(CloudOptions):
        """Options of `gs+obstore://`."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        endpoint = options.endpoint_url or _endpoint_in("GOOGLE_BASE_URL")
        config = _given(base_url=endpoint, skip_signature=options.anon or None)
        backend = cls(GCSStore, url, options, config, endpoint)
        backend.capabilities |= Capability.ORDERED_LISTING
        return backend


class AzureBackend(CloudBackend):
    """`az+obstore://container/prefix`. Credentials: `AZURE_STORAGE_ACCOUNT_KEY` and similar, or the options."""

    class Options(CloudOptions):
        """Options of `az+obstore://`."""

        account_name: str | None = Field(
            default=None, description="the storage account; default: AZURE_STORAGE_ACCOUNT_NAME"
        )
        account_key: SecretStr | None = Field(default=None, description="the account's key")
        sas_token: SecretStr | None = Field(default=None, description="a shared access signature")

        @model_validator(mode="after")
        def _one_of_them(self) -> Self:
            given = [name for name in ("account_key", "sas_token") if getattr(self, name) is not None]
            if len(given) > 1:
                raise ValueError("account_key and sas_token are two ways to sign; leave one out")
            if self.anon and given:
                raise ValueError(f"anon sends no credentials; leave out {given[0]}")
            return self

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        endpoint = options.endpoint_url or _endpoint_in("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
        config = _given(
            account_name=options.account_name,
            account_key=_secret(options.account_key),
            sas_key=_secret(options.sas_token),
            endpoint=endpoint,
            skip_signature=options.anon or None,
        )
        # Not ORDERED_LISTING: obstore cannot make Azure start a listing at a name.
        backend = cls(AzureStore, url, options, config, endpoint)
        # obstore reads this variable itself and then uses an emulator on this machine; some values mean no.
        if os.environ.get("AZURE_STORAGE_USE_EMULATOR"):
            backend.capabilities &= ~Capability.DURABLE
        return backend


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; they override obstore's environment variables."""
    return {name: value for name, value in options.items() if value is not None}


def _secret(option: SecretStr | None) -> str | None:
    return None if option is None else option.get_secret_value()


def _endpoint_in(*names: str) -> str | None:
    """The endpoint in the first of these variables, which obstore would use without checks."""
    for name in names:
        if url := os.environ.get(name):
            try:
                return _checked_endpoint(url)
            except ValueError as error:
                raise InvalidStoreURL(f"{name} in the environment cannot be used: {error}") from None
    return None


def _checked_endpoint(url: str) -> str:
    parts = urlsplit(url)
    # obstore would send a password in it to the storage, and include it in its errors.
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not contain credentials; give them as options")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it must be an http:// or https:// URL")
    if parts.query or parts.fragment:
        raise ValueError("it must have no query")
    return url


def _refusal(error: Exception) -> str:
    # By its text: obstore raises one class for everything that it refuses.
    if "Account must be specified" in str(error):
        return "it names no storage account; add ?account_name=… to the URL, or set AZURE_STORAGE_ACCOUNT_NAME"
    return f"obstore does not accept the bucket or an option ({type(error).__name__}); the README says what it needs"


def _prefix(url: StoreURL) -> str:
    """The common prefix of the keys: empty, or ending with a slash."""
    path = url.path.strip("/")
    if not path:
        return ""
    if any(part in {"", ".", ".."} for part in path.split("/")) or any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise InvalidStoreURL(
            f"{url}: a prefix must not have an empty segment, a segment '.' or '..', or a control character"
        )
    return f"{path}/"
