"""`python -m tests.backends._moto_server`: moto on a free port, until SIGTERM or the parent's death.

Prints one JSON line `{"endpoint"}` on standard output when it serves.
"""

import json
import signal
import sys

from moto.server import ThreadedMotoServer

from deploy.local.embedded_aws._parent import stop_with_parent


def main() -> None:
    if not stop_with_parent(int(sys.argv[1])):
        return
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(json.dumps({"endpoint": f"http://{host}:{port}"}), flush=True)  # noqa: T201 - for the parent
    signal.sigwait(signals)
    server.stop()


main()
