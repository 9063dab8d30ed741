"""holdall's files in an S3 bucket, by s3fs: `s3://bucket/prefix`.

An entry is two objects, `<id>/data.bin` and `<id>/meta.json`; the PUT of the second makes it exist.
"""

from holdall_s3._backend import S3Backend
from holdall_s3._options import S3Options

__all__ = ["S3Backend", "S3Options"]
