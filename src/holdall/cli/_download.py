"""A download: a file that appears only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from holdall.errors import InvalidRequest

if TYPE_CHECKING:
    from holdall.model import FileObject

__all__ = ["Download", "choose_path", "safe_name"]

# The limit of all common file systems, in bytes of UTF-8.
_LONGEST_NAME = 255
_STDOUT = "-"


def safe_name(stored: str, fallback: str) -> str:
    r"""A safe file name in the current directory, made from a stored name that anybody may have chosen.

    Uses only the last part of what looks like a path, without leading dots; a non-printable character, or a leading
    dash, which other programs would take for an option, becomes an underscore. Returns `fallback` if nothing is left.
    Long names are shortened before their suffix.

    >>> safe_name("../../etc/.passwd", "x"), safe_name("C:\\tmp\\a\x1b[1m.txt", "x"), safe_name("..", "x")
    ('passwd', 'a_[1m.txt', 'x')
    >>> safe_name("-rf", "x")
    '_rf'
    """
    name = stored.replace("\\", "/").rpartition("/")[2]
    name = "".join(c if c.isprintable() else "_" for c in name).strip().lstrip(". ")
    if name.startswith("-"):
        name = "_" + name[1:]
    if len(name.encode()) > _LONGEST_NAME:
        stem, suffix = os.path.splitext(name)
        if len(suffix.encode()) > _LONGEST_NAME // 4:
            stem, suffix = name, ""
        room = _LONGEST_NAME - len(suffix.encode())
        name = stem.encode()[:room].decode(errors="ignore") + suffix
    return name or fallback


def choose_path(file: FileObject, output: str | None) -> str:
    """The path to which a file is downloaded."""
    if output is None:
        return safe_name(file.filename, file.id)
    if not output:
        raise InvalidRequest("-o is empty; give a file, or a directory")
    if output == _STDOUT:
        return output
    return os.path.join(output, safe_name(file.filename, file.id)) if os.path.isdir(output) else output


class Download:
    """Writes to a temporary file next to `path` and renames it at the end. A context manager: if left incomplete, it
    leaves no file.

    An existing `path` is replaced only with `force`; otherwise raises `FileExistsError`, as early as possible. A pipe
    or a device is written to directly, because it has no content to protect and must not be replaced by a file; so is
    standard output, given as `-` or as a link such as `/dev/stdout`.
    """

    def __init__(self, path: str, *, force: bool) -> None:
        self._path = path
        self._force = force
        self._part: str | None = None
        self.is_our_output = path == _STDOUT or _is_our_output(path)
        """Whether the data goes to standard output, to which nothing else may then be written."""
        if self.is_our_output:
            self._file: BinaryIO = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115 - closed by __exit__
            return
        if _is_special(path):
            self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
            return
        self._refuse_to_replace()
        self._part = os.path.join(os.path.dirname(path), f".holdall-{os.urandom(6).hex()}.part")
        try:
            self._file = open(self._part, "xb")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            # The user asked for path, and does not know the temporary file.
            raise OSError(error.errno, error.strerror, path) from error

    def write(self, chunk: bytes) -> None:
        """Append all of `chunk`."""
        try:
            self._file.write(chunk)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error

    def complete(self) -> None:
        """Make the file appear at its path."""
        try:
            self._file.close()
            self._appear()
        except FileExistsError:
            self._refuse_to_replace()
            raise
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error
        self._part = None

    def _appear(self) -> None:
        if self._part is None:
            return
        if not self._force:
            try:
                # Unlike a rename, a link never replaces a file that was created in the meantime.
                os.link(self._part, self._path)
            except FileExistsError:
                raise
            except OSError:
                # The file system does not support hard links.
                self._refuse_to_replace()
            else:
                os.unlink(self._part)
                return
        os.replace(self._part, self._path)

    def _refuse_to_replace(self) -> None:
        if not self._force and os.path.lexists(self._path):
            raise FileExistsError(errno.EEXIST, "it exists already; add --force to replace it", self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        if self._part is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._part)


def _is_our_output(path: str) -> bool:
    # If this link leads to a file, the download would otherwise replace the link.
    try:
        return os.path.islink(path) and os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def _is_special(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
