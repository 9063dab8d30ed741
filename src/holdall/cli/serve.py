"""`serve`: the Files API as a service."""

from __future__ import annotations

import contextlib
import enum
import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from holdall.cli import _errors
from holdall.cli._app import Debug, Settings, Store, app
from holdall.cli._text import parse_duration, parse_size
from holdall.errors import HoldallError, NotSupported

if TYPE_CHECKING:
    from holdall.server import Keys

__all__: list[str] = []

_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


class _LogFormat(enum.StrEnum):
    TEXT = "text"
    JSON = "json"


@app.command()
def serve(
    ctx: typer.Context,
    *,
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The store to serve; by default that of --store.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", envvar="HOLDALL_SERVE_HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", envvar="HOLDALL_SERVE_PORT", min=0, max=65_535, help="The port to listen on; 0: any free port."
        ),
    ] = 8000,
    workers: Annotated[
        int,
        typer.Option(
            envvar="HOLDALL_SERVE_WORKERS", min=1, help="The number of worker processes; one that dies is replaced."
        ),
    ] = 1,
    grace: Annotated[
        int,
        typer.Option(
            "--grace",
            envvar="HOLDALL_SERVE_GRACE",
            min=0,
            help="How many seconds transfers may continue after the server is told to stop.",
        ),
    ] = 30,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            envvar="HOLDALL_SERVE_MAX_BYTES",
            metavar="SIZE",
            help="The largest file to accept, such as 2GiB.",
            show_default="the limit of the store; 8GiB for uploads in parts",
        ),
    ] = None,
    sweep_every: Annotated[
        str,
        typer.Option(
            envvar="HOLDALL_SERVE_SWEEP_EVERY",
            metavar="TIME",
            help="How often to remove expired files, and leftovers older than an hour: 90s, 15m, 1h30m; 0: never.",
        ),
    ] = "10m",
    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar="HOLDALL_SERVE_METRICS_PORT",
            min=0,
            max=65_535,
            help="A separate port that serves metrics for Prometheus.",
            show_default="none",
        ),
    ] = None,
    metrics_host: Annotated[
        str,
        typer.Option(
            envvar="HOLDALL_SERVE_METRICS_HOST",
            help="The address of that port; anyone who can reach it can read the metrics.",
        ),
    ] = "127.0.0.1",
    log_format: Annotated[
        _LogFormat,
        typer.Option(
            envvar="HOLDALL_SERVE_LOG_FORMAT",
            help="The log format: one line of text or one JSON object per event.",
        ),
    ] = _LogFormat.TEXT,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Serve the Files API over HTTP until interrupted.

    The official SDK only needs its base_url set. API keys are read from $HOLDALL_API_KEYS and from the file
    $HOLDALL_API_KEYS_FILE, which `holdall key` writes. Without API keys, only a loopback address is allowed.
    """
    try:
        from holdall.cli import _serving as serving  # noqa: PLC0415
        from holdall.cli._logs import log_everything  # noqa: PLC0415
        from holdall.cli._service import Service  # noqa: PLC0415
        from holdall.server import Keys  # noqa: PLC0415
        from holdall.url import StoreURL  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise NotSupported(f"cannot serve: {error.name} is not installed; pip install 'holdall[server]'") from error
    settings: Settings = ctx.obj
    keys = Keys.from_environment()
    if keys is None and not _is_this_machine(host):
        raise typer.BadParameter(
            f"without API keys, anyone who can reach {host} would have access; "
            "create a key with 'holdall key', or listen on 127.0.0.1",
            param_hint="--host",
        )
    most = None if max_bytes is None else parse_size("--max-bytes", max_bytes)
    service = Service(
        url=_url_of(next((given for given in (url, store, settings.store) if given is not None), None), most),
        hosts=None if keys else sorted({*_THIS_MACHINE, host}),
        grace_seconds=grace,
        # Multiplied so that the workers together sweep as often as one would.
        sweep_seconds=parse_duration("--sweep-every", sweep_every) * workers,
        max_upload_bytes=most,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        as_json=log_format is _LogFormat.JSON,
        debug=settings.debug,
    )
    log_everything(as_json=service.as_json, debug=service.debug)
    with _errors_logged() if service.as_json else contextlib.nullcontext():
        serving.check_store(service, workers)
        with serving.listening(host, port) as listener:
            told = f"serving {serving.address(listener)}/v1 from {StoreURL.parse(service.url)}, {_for_whom(keys)}"
            if workers > 1:
                serving.serve_together(service, listener, workers, told)
            elif not serving.serve_alone(service, listener, told):
                raise typer.Exit(_errors.FAILED)


def _url_of(given: str | None, max_bytes: int | None) -> str:
    from holdall.opening import default_url  # noqa: PLC0415
    from holdall.url import StoreURL  # noqa: PLC0415

    found = default_url() if given is None else StoreURL.parse(given)
    return (found if max_bytes is None else found.with_options({"max_bytes": str(max_bytes)})).reveal()


@contextlib.contextmanager
def _errors_logged() -> Iterator[None]:
    """Log the error that ends the service, for those who only read the log."""
    import logging  # noqa: PLC0415

    try:
        yield
    except HoldallError as error:
        logging.getLogger("holdall.server").critical("%s", error)
        raise typer.Exit(_errors.exit_code(error)) from error


def _is_this_machine(host: str) -> bool:
    try:
        return host in _THIS_MACHINE or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _for_whom(keys: Keys | None) -> str:
    if keys is None:
        return "without API keys, to this machine only"
    return f"to tenants with an API key ({len(keys.tenants())} now)"
