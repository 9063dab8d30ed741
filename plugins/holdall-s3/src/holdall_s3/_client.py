"""An s3fs filesystem: its creation, calls from any thread, and forks."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import botocore.exceptions
import s3fs
from fsspec.asyn import get_loop

from holdall.errors import InvalidStoreURL, StorageError
from holdall_s3._errors import translated
from holdall_s3._options import S3Options, checked_endpoint
from holdall_s3._session import configured_endpoint, new_session, user_agent

__all__ = ["Client", "Pending", "keep_for_ever", "tell_after_fork"]

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
# Practically unlimited. An open file holds a connection for as long as it is open, and a request that had to wait for
# one of these could wait forever: no timeout of the client covers that wait.
_MOST_CONNECTIONS = 1_000_000

# All live objects that hold a connection, to be notified after a fork.
_holders: weakref.WeakSet[Any] = weakref.WeakSet()

# What a forked child inherited. It is never used there, and never freed either: freeing a connection would remove its
# socket from the epoll set that is shared with the parent.
_inherited: list[object] = []


class Pending(Generic[T]):
    """A coroutine running on the client's event loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._loop = get_loop()
        self._pid = os.getpid()
        self._done = threading.Event()
        self._task: asyncio.Task[T] | None = None
        self._loop.call_soon_threadsafe(self._begin, coroutine)

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(lambda _: self._done.set())

    def result(self) -> T:
        """The coroutine's result or exception. If the wait is interrupted (Ctrl-C), the coroutine is cancelled."""
        if self._pid != os.getpid():
            # The event loop that would finish it exists only in the parent; the wait would never end.
            raise StorageError("cannot continue what the parent process began; begin it again in this process")
        try:
            self._done.wait()
        except BaseException:
            self.stop()
            raise
        assert self._task is not None
        return self._task.result()

    def stop(self) -> None:
        """Cancel it and wait until it has ended, so that it has no effect afterwards."""
        # In a forked child, there is no event loop to end it, and nothing to be ended.
        if self._pid != os.getpid():
            return
        self._loop.call_soon_threadsafe(self._cancel)
        # A finalizer may run on any thread, and the event loop's thread must not wait for itself.
        if not _runs_here(self._loop):
            self._done.wait()

    def _cancel(self) -> None:
        # Already begun: the event loop runs callbacks in the order in which they were scheduled.
        assert self._task is not None
        self._task.cancel()
        # Its exception, if any, is retrieved so that asyncio does not log it.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())


