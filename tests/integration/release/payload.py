"""What the images of the tests run: says its version, and is sick where it is told to be.

Knows nothing but the base image's Python. The variables are those of the course catalog.
"""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802 - the handler's own name
        is_sick = os.environ.get("SICK") == "1" and self.path == "/readyz"
        body = json.dumps(
            {
                "service": "course_catalog",
                "version": os.environ.get("SAYS") or os.environ["CATALOG_VERSION"],
                "revision": "unknown",
                "imageHash": os.environ["CATALOG_IMAGE_HASH"],
            }
        ).encode()
        self.send_response(503 if is_sick else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def main() -> None:
    if os.environ.get("CRASHES") == "1":
        sys.exit("it crashes")
    address = (os.environ["CATALOG_HOST"], int(os.environ["CATALOG_PORT"]))
    server = ThreadingHTTPServer(address, Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
