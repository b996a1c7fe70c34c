"""Datasets: what collections and folders are called in OpenLineage, by its naming convention (https://openlineage.io/docs/spec/naming)."""

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class DatasetName:
    """`namespace` is where data lies, as in postgres://db.example.com:5432; `name` is what it is called there."""

    namespace: str
    name: str


def dataset_at(url: str) -> DatasetName:
    """What a folder or file is called: `s3://bucket/a/b` is `a/b` in `s3://bucket`, a path is itself in `file`.

    A login in the URL is no part of it; a container of Azure, which stands where a login would, is.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file", "local"):
        return DatasetName("file", parts.path if parts.scheme else url)
    place = parts.netloc.rpartition("@")[2] if ":" in parts.netloc.rpartition("@")[0] else parts.netloc
    return DatasetName(f"{parts.scheme}://{place}", parts.path.strip("/"))
