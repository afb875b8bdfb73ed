"""Make a smaller quantization of a model that is here, where the hub has none."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from edgeinfer.errors import InvalidRequest, QuantizeFailed
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.ipc.child_client import INHERITED
from edgeinfer.log import escape
from edgeinfer.store.disk import sha256_of
from edgeinfer.store.free_space import check_free_space
from edgeinfer.store.progress import NullProgress, Progress, size_text
from edgeinfer.store.store import Store, StoredModel

FILE_TYPES = {
    "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13,
    "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30,
}  # fmt: skip
"""What can be made, with GGUF's number for it. Smaller ones are poor without an importance matrix."""

FULL_PRECISION = ("BF16", "F16", "F32")
"""What it is best made of: the weights as they were trained first, the rest by size."""

LOSSY = "Q8_0"
"""What it can be made of where there is nothing better; the loss is small beside that of 4 bits."""

REQUIRED_MEMORY = 200 << 20
"""Bytes that the process needs: twice what was measured for an output matrix of 150,000 x 1,536."""

POLL_SECONDS = 0.2


class HasQuant(Protocol):
    """A file that could be the source: one in the store, or one that a hub has."""

    @property
    def quant(self) -> str: ...


Source = TypeVar("Source", bound=HasQuant)


def can_make(quant: str) -> bool:
    return quant.upper() in FILE_TYPES


def source_for(quant: str, offered: Iterable[Source], *, requantize: bool = False) -> Source | None:
    """What to make `quant` of; Q8_0 only if `requantize` allows it. None where nothing will do."""
    by_quant = {one.quant.upper(): one for one in offered}
    order = [*FULL_PRECISION, *([LOSSY] if requantize and quant.upper() != LOSSY else [])]
    return next((by_quant[name] for name in order if name in by_quant), None)


def check_memory(available: int | None) -> None:
    """Raises QuantizeFailed where `available` bytes, if that is known, are too few."""
    if available is not None and available < REQUIRED_MEMORY:
        raise QuantizeFailed(
            f"quantizing takes {size_text(REQUIRED_MEMORY)} of memory, and {size_text(available)} are available",
            hint="stop what else runs, or quantize on another machine and: edgeinfer models import FILE",
        )


def quantize(
    source: StoredModel,
    quant: str,
    store: Store,
    progress: Progress | None = None,
    *,
    requantize: bool = False,
    available: int | None = None,
) -> StoredModel:
    """Make `quant` of the file of `source`, which stays, as a model of the same name.

    `available`: bytes of memory, None where it is not known. `requantize`: the source may be quantized
    itself, at some cost in quality.

    Raises:
        InvalidRequest: that can't be made of it.
        DiskFull, StoreBusy, StoreError: as they say.
        QuantizeFailed: too little memory, or llama.cpp failed.
    """
    quant, progress = quant.upper(), progress or NullProgress()
    if not can_make(quant):
        raise InvalidRequest(
            f"{quant} can't be made here", param="quant", hint=f"what can: {', '.join(FILE_TYPES)}"
        )
    if source_for(quant, [source], requantize=requantize) is None:
        hint = "--requantize does it all the same" if source.quant == LOSSY else None
        raise InvalidRequest(
            f"{quant} of {source.name}:{source.quant} would be poorer than one made of F16",
            param="quant",
            hint=hint,
        )
    check_memory(available)
    # The source's name stays in the file's: it says what this was made of.
    file = f"quantized/{PurePosixPath(source.file).stem}.{quant}.gguf"
    with store.lock(f"{source.repo}/{file}"):
        target = store.incoming(source.repo, source.revision) / f"{PurePosixPath(file).name}.part"
        before = read_header(source.path)
        try:
            _run(source, before, target, quant, progress, requantize)
            _check(before, read_header(target), quant)
            size, sha256 = target.stat().st_size, sha256_of(target)
        except BaseException:
            target.unlink(missing_ok=True)  # there is nothing to go on from
            raise
        return store.adopt(
            target,
            StoredModel(
                name=source.name,
                quant=quant,
                path=target,
                size=size,
                sha256=sha256,
                repo=source.repo,
                revision=source.revision,
                file=file,
                origin="quantized",
            ),
        )


def _run(
    source: StoredModel, before: Header, target: Path, quant: str, progress: Progress, requantize: bool
) -> None:
    """Have the process write `target`, and show how the file grows."""
    command = [
        sys.executable,
        "-m",
        "edgeinfer.backends.llama_cpp.binding.quantize",
        str(source.path),
        str(target),
        quant,
    ]
    command += ["requantize"] if requantize else []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        bufsize=0,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            size = process.stdout.readline().strip()
            if not size.isdigit():
                raise _failed(process)
            total = int(size) + before.size - before.weight_bytes  # the header is copied
            check_free_space(target.parent, total)
            with contextlib.suppress(BrokenPipeError):  # it died: the poll below finds out
                process.stdin.write(b"go\n")
            progress.begin(f"{source.name}:{quant}", total)
            try:
                while process.poll() is None:
                    time.sleep(POLL_SECONDS)
                    progress.update(min(_size(target), total))
                if process.returncode:
                    check_free_space(target.parent, total - _size(target))
                    raise _failed(process)
                progress.update(total)
            finally:
                progress.end()
        finally:
            process.kill()


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _failed(process: subprocess.Popen[bytes]) -> QuantizeFailed:
    _, words = process.communicate()
    code = process.returncode
    last = words.decode("utf-8", "replace").strip().rpartition("\n")[2] or "it does not say why"
    why = f"it was killed by signal {-code}" if code < 0 else last
    hint = "the system kills what takes too much memory: see dmesg" if code == -9 else None
    return QuantizeFailed(f"llama.cpp could not quantize it: {escape(why)[:300]}", hint=hint)


def _check(before: Header, made: Header, quant: str) -> None:
    """The result has the source's tensors, and says that it is what was asked for."""
    same = {t.name: t.shape for t in made.tensors} == {t.name: t.shape for t in before.tensors}
    if not same or made.metadata.get("general.file_type") != FILE_TYPES[quant]:
        raise QuantizeFailed(f"llama.cpp made something else than {quant}")


def _environment() -> dict[str, str]:
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {"PYTHONPATH": path} | {name: os.environ[name] for name in INHERITED if name in os.environ}
