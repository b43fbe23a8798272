"""What the test containers run: a small HTTP server whose faults are switched on by its environment.

`GET /readyz` is 200, `/version` says `APP_VERSION`, `/slow/SECONDS` takes so long, `/whoami` tells what the
process may do. `APP_SICK`: not ready, ever; `APP_CRASH`: ends at once; `APP_LATE`: listens so many seconds
late; `APP_DEAF`: SIGTERM does nothing; `APP_DIES`: ends so many seconds after its start.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

busy = 0
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        global busy
        with lock:
            busy += 1
        try:
            self.answer(*answer_of(self.path))
        finally:
            with lock:
                busy -= 1

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        if self.path != "/readyz":
            say(self.path)


def answer_of(path: str) -> tuple[int, bytes]:
    if path == "/readyz":
        return (503 if os.environ.get("APP_SICK") else 200), b""
    if path.startswith("/slow/"):
        time.sleep(float(path.rpartition("/")[2]))
    if path == "/whoami":
        return 200, json.dumps(whoami()).encode()
    return 200, os.environ.get("APP_VERSION", "").encode()


def whoami() -> dict[str, object]:
    try:
        open("/written", "w").close()
        root = "writable"
    except OSError:
        root = "read-only"
    with open("/proc/self/status") as status:
        facts = dict(line.rstrip("\n").split(":\t", 1) for line in status)
    with open("/proc/self/cgroup") as groups:
        memory = next((line for line in groups if ":memory:" in line), "")
    with open("/proc/mounts") as table:
        mounts = [line.split()[1] for line in table]
    return {
        "uid": os.getuid(),
        "root": root,
        "capabilities": facts["CapEff"].strip(),
        "noNewPrivileges": facts["NoNewPrivs"].strip(),
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "cgroup": memory.strip(),
        "mounts": mounts,
    }


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    address_family = socket.AF_INET


def main() -> int:
    say("starting")
    if os.environ.get("APP_CRASH"):
        say("there is no way to start")
        return 3
    time.sleep(float(os.environ.get("APP_LATE", "0")))
    server = Server((os.environ["APP_HOST"], int(os.environ.get("APP_PORT", "8080"))), Handler)

    def stop(*_arguments: object) -> None:
        say("told to stop")
        if not os.environ.get("APP_DEAF"):
            threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    if os.environ.get("APP_DIES"):
        threading.Timer(float(os.environ["APP_DIES"]), os._exit, (4,)).start()
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    while busy:
        time.sleep(0.01)
    say("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
