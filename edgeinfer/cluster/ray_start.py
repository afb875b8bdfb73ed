"""`ray start`, without the server for remote clients: it would run whatever code they send, and no option omits it."""

from __future__ import annotations

import sys

from ray.scripts import scripts


def main() -> None:
    if not hasattr(scripts, "get_ray_client_dependency_error"):
        sys.exit("edgeinfer does not know this version of Ray")
    scripts.get_ray_client_dependency_error = lambda: ImportError("there is no server for remote clients")
    scripts.start()


if __name__ == "__main__":
    main()
