"""Errors of storage clients, in words with advice. Clients are recognised by name: none is imported."""

from __future__ import annotations

from collections.abc import Iterator

NO_BUCKET = "the bucket does not exist; create it, or correct the URL or the endpoint"
_REFUSED = (
    "access was refused ({error}); the credentials are wrong or expired, or not allowed all that this takes"
)
_WITHOUT = {
    "s3": "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "there are no credentials; set GOOGLE_APPLICATION_CREDENTIALS, or run "
    "`gcloud auth application-default login`",
    "other": "there are no credentials for it",
}
_CUT_OFF = {
    "s3": "the endpoint cannot be reached ({error}); check the network, and AWS_ENDPOINT_URL where the server is not "
    "Amazon's",
    "gs": "the server cannot be reached ({error}); check the network",
    "other": "the server cannot be reached ({error}); check the address and the network",
}
_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "TokenRetrievalError",
        "DefaultCredentialsError",
        "RefreshError",
    }
)
_UNREACHABLE = frozenset(
    {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ConnectionError",
        "ConnectionRefusedError",
        "ClientConnectorError",
        "ClientConnectorDNSError",
        "ConnectionTimeoutError",
    }
)


def words_for(error: Exception, protocol: str) -> str:
    """One sentence for what a client raised, with advice where there is any."""
    client = {"gs": "gs", "gcs": "gs", "s3": "s3", "s3a": "s3"}.get(protocol, "other")
    names = {name for problem in _behind(error) for name in _names(problem)}
    text = " ".join(str(error).split()) or type(error).__name__
    if no_bucket(error):
        return NO_BUCKET
    if names & _NO_CREDENTIALS:
        return _WITHOUT[client]
    if isinstance(error, PermissionError):
        return _REFUSED.format(error=text.rstrip("."))
    if names & _UNREACHABLE:
        return _CUT_OFF[client].format(error=text.rstrip("."))
    return f"{type(error).__name__}: {text}"


def no_bucket(error: BaseException) -> bool:
    """Whether it says that there is no such bucket; to a client a missing file and a missing bucket look alike."""
    for problem in _behind(error):
        response = getattr(problem, "response", None)
        details = response.get("Error") if isinstance(response, dict) else None
        if isinstance(details, dict) and details.get("Code") == "NoSuchBucket":
            return True
        if "bucket does not exist" in str(problem):
            return True
    return False


def _behind(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came from."""
    seen: set[int] = set()
    problem: BaseException | None = error
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        yield problem
        problem = problem.__cause__ or problem.__context__


def _names(error: BaseException) -> Iterator[str]:
    return (kind.__name__ for kind in type(error).__mro__)
