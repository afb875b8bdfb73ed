"""Installs the model of a cluster on a machine that is about to join, so that its replica finds it there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from edgeinfer.cluster.deployment import deployed_at
from edgeinfer.errors import ServiceFailed


def install_model(environ: Mapping[str, str], address: str, mirror: str) -> None:
    """Run `edgeinfer pull` for the model of the cluster at `address`, unless that is the bundled one.

    `environ` are the variables of a node. What is installed already is not downloaded again.

    Raises:
        ServiceFailed: the head or the mirror does not answer, or the mirror does not have the model.
    """
    os.environ.update(environ)
    model = deployed_at(address).settings.get("model")
    if not model:
        return
    command = [sys.executable, "-m", "edgeinfer", "pull", str(model)]
    pulled = subprocess.run(command, env={**environ, "HF_ENDPOINT": mirror}, check=False)
    if pulled.returncode:
        raise ServiceFailed(
            f"{model}, the cluster's model, cannot be installed from {mirror}",
            hint="edgeinfer models ls, on the machine that is the mirror, shows what it has",
        )