class Client:
    """The bucket's client. Connects on first use; thread-safe.

    After a fork, the child creates a new client.
    """

    def __init__(self, bucket: str, options: S3Options) -> None:
        self.bucket = bucket
        self._options = options
        endpoint = self._given_endpoint()
        self.is_amazon = endpoint is None
        self.endpoint = endpoint or "AWS S3"
        self._forget()
        tell_after_fork(self)

    def _given_endpoint(self) -> str | None:
        """The endpoint from the options, the environment or a configuration file; None: AWS."""
        given, profile = self._options.endpoint_url, self._options.profile
        if given is not None and profile is None:
            return given
        try:
            found = configured_endpoint(new_session(profile))
        except botocore.exceptions.BotoCoreError as error:
            if profile is not None:
                raise InvalidStoreURL(f"the profile {profile!r} cannot be used: {error}") from error
            # A mistake in the environment is reported by the first call, as for credentials.
            return given
        if given is not None or found is None:
            return given
        try:
            return checked_endpoint(found)
        except ValueError as error:
            raise InvalidStoreURL(
                f"the endpoint that the environment or a configuration file names cannot be used: {error}"
            ) from None

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._filesystem: s3fs.S3FileSystem | None = None

    def after_fork(self) -> None:
        """In a forked child: leave the parent's connections alone."""
        keep_for_ever(self._filesystem)
        self._forget()

    def call(self, method: str, what: str, file_id: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The response to one request. `what` describes the operation in errors: "read file-1"."""
        return self.start(self.request(method, what, file_id, **parameters)).result()

    async def request(self, method: str, what: str, file_id: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The same as a coroutine, for `start`."""
        try:
            # s3fs has no public coroutine for this; its public counterpart call_s3 blocks.
            call = self.filesystem()._call_s3(method, Bucket=self.bucket, **parameters)  # noqa: SLF001
            if isinstance(body := parameters.get("Body"), io.BytesIO):
                call = _unless_stalled(call, body, self._options.timeout_seconds, self.endpoint)
            answer: dict[str, Any] = await call
        except Exception as error:
            raise translated(error, what, self.bucket, self.endpoint, file_id) from error
        return answer

    async def read(self, key: str, what: str, file_id: str | None = None) -> bytes:
        """The content of a small object: one GET, repeated if its body is interrupted."""
        for attempts_left in range(self._options.retries, -1, -1):
            answer = await self.request("get_object", what, file_id, Key=key)
            body = answer["Body"]
            try:
                return bytes(await body.read())
            except Exception as error:
                if not attempts_left:
                    raise translated(error, what, self.bucket, self.endpoint, file_id) from error
            finally:
                body.close()
        raise AssertionError("the last attempt returns or raises")

    async def sign(self, key: str, expires_in: int, file_id: str) -> str:
        """A URL for a GET of the object; makes no request."""
        filesystem = self.filesystem()
        try:
            client = await filesystem.set_session()
            url = await client.generate_presigned_url(
                "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=expires_in
            )
        except Exception as error:
            raise translated(error, f"sign a URL of {file_id}", self.bucket, self.endpoint, file_id) from error
        return str(url)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Pending[T]:
        """Start a coroutine on the client's event loop."""
        return Pending(coroutine)

    def soon(self, action: Callable[[], object]) -> None:
        """Schedule a call on the client's event loop, without waiting for it."""
        loop = get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(action)

    def filesystem(self) -> s3fs.S3FileSystem:
        """The s3fs filesystem, created on first use."""
        found = self._filesystem
        if found is None:
            with self._lock:
                found = self._filesystem
                if found is None:
                    found = self._filesystem = self._make()
        return found

    def close(self) -> None:
        """Close the connections. A second call does nothing."""
        with self._lock:
            found, self._filesystem = self._filesystem, None
        if found is not None and found._s3 is not None:  # noqa: SLF001 - fs.s3 would connect
            Pending(found.s3.close()).result()

    def _make(self) -> s3fs.S3FileSystem:
        options = self._options
        filesystem = s3fs.S3FileSystem(
            # fsspec's caches return stale results, and share instances with other code.
            skip_instance_cache=True,
            use_listings_cache=False,
            anon=options.anon,
            key=_plain(options.key),
            secret=_plain(options.secret),
            token=_plain(options.token),
            endpoint_url=options.endpoint_url,
            client_kwargs={} if options.region is None else {"region_name": options.region},
            config_kwargs={
                "connect_timeout": min(_CONNECT_SECONDS, options.timeout_seconds),
                "read_timeout": options.timeout_seconds,
                "max_pool_connections": _MOST_CONNECTIONS,
                "user_agent": user_agent(),
                # All parameters are created here, and the server validates them as well.
                "parameter_validation": False,
                "retries": {"total_max_attempts": options.retries + 1, "mode": "standard"},
                "s3": {"addressing_style": options.addressing},
                # Signed URLs would otherwise use the old signature version, which many servers refuse.
                **({} if options.anon else {"signature_version": "s3v4"}),
            },
            s3_additional_kwargs=_encryption(options),
            session=new_session(options.profile),
        )
        # The client below retries with backoff; s3fs would retry on top of it, for half a minute and more.
        filesystem.retries = 1
        return filesystem


async def _unless_stalled(
    call: Coroutine[Any, Any, dict[str, Any]], body: io.BytesIO, seconds: float, endpoint: str
) -> dict[str, Any]:
    """The response, unless the server accepts no data of the body for this long, which no client timeout covers."""
    task = asyncio.ensure_future(call)
    end, before = body.getbuffer().nbytes, -1
    try:
        while not (await asyncio.wait({task}, timeout=seconds))[0]:
            # Before and after the body is sent, the client's own timeouts apply. A closed body has been sent.
            position = end if body.closed else body.tell()
            if 0 < position < end and position == before:
                raise botocore.exceptions.ReadTimeoutError(endpoint_url=endpoint)
            before = position
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _plain(secret: Any) -> str | None:
    return None if secret is None else str(secret.get_secret_value())


def _encryption(options: S3Options) -> dict[str, str]:
    asked = {"ServerSideEncryption": options.sse, "SSEKMSKeyId": options.sse_kms_key_id}
    return {name: value for name, value in asked.items() if value is not None}


def tell_after_fork(holder: Any) -> None:
    """Call `holder.after_fork()` in every child process that is forked during the holder's lifetime."""
    _holders.add(holder)


def keep_for_ever(inherited: object) -> None:
    """In a forked child: never free this object, because the parent uses it."""
    _inherited.append(inherited)


def _after_fork() -> None:
    for holder in list(_holders):
        holder.after_fork()


os.register_at_fork(after_in_child=_after_fork)
