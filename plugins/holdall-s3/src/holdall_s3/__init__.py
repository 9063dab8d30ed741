"""holdall stores in an S3 bucket, through s3fs: `s3://bucket/prefix`.

An entry is two objects, `<id>/data.bin` and `<id>/meta.json`; it exists from the PUT of the second on.
"""

from holdall_s3._backend import S3Backend
from holdall_s3._options import S3Options

__all__ = ["S3Backend", "S3Options"]
