"""`ray start`, without what edgeinfer does not use and no option omits.

The server for remote clients would run whatever code they send. The API server would listen on all addresses, and takes
100 MB of memory even without its dashboard.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ray._common.utils import reset_ray_address
from ray._private import node, ray_constants, services
from ray._private.node import Node
from ray.scripts import scripts

from edgeinfer.cluster.loopback import keep_loopback
from edgeinfer.cluster.node import REDIS_PASSWORD_FILE


def main() -> None:
    if not hasattr(scripts, "get_ray_client_dependency_error") or not hasattr(Node, "start_api_server"):
        sys.exit("edgeinfer does not know this version of Ray")
    scripts.get_ray_client_dependency_error = lambda: ImportError("there is no server for remote clients")
    keep_loopback()
    Node.start_api_server = lambda *_, **__: None
    if path := os.environ.get(REDIS_PASSWORD_FILE):
        hand_over_password(Path(path).read_text().strip())
    if "--head" in sys.argv:
        reset_ray_address()  # or a head whose last end was sudden would believe that it runs already
    scripts.start()


def hand_over_password(password: str) -> None:
    """Let the head use Redis with a password. By Ray's option, all users of the machine would see it in `ps`."""
    look_up, start = node.get_session_key_from_storage, services.start_ray_process

    def look_up_with_password(host: str, port: int, user: str, _: str, *more: Any) -> Any:
        return look_up(host, port, user, password, *more)

    def start_with_password(command: list[str], kind: str, *more: Any, **named: Any) -> Any:
        if kind == ray_constants.PROCESS_TYPE_GCS_SERVER:
            command = [*command, "--fromenv=redis_password"]
            named["env_updates"] = {**(named.get("env_updates") or {}), "FLAGS_redis_password": password}
        return start(command, kind, *more, **named)

    node.get_session_key_from_storage = look_up_with_password
    services.start_ray_process = start_with_password


if __name__ == "__main__":
    main()
