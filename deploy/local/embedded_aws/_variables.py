"""The environment MiniStack is imported in: every switch whose default is dangerous, set.

MiniStack reads its switches from `os.environ` while it is imported, so they are set there first.
"""

from collections.abc import Mapping

from ._state import StateFolder

_FOREIGN = (
    "AUTH",
    "AWS_",
    "CLOUDTRAIL_",
    "COGNITO_",
    "EDGE_PORT",
    "GATEWAY_",
    "IOT_",
    "LAMBDA_",
    "LOCALSTACK_",
    "MINISTACK_",
    "PERSIST_STATE",
    "S3_",
    "SERVICES",
    "SFTP_",
    "STATE_DIR",
    "USE_SSL",
)


def hardened_variables(
    inherited: Mapping[str, str],
    *,
    port: int,
    region: str,
    services: frozenset[str],
    state: StateFolder,
    root_access_key: str,
    root_secret_key: str,
    log_level: str,
) -> dict[str, str]:
    """The whole environment for MiniStack: the inherited one, less what could change MiniStack.

    `root_access_key` is the id MiniStack obeys without looking at the signature; whoever knows it is
    root, so it is random, never leaves the process, and the guard refuses it.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith(_FOREIGN)}
    return kept | {
        "AUTH": "true",  # signatures and policies are checked
        "AWS_ACCESS_KEY_ID": root_access_key,
        "AWS_SECRET_ACCESS_KEY": root_secret_key,
        "BIND_HOST": "127.0.0.1",  # its default is every interface
        "DOCKER_HOST": f"unix://{state.temporary}/no-docker.sock",  # else it removes containers
        "GATEWAY_PORT": str(port),
        "HOSTNAME": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",  # else it opens 0.0.0.0:8883
        "LOG_LEVEL": log_level,
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": region,
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(state.objects),
        "S3_PERSIST": "1",
        "SERVICES": ",".join(sorted(services)),
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(state.services),  # its default is shared by all in the temporary folder
        "TMPDIR": str(state.temporary),
    }
