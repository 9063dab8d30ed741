"""holdall stores on any fsspec filesystem: `fsspec+PROTOCOL://…`, and `gs:// az:// abfs:// sftp:// webdav:// ftp://
hdfs://`.

An entry is two files, `<id>/data.bin` and `<id>/meta.json`; it exists from the moment that the second appears.
"""

from holdall_fsspec._backend import FsspecAlias, FsspecBackend

__all__ = ["FsspecAlias", "FsspecBackend"]
