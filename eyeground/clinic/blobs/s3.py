"""Images in an S3-compatible store: Amazon's, MinIO, Ceph, or another's."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from eyeground.clinic.blobs.store import BlobMissing, Store, StoreLost, checked, digest_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NAME = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_PATIENCE_S: Final = 15
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Store:
    """A bucket, or a part of one; an image's key is ``PREFIX/ab/HASH``.

    Args:
        client: boto3's, as ``open_store`` sets it up.
        bucket: Name of the bucket; it must exist.
        prefix: Where in it, without slashes at its ends; empty = at its top.

    Example:
        >>> store = open_store("s3://images/eyes", endpoint="http://127.0.0.1:9000")
        >>> store.remove("../../a")
        Traceback (most recent call last):
        eyeground.clinic.blobs.store.BlobMissing: that is no hash

    References:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
    """

    def __init__(self, client: "S3Client", *, bucket: str, prefix: str) -> None:
        self._client, self._bucket = client, bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def put(self, data: bytes) -> str:
        """Keep bytes."""
        sha256 = digest_of(data)
        key = self._key(sha256)
        with _answers():
            # What is there under its name was written whole; it is read again when it is used.
            if self._size(key) != len(data):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Give bytes back, checked."""
        key = self._key(sha256)
        with _answers(missing=f"{sha256} is not kept here"):
            data = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return checked(data, sha256)

    def remove(self, sha256: str) -> None:
        """Forget bytes."""
        key = self._key(sha256)
        with _answers():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def hashes(self) -> Iterator[str]:
        """List what is kept."""
        start = len(self._prefix)
        with _answers():
            # Keys come sorted, and so do hashes, for a folder is the beginning of its hashes.
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            ):
                for each in page.get("Contents", ()):
                    folder, _, name = each["Key"][start:].partition("/")
                    if _NAME.fullmatch(name) and folder == name[:2]:
                        yield name

    def _size(self, key: str) -> int:
        """How many bytes lie under a key; -1 where there are none."""
        from botocore.exceptions import ClientError

        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _MISSING:
                return -1
            raise

    def _key(self, sha256: str) -> str:
        """Where it lies; a name that is no hash leads nowhere."""
        if not _NAME.fullmatch(sha256):
            raise BlobMissing("that is no hash")
        return f"{self._prefix}{sha256[:2]}/{sha256}"


@contextmanager
def _answers(missing: str = "") -> Iterator[None]:
    """Tell a store that does not answer from one that lacks what was asked for."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if missing and code in _MISSING:
            raise BlobMissing(missing) from None
        raise StoreLost(f"the image store refuses ({code}); check the bucket, the keys and its free space") from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StoreLost(f"the image store does not answer ({type(error).__name__}); it is tried again") from error


def open_store(url: str, *, endpoint: str = "") -> Store:
    """Open a bucket.

    Args:
        url: ``s3://BUCKET/PREFIX``. The keys come from where boto3 looks: environment, files, or the machine's role.
        endpoint: Address of a store that is not Amazon's, such as ``http://127.0.0.1:9000``.

    Returns:
        The store; that its bucket is there is found out when it is used.

    Raises:
        ValueError: If the address names no bucket.
        StoreLost: If boto3 is not installed, or cannot be set up: no region, or an endpoint that is no address.

    Example:
        >>> open_store("s3:images")
        Traceback (most recent call last):
        ValueError: no bucket; write s3://BUCKET or s3://BUCKET/PREFIX

    References:
        https://docs.aws.amazon.com/sdkref/latest/guide/feature-dataintegrity.html
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise ValueError("no bucket; write s3://BUCKET or s3://BUCKET/PREFIX")
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise StoreLost("images in S3 need boto3; run: pip install 'eyeground[s3]'") from None
    config = Config(
        connect_timeout=_PATIENCE_S,
        read_timeout=_PATIENCE_S,
        retries={"mode": "standard", "max_attempts": 3},
        # Stores that are not Amazon's refuse the checksums that boto3 adds by itself.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.client("s3", endpoint_url=endpoint or None, config=config)
    except (BotoCoreError, ValueError) as error:
        raise StoreLost(f"the image store cannot be set up: {error}") from error
    return S3Store(client, bucket=found["bucket"], prefix=(found["prefix"] or "").strip("/"))
