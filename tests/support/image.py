"""Builds the image of deploy/docker/Dockerfile without an engine for containers: buildah, in chroots.

The base is a root that debootstrap makes of Debian's packages, as no registry of images is asked here.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.bundles import built_llama
from tests.support.debian_programs import CACHE, find_folder, find_program
from tests.support.paths import ROOT

RELEASE = "bookworm"

POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
"""Nothing is signed here, and nothing pulled."""

OF_THIS_MACHINE = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""How packages are had here, which the image's own build would otherwise not know."""


class Image:
    """The image, and containers of it. `build` makes it, `close` removes all of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        policy = folder / ".config/containers/policy.json"
        policy.parent.mkdir(parents=True)
        policy.write_text(json.dumps(POLICY))

    def build(self) -> None:
        self.buildah("from", "--name", "base", "scratch")
        mounted = Path(self.buildah("mount", "base").strip())
        subprocess.run(["cp", "--archive", f"{debian_root()}/.", mounted], check=True)
        for path in filter(os.path.exists, OF_THIS_MACHINE):
            shutil.copy(path, str(mounted) + path)
        self.buildah("commit", "--quiet", "base", "localhost/base")
        context = self._folder / "context"
        context.mkdir()
        archive = subprocess.run(
            ["git", "-C", ROOT, "archive", "HEAD"], check=True, stdout=subprocess.PIPE
        ).stdout
        subprocess.run(["tar", "-x", "-C", context], input=archive, check=True)
        (context / "dist").mkdir()
        wheel = shutil.copy(built_llama(), context / "dist")
        self.buildah(
            "build",
            "--isolation=chroot",
            "--pull-never",
            "--format=docker",  # which has a health check
            "--build-arg=BASE=localhost/base",
            f"--build-arg=LLAMA=dist/{Path(wheel).name}",
            "--file=deploy/docker/Dockerfile",
            "--tag=localhost/edgeinfer",
            ".",
            folder=context,
        )
        self.buildah("from", "--name", "edgeinfer", "--pull-never", "localhost/edgeinfer")

    def config(self) -> dict[str, Any]:
        """What the image says of itself."""
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type=image", "localhost/edgeinfer"))
        config: dict[str, Any] = found["Docker"]["config"]
        return config

    def root(self) -> Path:
        """The folder of the container's files."""
        return Path(self.buildah("mount", "edgeinfer").strip())

    def command(self, *words: str, **variables: str) -> list[str]:
        """The command that runs `words` in the container, as its user, in this machine's network."""
        settings = [f"--env={name}={value}" for name, value in variables.items()]
        return [*self._words(), "run", "--isolation=chroot", *settings, "edgeinfer", "--", *words]

    def buildah(self, *arguments: str, folder: Path | None = None) -> str:
        done = subprocess.run(
            [*self._words(), *arguments],
            cwd=folder or self._folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self._folder)}

    def _words(self) -> list[str]:
        places = [f"--root={self._folder}/storage", f"--runroot={self._folder}/run"]
        program = str(find_program("buildah"))
        return [
            *with_libraries(),
            program,
            *places,
            "--storage-driver=vfs",
            f"--registries-conf={os.devnull}",
        ]

    def close(self) -> None:
        subprocess.run(
            [*self._words(), "umount", "--all"], env=self.environment(), check=False, capture_output=True
        )
        shutil.rmtree(self._folder, ignore_errors=True)


def with_libraries() -> list[str]:
    """The words before a command for which buildah's libraries lie among this machine's.

    It starts itself again, without the variable that would name their folder.
    """
    [library] = find_folder("buildah").rglob("libgpgme.so.11")
    lower = f"{library.parent}:/{library.parent.relative_to(find_folder('buildah'))}"
    laid_over = f"mount -t overlay overlay -o lowerdir={lower} {lower.partition(':')[2]}"
    return ["unshare", "--mount", "sh", "-c", f'{laid_over} && exec "$@"', "sh"]


def debian_root() -> Path:
    """A minimal Debian, made once: two minutes, 300 MB."""
    target = CACHE / f"root-{RELEASE}-{platform.machine()}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = find_folder("debootstrap")
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            subprocess.run(
                [
                    find_program("debootstrap"),
                    "--variant=minbase",
                    "--include=ca-certificates",
                    RELEASE,
                    f"{temporary}/root",
                ],
                env={**os.environ, "DEBOOTSTRAP_DIR": str(folder / "usr/share/debootstrap")},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            Path(temporary, "root").rename(target)
    return target
