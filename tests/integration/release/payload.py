"""What the images of the tests run: says its version, and is sick where it is told to be.

Knows nothing but the base image's Python, and imports little of that: each start compiles it anew. The
variables are those of the course catalog.
"""

import json
import os
import signal
import socket
import sys
import threading


def answer(connection: socket.socket) -> None:
    """One request a connection."""
    with connection:
        request = connection.recv(65_536)
        path = request.split(b" ")[1:2]
        is_sick = os.environ.get("SICK") == "1" and path == [b"/readyz"]
        body = json.dumps(
            {
                "service": "course_catalog",
                "version": os.environ.get("SAYS") or os.environ["CATALOG_VERSION"],
                "revision": "unknown",
                "imageHash": os.environ["CATALOG_IMAGE_HASH"],
            }
        )
        status = "503 Service Unavailable" if is_sick else "200 OK"
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )


def main() -> None:
    if os.environ.get("CRASHES") == "1":
        sys.exit("it crashes")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    address = (os.environ["CATALOG_HOST"], int(os.environ["CATALOG_PORT"]))
    with socket.create_server(address) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
