"""Tries requests to servers several times; the final error names the URL."""

import time
from collections.abc import Callable
from typing import TypeVar

import aiohttp

ResultT = TypeVar("ResultT")

PAUSES_S = (0.2, 1.0, 4.0)
"""Between the tries."""

_TRUST = "the environment's SSL_CERT_FILE may name other authorities"

_BUSY = (408, 429)
"""HTTP statuses below 500 for which a server asks to be tried again."""


def with_retries(
    request: Callable[[], ResultT],
    where: str,
    errors: tuple[type[Exception], ...],
    pauses_s: tuple[float, ...] = PAUSES_S,
) -> ResultT:
    """Return what `request` returns; after an error of `errors` that may pass, pause and try again.

    Raises:
        FileNotFoundError: there is no such file at `where`. ConnectionError: any other failure, with the cause.
    """
    for pause_s in (*pauses_s, None):
        try:
            return request()
        except FileNotFoundError:
            raise FileNotFoundError(f"{where}: no such file") from None
        except errors as cause:
            if pause_s is None or _is_final(cause):
                tried = "" if pause_s is not None else f" after {len(pauses_s) + 1} tries"
                raise ConnectionError(f"{where}: {_describe(cause)}{tried}") from None
            time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def transport_errors(protocol: str) -> tuple[type[Exception], ...]:
    """Return the errors that the file system of a protocol raises when a request fails."""
    common = (OSError, TimeoutError, aiohttp.ClientError)
    if protocol != "s3":
        return common
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  an optional extra

    return (*common, BotoCoreError, ClientError)


def _is_final(cause: Exception) -> bool:
    """Return whether trying again is of no use, because the server understood the request and refused it."""
    if isinstance(cause, aiohttp.ClientResponseError):
        return 400 <= cause.status < 500 and cause.status not in _BUSY
    if isinstance(cause, aiohttp.InvalidURL | aiohttp.ClientConnectorCertificateError | PermissionError):
        return True
    return type(cause).__name__ in {"NoCredentialsError", "ParamValidationError"}  # of botocore


def _describe(cause: Exception) -> str:
    if isinstance(cause, aiohttp.ClientResponseError):  # its text repeats the URL with its signature
        return f"HTTP {cause.status} {cause.message}"
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        fault = cause.certificate_error
        return f"the server's certificate is not trusted: {getattr(fault, 'verify_message', fault)} ({_TRUST})"
    return " ".join(str(cause).split()) or type(cause).__name__
