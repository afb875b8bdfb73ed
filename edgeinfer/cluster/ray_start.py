"""`ray start`, without what edgeinfer does not use and no option omits.

The server for remote clients would run whatever code they send. The API server would listen on all addresses, and takes
100 MB of memory even without its dashboard.
"""

from __future__ import annotations

import sys

from ray._common.utils import reset_ray_address
from ray._private.node import Node
from ray.scripts import scripts

from edgeinfer.cluster.loopback import keep_loopback


def main() -> None:
    if not hasattr(scripts, "get_ray_client_dependency_error") or not hasattr(Node, "start_api_server"):
        sys.exit("edgeinfer does not know this version of Ray")
    scripts.get_ray_client_dependency_error = lambda: ImportError("there is no server for remote clients")
    keep_loopback()
    Node.start_api_server = lambda *_, **__: None
    if "--head" in sys.argv:
        reset_ray_address()  # or a head whose last end was sudden would believe that it runs already
    scripts.start()


if __name__ == "__main__":
    main()
