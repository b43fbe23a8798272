"""`python -m tests.backends._moto_server`: moto on a free port, until SIGTERM or the parent's death.

Prints one JSON line `{"endpoint"}` on standard output when it serves. A second argument names a module
whose `install()` first adds to moto what a test needs of it.

Requests are worked off one at a time: moto looks at a condition and writes in two steps, and with
another thread between them both writers of a condition win, which DynamoDB never lets happen.
"""

import importlib
import json
import signal
import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server import threaded_moto_server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

from deploy.local.embedded_aws._parent import stop_with_parent


class _OneAtATime(DomainDispatcherApplication):
    _working = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._working:
            answer: Iterable[bytes] = super().__call__(environ, start_response)
            return answer


def main() -> None:
    if not stop_with_parent(int(sys.argv[1])):
        return
    if len(sys.argv) > 2:
        importlib.import_module(sys.argv[2]).install()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    # The server makes its application itself and has no parameter for another.
    threaded_moto_server.DomainDispatcherApplication = _OneAtATime  # type: ignore[attr-defined]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(json.dumps({"endpoint": f"http://{host}:{port}"}), flush=True)  # noqa: T201 - for the parent
    signal.sigwait(signals)
    server.stop()


main()
