"""The one administrator of the embedded AWS: an ordinary IAM user with every permission.

Made from inside the process, by the root key that never leaves it. So whoever administers from outside
has a key of which MiniStack checks each signature, as AWS does.
"""

import json
import re
from urllib.parse import urlencode

from ._asgi import Application, Message
from ._state import StateFolder, write_private

USER_NAME = "administrator"

_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


class AdministratorError(Exception):
    """MiniStack refused what making the administrator needs."""


async def ensure_administrator(
    application: Application, state: StateFolder, *, root_access_key: str, region: str
) -> None:
    """Make the administrator where the state has none, and write its key to `state.administrator`."""
    iam = _Iam(application, root_access_key, region)
    if _written_key(state) in await iam.access_keys():
        return
    await iam.call("CreateUser", UserName=USER_NAME, tolerated="EntityAlreadyExists")
    await iam.call(
        "PutUserPolicy",
        UserName=USER_NAME,
        PolicyName="everything",
        PolicyDocument=json.dumps(_POLICY),
    )
    for key in await iam.access_keys():
        await iam.call("DeleteAccessKey", UserName=USER_NAME, AccessKeyId=key)
    created = await iam.call("CreateAccessKey", UserName=USER_NAME)
    write_private(
        state.administrator,
        {
            "accessKeyId": _texts(created, "AccessKeyId")[0],
            "secretAccessKey": _texts(created, "SecretAccessKey")[0],
        },
    )


def _written_key(state: StateFolder) -> str | None:
    try:
        content = json.loads(state.administrator.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    key = content["accessKeyId"]
    assert isinstance(key, str)
    return key


def _texts(document: str, element: str) -> list[str]:
    # MiniStack's own answer, a flat list of such elements.
    return re.findall(rf"<{element}>([^<]+)</{element}>", document)


class _Iam:
    """Calls of the IAM Query API inside the process."""

    def __init__(self, application: Application, root_access_key: str, region: str) -> None:
        self._application = application
        # MiniStack takes the signature of its root key unseen.
        self._authorization = (
            f"AWS4-HMAC-SHA256 Credential={root_access_key}/20260101/{region}/iam/aws4_request,"
            " SignedHeaders=host, Signature=0"
        )

    async def access_keys(self) -> list[str]:
        answer = await self.call("ListAccessKeys", UserName=USER_NAME, tolerated="NoSuchEntity")
        return _texts(answer, "AccessKeyId")

    async def call(self, action: str, *, tolerated: str | None = None, **parameters: str) -> str:
        body = urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "client": ("127.0.0.1", 0),
            "headers": [
                (b"host", b"127.0.0.1"),
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"content-length", str(len(body)).encode()),
                (b"authorization", self._authorization.encode()),
            ],
        }
        answer = _Answer()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._application(scope, receive, answer.take)
        text = answer.body.decode()
        if answer.status != 200 and (tolerated is None or tolerated not in text):
            raise AdministratorError(f"no administrator: {action} answers {answer.status} {text}")
        return text


class _Answer:
    def __init__(self) -> None:
        self.status = 0
        self.body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
