"""Connects this process to the cluster whose node runs on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeinfer.cluster.loopback import keep_loopback
from edgeinfer.cluster.node import NodeFolder, NodeRecord, environment
from edgeinfer.errors import ServiceFailed

if TYPE_CHECKING:
    from types import ModuleType


@contextmanager
def connected(folder: NodeFolder, record: NodeRecord) -> Iterator[ModuleType]:
    """Ray, connected to the cluster of `record`.

    Raises:
        ServiceFailed: the cluster does not answer.
    """
    os.environ.update(environment(folder, record))
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # or Serve's threads would connect again after the end
    import ray
    from ray._private import worker

    # It would put what nodes have to say into our output, even JSON.
    worker.print_to_stdstream = lambda *_, **__: None
    logging.getLogger("ray.serve").disabled = True  # it tells users what only programmers of Ray understand
    keep_loopback()
    try:
        ray.init(
            address=record.address, log_to_driver=False, logging_level="error", _node_ip_address=record.ip
        )
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as e:
        raise ServiceFailed(
            f"the cluster at {record.address} does not answer: {e}", hint=f"the node's log: {folder.log}"
        ) from e
    try:
        yield ray
    finally:
        ray.shutdown()
