"""Makes a quantization that the hub does not have from a larger one that is installed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from edgeinfer.errors import InvalidRequest, QuantizeFailed
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.ipc.environment import child_environment
from edgeinfer.log import escape
from edgeinfer.store.disk import sha256_of
from edgeinfer.store.free_space import check_free_space
from edgeinfer.store.progress import NullProgress, Progress, size_text
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel

QUANTS = (
    "Q4_0", "Q4_1", "Q8_0", "Q5_0", "Q5_1", "Q3_K_S", "Q3_K_M", "Q3_K_L",
    "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS",
)  # fmt: skip
"""The quantizations that can be made. Smaller ones are poor without an importance matrix."""

FULL_PRECISION = ("BF16", "F16", "F32")
"""Sources in order of preference: the weights as they were trained come first."""

LOSSY = "Q8_0"
"""The source if there is nothing better; its loss is small compared with that of 4 bits."""

REQUIRED_MEMORY = 200 << 20
"""Bytes that the process needs: twice the measured use for an output matrix of 150,000 x 1,536."""

POLL_SECONDS = 0.2


class HasQuant(Protocol):
    """A file that could be the source: an installed model, or a file of a hub."""

    @property
    def quant(self) -> str: ...


Source = TypeVar("Source", bound=HasQuant)


def can_make(quant: str) -> bool:
    """Tell whether a quantization can be made here."""
    return quant.upper() in QUANTS


def source_for(quant: str, candidates: Iterable[Source], *, requantize: bool = False) -> Source | None:
    """Choose the source to make `quant` from; Q8_0 only with `requantize`. None if no candidate will do."""
    by_quant = {candidate.quant.upper(): candidate for candidate in candidates}
    order = [*FULL_PRECISION, *([LOSSY] if requantize and quant.upper() != LOSSY else [])]
    return next((by_quant[name] for name in order if name in by_quant), None)


def check_memory(available: int | None) -> None:
    """Raise QuantizeFailed if the `available` bytes are known and too few."""
    if available is not None and available < REQUIRED_MEMORY:
        raise QuantizeFailed(
            f"quantizing needs {size_text(REQUIRED_MEMORY)} of memory, but only {size_text(available)} are available",
            hint="stop other programs, or quantize on another machine and run: edgeinfer models import FILE",
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
    """Make `quant` from the file of `source`, which stays, and install it under the same name.

    `available` is the free memory in bytes, None if unknown. With `requantize`, the source may be quantized
    itself, at some cost in quality.

    Raises:
        InvalidRequest: it cannot be made from that source.
        DiskFull, StoreBusy, StoreError: see there.
        QuantizeFailed: there is too little memory, or llama.cpp failed.
    """
    quant, progress = quant.upper(), progress or NullProgress()
    if not can_make(quant):
        raise InvalidRequest(
            f"{quant} cannot be made here", param="quant", hint=f"one of: {', '.join(QUANTS)}"
        )
    if source_for(quant, [source], requantize=requantize) is None:
        hint = "--requantize makes it anyway" if source.quant == LOSSY else None
        raise InvalidRequest(
            f"{quant} made from {source.name}:{source.quant} would be of lower quality than one made from F16",
            param="quant",
            hint=hint,
        )
    check_memory(available)
    # The source's name stays part of the file's, to show what this was made from.
    file = f"quantized/{PurePosixPath(source.file).stem}.{quant}.gguf"
    with store.lock(f"{source.repo}/{file}"):
        target = store.incoming(source.repo, source.revision) / f"{PurePosixPath(file).name}.part"
        before = read_header(source.path)
        try:
            _run(source, before, target, quant, progress, requantize)
            _check(before, read_header(target), quant)
            size, sha256 = target.stat().st_size, sha256_of(target)
        except BaseException:
            target.unlink(missing_ok=True)  # it cannot be continued
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
    """Let the child process write `target`, and show how the file grows."""
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
        env=child_environment(llama=True),
        bufsize=0,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            size = process.stdout.readline().strip()
            if not size.isdigit():
                raise _failed(process)
            total = int(size) + before.size - before.weight_bytes  # the header is copied unchanged
            check_free_space(target.parent, total)
            with contextlib.suppress(BrokenPipeError):  # it died: the poll below will notice
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
    _, stderr = process.communicate()
    code = process.returncode
    last_line = stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or "it gave no reason"
    reason = f"it was killed by signal {-code}" if code < 0 else last_line
    hint = "the system kills processes that use too much memory; see: dmesg" if code == -9 else None
    return QuantizeFailed(f"llama.cpp could not quantize it: {escape(reason)[:300]}", hint=hint)


def _check(source: Header, result: Header, quant: str) -> None:
    """Check that the result has the source's tensors and the right quantization."""
    same = {t.name: t.shape for t in result.tensors} == {t.name: t.shape for t in source.tensors}
    if not same or result.file_type != quant:
        raise QuantizeFailed(f"llama.cpp made something other than {quant}")
