"""Access tokens of the demo users, for whoever runs beside the platform: the command, the pages."""

from __future__ import annotations

import json

from botocore.exceptions import BotoCoreError, ClientError

from deploy.local._errors import PlatformError, reason_of
from deploy.local._provision import AccessToken, EmbeddedAws, Resources, UserPool, access_token
from deploy.local._state import StateFolder


async def fresh_token(folder: StateFolder, user: str) -> AccessToken:
    """A new token for a demo user of the platform that runs on this folder.

    Raises:
        PlatformError: it does not run.
    """
    not_running = PlatformError(
        f"the platform does not run on {folder.root}; ./pantsw run deploy/local/up.py starts it"
    )
    if not folder.is_in_use() or not folder.session.exists():
        raise not_running
    session = json.loads(folder.session.read_text())
    resources = dict(session["resources"])
    resources["pool"] = UserPool(**resources["pool"])
    aws = EmbeddedAws.from_ready_line(session["readyLine"])
    try:
        token = await access_token(aws, Resources(**resources), state=folder.root, user=user)
        folder.write_header(user, token.token)
    except (BotoCoreError, ClientError) as error:
        raise PlatformError(f"no token for {user}: {error}") from error
    except OSError as error:
        raise PlatformError(reason_of(error)) from error
    return token
