"""holdall stores on object storage through obstore: `s3+obstore://`, `gs+obstore://`, `az+obstore://` and two more."""

from holdall_obstore._clouds import AzureBackend, GoogleBackend, S3Backend
from holdall_obstore._local import LocalBackend
from holdall_obstore._memory import MemoryBackend

__all__ = ["AzureBackend", "GoogleBackend", "LocalBackend", "MemoryBackend", "S3Backend"]
