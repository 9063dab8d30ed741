"""holdall's files on any fsspec filesystem: `fsspec+PROTOCOL://…`, and `gs:// az:// abfs:// sftp:// webdav:// ftp:// hdfs://`.

An entry is two files, `<id>/data.bin` and `<id>/meta.json`; the second one's appearance makes it exist.
"""

from holdall_fsspec._backend import FsspecAlias, FsspecBackend

__all__ = ["FsspecAlias", "FsspecBackend"]
