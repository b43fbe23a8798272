"""The SDK's session, without what no client of ours asks of it.

Owns how the SDK's own data files become values, and which of aioboto3's additions are left out; the
models, the search for them and all that a client does stay the SDK's. Knows nothing of clients and
credentials.
"""

import gzip
from pathlib import Path
from typing import Any

import aioboto3
import aiobotocore.session
from botocore.loaders import JSONFileLoader
from pydantic_core import from_json

# Whose clients are made here, and by the SDK's providers of credentials. The endpoints of another are
# found by the rules that it brings, as for a service that is newer than the SDK.
_MODEL = "service-2"
_SERVICES = frozenset({"dynamodb", "s3", "sqs", "sso", "sso-oidc", "sts"})


def new_session(region: str) -> aioboto3.Session:
    """A session for `region`, with credentials and all else from the SDK's own chains."""
    session = aiobotocore.session.get_session()
    session.get_component("data_loader").file_loader = DataFileLoader()
    return _ClientSession(botocore_session=session, region_name=region)


class DataFileLoader(JSONFileLoader):
    """As botocore's, with plain dicts in the place of OrderedDicts, which keep the order too and take a
    third of the time; of the endpoints of all 400 services those of the few; and of the
    operations and shapes of a service all but the prose, half of the whole, which no client reads."""

    def load_file(self, file_path: str) -> Any:
        """What is in the file, which is named without `.json` or `.json.gz`; None if there is none."""
        document = _read(Path(f"{file_path}.json"), Path(f"{file_path}.json.gz"))
        if document is None:
            return None
        if Path(file_path).name == _MODEL:
            # Of the parameters of a client, which stand beside these, botocore wants the prose.
            _drop_prose(document["operations"])
            _drop_prose(document["shapes"])
        if Path(file_path).name == "endpoints":
            for partition in document["partitions"]:
                services = partition["services"]
                partition["services"] = {
                    name: services[name] for name in services if name in _SERVICES
                }
        return document


def _drop_prose(part: Any) -> None:
    if isinstance(part, dict):
        # A shape's member may well have that name: what it says of it is a dict.
        if isinstance(part.get("documentation"), str):
            del part["documentation"]
        for inner in part.values():
            _drop_prose(inner)


def _read(plain: Path, compressed: Path) -> Any:
    if plain.is_file():
        return from_json(plain.read_bytes(), cache_strings="keys")
    if compressed.is_file():
        with gzip.open(compressed) as file:
            return from_json(file.read(), cache_strings="keys")
    return None


class _ClientSession(aioboto3.Session):  # type: ignore[misc]  # aioboto3 has no types
    """A session for clients alone."""

    def _register_default_handlers(self) -> None:
        # They are for resources, and for S3's transfers of files, whose packages are imported when a
        # client of S3 is made. Should aioboto3 rename this, a test tells.
        pass
