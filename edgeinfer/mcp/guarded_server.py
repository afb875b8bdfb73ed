"""Runs a server on stdin and stdout, within limits: python -m edgeinfer.mcp.guarded_server, with the job in JOB.

It ends the server, and whatever that has started, when its own stdin closes, which also happens when our program is
killed. It ends it too if it writes a line without end, or more and more without having been asked anything.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping

import msgspec

from edgeinfer.ipc.descendants import adopt_orphans, end_descendants
from edgeinfer.mcp.limits import MAX_MESSAGE, MAX_UNASKED

JOB = "EDGEINFER_MCP_JOB"
"""The environment variable: unlike arguments, other users cannot read it."""

GRACE = 1.0
"""Seconds that the server gets to end by itself once its stdin is closed."""

MAX_TAIL = 4000
"""Bytes of what the server has last written to stderr."""


class ServerJob(msgspec.Struct, frozen=True):
    """What to start. `env` is the whole environment."""

    command: list[str]
    env: Mapping[str, str]
    cwd: str | None = None


class GuardedServer:
    """The server's process, with a thread for what goes in and one for what it says on stderr."""

    def __init__(self, job: ServerJob) -> None:
        """Start it; raises OSError."""
        self.process = subprocess.Popen(
            job.command,
            cwd=job.cwd,
            env=job.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._unasked = 0
        self._tail = b""
        self._forwarding = threading.Thread(target=self._forward, daemon=True)
        self._listening = threading.Thread(target=self._listen, daemon=True)

    def run(self) -> str:
        """Pass messages until the server ends, or must; return why it has ended, in words."""
        self._forwarding.start()
        self._listening.start()
        try:
            problem = self._pass_on()
        finally:
            end_descendants()
            code = self.process.wait()
        self._listening.join(GRACE)
        said = self._tail.decode("utf-8", "replace").strip()
        return problem or "\n".join(filter(None, (said, f"it has ended with exit code {code}")))

    def _pass_on(self) -> str:
        assert self.process.stdout
        length = 0
        while block := os.read(self.process.stdout.fileno(), 1 << 16):
            head, newline, _ = block.partition(b"\n")
            if length + len(head) > MAX_MESSAGE:
                return f"it has written a line of more than {MAX_MESSAGE >> 20} MiB"
            length = len(block) - block.rfind(b"\n") - 1 if newline else length + len(block)
            self._unasked += len(block)
            if self._unasked > MAX_UNASKED:
                return f"it has written more than {MAX_UNASKED >> 20} MiB without having been asked anything"
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.buffer.write(block)
                sys.stdout.buffer.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        return ""

    def _forward(self) -> None:
        """Pass on what we write to the server; when that ends, end the server."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            while block := os.read(0, 1 << 16):
                self._unasked = 0
                self.process.stdin.write(block)
                self.process.stdin.flush()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        end_descendants()  # also those that would keep stdout open

    def _listen(self) -> None:
        assert self.process.stderr
        while block := os.read(self.process.stderr.fileno(), 1 << 14):
            self._tail = (self._tail + block)[-MAX_TAIL:]


def main() -> int:
    job = msgspec.json.decode(os.environ[JOB], type=ServerJob)
    adopt_orphans()
    try:
        server = GuardedServer(job)
    except OSError as e:
        print(f"{job.command[0]} cannot be started: {e.strerror or e}", file=sys.stderr)  # noqa: T201
        return 127
    print(server.run(), file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
