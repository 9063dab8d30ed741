"""Translation of errors of S3 and its client to holdall's errors: each one sentence with advice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aiohttp
import botocore.exceptions as botocore_errors

from holdall.errors import (
    AccessDenied,
    FileNotFound,
    HoldallError,
    StorageError,
    StorageFull,
    StorageUnavailable,
)

__all__ = ["ABSENT", "EXISTS", "NOT_IMPLEMENTED", "OUT_OF_RANGE", "code_of", "translated", "was_refused"]

# Error codes that a caller may expect; the response to a HEAD has only the status.
ABSENT = frozenset({"NoSuchKey", "NoSuchUpload", "NoSuchVersion", "404"})
EXISTS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
OUT_OF_RANGE = frozenset({"InvalidRange", "416"})
NOT_IMPLEMENTED = frozenset({"NotImplemented", "501"})

_BUSY = frozenset({"OperationAborted", "RequestTimeout", "ServiceUnavailable", "InternalError", "408", "409"})

_Kind = type[HoldallError]

# Error codes, the error's type, and the advice; `_answered` fills in `{…}`.
_ANSWERS: tuple[tuple[frozenset[str], _Kind, str], ...] = (
    (
        frozenset({"NoSuchBucket"}),
        StorageError,
        "the bucket {bucket!r} does not exist on {endpoint}; create it, or correct the URL",
    ),
    (ABSENT, FileNotFound, "there is no such file"),
    (EXISTS, StorageError, "it exists already"),
    (
        frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "AuthFailure"}),
        AccessDenied,
        "{endpoint} does not accept the credentials ({code}); check key and secret, or the profile",
    ),
    (
        frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired"}),
        AccessDenied,
        "the credentials have expired ({code}); get new ones and open the store again",
    ),
    (
        frozenset({"RequestTimeTooSkewed"}),
        AccessDenied,
        "this machine's clock differs too much from the server's; set it (NTP)",
    ),
    (
        frozenset(
            {"301", "307", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
            | {"PermanentRedirect", "Redirect", "TemporaryRedirect"}
        ),
        StorageError,
        "the bucket {bucket!r} is in another region; {region}",
    ),
    (
        frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull", "507"}),
        StorageFull,
        "{endpoint} has no space left ({code}); free some or raise the quota",
    ),
    (
        frozenset({"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "429"}),
        StorageUnavailable,
        "{endpoint} asks to slow down ({code}); try again later",
    ),
    (
        frozenset({"InvalidObjectState"}),
        StorageError,
        "a lifecycle rule has moved it to an archive ({code}); restore it there before it is read",
    ),
    (_BUSY, StorageUnavailable, "{endpoint} cannot answer now ({code}); try again"),
)
_REFUSED: tuple[_Kind, str] = (
    AccessDenied,
    (
        "{endpoint} refuses it ({code}); the credentials need s3:GetObject, s3:PutObject, s3:DeleteObject and "
        "s3:ListBucket on the bucket {bucket!r}, and for large files and sweeping s3:AbortMultipartUpload, "
        "s3:ListMultipartUploadParts and s3:ListBucketMultipartUploads"
    ),
)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _response(error: BaseException) -> dict[str, Any]:
    """The server's response; empty if there was none."""
    for link in _chain(error):
        if isinstance(link, botocore_errors.ClientError):
            return dict(link.response)
    return {}


def _status(error: BaseException) -> int:
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)


def code_of(error: BaseException) -> str:
    """The error code of the server's response, such as `NoSuchKey`; empty if there was no response."""
    return str(_response(error).get("Error", {}).get("Code", "") or "")


def was_refused(error: BaseException) -> bool:
    """Whether the server certainly did nothing. After any other error, it may have carried out the request."""
    return 400 <= _status(error) < 500 and code_of(error) not in _BUSY


def translated(error: BaseException, what: str, bucket: str, endpoint: str, file_id: str | None = None) -> HoldallError:
    """The holdall error for a failed call, to be raised from `error`. `what` describes the operation: "read file-1"."""
    kind, reason = _why(error, bucket, endpoint)
    return kind(f"cannot {what}: {reason}", file_id=file_id)


def _why(error: BaseException, bucket: str, endpoint: str) -> tuple[_Kind, str]:
    response = _response(error)
    if response:
        return _answered(error, response, bucket, endpoint)
    for link in _chain(error):
        for kinds, found in _UNANSWERED:
            if isinstance(link, kinds):
                return found[0], found[1].format(endpoint=endpoint, name=type(link).__name__)
    return StorageError, f"{type(error).__name__} in the S3 client"


def _answered(error: BaseException, response: dict[str, Any], bucket: str, endpoint: str) -> tuple[_Kind, str]:
    code, status = code_of(error), _status(error)
    kind: _Kind = StorageError
    text = "{endpoint} answered {code}"
    if status in {401, 403}:
        kind, text = _REFUSED
    elif status >= 500:
        kind, text = StorageUnavailable, "{endpoint} cannot answer now ({code}); try again"
    kind, text = next(
        # A proxy in between may respond with a status but without an error code of S3.
        ((kind, text) for codes, kind, text in _ANSWERS if code in codes or str(status) in codes - ABSENT),
        (kind, text),
    )
    region = _region(response)
    advice = f"add ?region={region} to the URL" if region else "give its region with ?region=…"
    return kind, text.format(bucket=bucket, endpoint=endpoint, code=code or status, region=advice)


def _region(response: dict[str, Any]) -> str:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or ""
    return str(region)


# In this order, because an earlier type may be a subclass of a later one.
_UNANSWERED: tuple[tuple[tuple[type[BaseException], ...], tuple[_Kind, str]], ...] = (
    (
        (botocore_errors.NoCredentialsError, botocore_errors.PartialCredentialsError),
        (
            AccessDenied,
            "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give ?profile=…",
        ),
    ),
    (
        (botocore_errors.CredentialRetrievalError, botocore_errors.TokenRetrievalError),
        (AccessDenied, "the credentials could not be had ({name}); sign in again"),
    ),
    (
        (botocore_errors.UnauthorizedSSOTokenError, botocore_errors.SSOTokenLoadError),
        (AccessDenied, "the session has ended; sign in again: aws sso login"),
    ),
    (
        (botocore_errors.ProfileNotFound,),
        (AccessDenied, "the profile that AWS_PROFILE names is not in ~/.aws/config; correct or unset it"),
    ),
    (
        (botocore_errors.ConfigNotFound, botocore_errors.ConfigParseError),
        (AccessDenied, "the AWS configuration file cannot be read; correct it, or AWS_CONFIG_FILE"),
    ),
    (
        (botocore_errors.NoRegionError,),
        (StorageError, "the region is not known; give it with ?region=…"),
    ),
    (
        (botocore_errors.SSLError,),
        (
            StorageUnavailable,
            "{endpoint} has no trusted TLS certificate; set AWS_CA_BUNDLE, or correct the URL",
        ),
    ),
    (
        (
            botocore_errors.HTTPClientError,
            botocore_errors.ConnectionError,
            botocore_errors.IncompleteReadError,
            # While a body is read, botocore passes these on unchanged.
            aiohttp.ClientConnectionError,
            aiohttp.ClientPayloadError,
            ConnectionError,
            TimeoutError,
        ),
        (
            StorageUnavailable,
            "{endpoint} cannot be reached ({name}); check the endpoint and the network, and try again",
        ),
    ),
)
