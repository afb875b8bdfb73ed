"""`ray start`, without the server for remote clients: it would run whatever code they send, and no option omits it."""

from __future__ import annotations

import sys

from ray._common.utils import reset_ray_address
from ray.scripts import scripts


def main() -> None:
    if not hasattr(scripts, "get_ray_client_dependency_error"):
        sys.exit("edgeinfer does not know this version of Ray")
    scripts.get_ray_client_dependency_error = lambda: ImportError("there is no server for remote clients")
    if "--head" in sys.argv:
        reset_ray_address()  # or a head whose last end was sudden would believe that it runs already
    scripts.start()


if __name__ == "__main__":
    main()
