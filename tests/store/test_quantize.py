"""Making a smaller quantization on the board: by llama.cpp itself, on a small model made for it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgeinfer.errors import InvalidRequest, QuantizeFailed, StoreBusy
from edgeinfer.gguf.header import read_header
from edgeinfer.gguf.requantized import requantized
from edgeinfer.store.quantize import REQUIRED_MEMORY, can_make, check_memory, quantize, source_for
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from tests.support.f16_model import write_f16_model

REPO, COMMIT = "someone/Tiny-GGUF", "c" * 40


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "Tiny-F16.gguf"
    write_f16_model(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def imported(store: Store, path: Path, quant: str = "F16") -> StoredModel:
    """The file as a model of the store."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    return store.record(StoredModel("tiny", quant, path, size, digest, REPO, COMMIT, path.name, "import"))


class Growing:
    """What a person would have seen of the file."""

    def __init__(self) -> None:
        self.total = self.last = 0

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.total = total

    def update(self, done: int) -> None:
        assert self.last <= done <= self.total
        self.last = done

    def message(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


@pytest.mark.parametrize("quant", ["Q4_K_M", "Q8_0"])
def test_a_smaller_one_is_made(file: Path, store: Store, quant: str) -> None:
    """A model of the same name, of which its record says what it was made of. Its size was foretold."""
    source, seen = imported(store, file), Growing()
    made = quantize(source, quant.lower(), store, seen)
    assert store.installed() == [source, made]
    assert (made.name, made.quant, made.origin) == ("tiny", quant, "quantized")
    assert (made.repo, made.revision, made.file) == (REPO, COMMIT, f"quantized/Tiny-F16.{quant}.gguf")
    assert store.verify(made) is None
    assert seen.last == seen.total == pytest.approx(made.size, rel=0.02)
    actual, predicted = read_header(made.path), requantized(read_header(file), quant)
    assert predicted
    assert {t.name: (t.type, t.shape) for t in actual.tensors} == {
        t.name: (t.type, t.shape) for t in predicted.tensors
    }
    assert [p for p in (store.root / "incoming").rglob("*") if p.is_file()] == []


def test_of_a_coarse_one_only_if_allowed(model_file: Path, store: Store) -> None:
    """Q8_0 loses little, anything else too much."""
    source = imported(store, model_file, "Q8_0")
    with pytest.raises(InvalidRequest, match="of lower quality than one made from F16") as error:
        quantize(source, "Q4_0", store)
    assert error.value.hint == "--requantize makes it anyway"
    assert read_header(quantize(source, "Q4_0", store, requantize=True).path).by_type()["Q4_0"]
    with pytest.raises(InvalidRequest, match="lower quality"):
        quantize(replace(source, quant="Q4_K_M"), "Q4_0", store, requantize=True)


def test_what_it_is_made_of() -> None:
    """The weights as they were trained first."""

    def of(*quants: str) -> list[StoredModel]:
        return [StoredModel("m", q, Path("/m"), 1, "a" * 64, REPO, COMMIT, "m", "hub") for q in quants]

    def taken(quant: str, *quants: str, requantize: bool = False) -> str | None:
        source = source_for(quant, of(*quants), requantize=requantize)
        return source.quant if source else None

    assert taken("Q4_0", "Q8_0", "F32", "F16", "BF16") == "BF16"
    assert taken("Q4_0", "Q8_0", "F32", "F16") == "F16"
    assert taken("Q4_0", "Q8_0", "Q4_K_M") is None
    assert taken("Q4_0", "Q8_0", "Q4_K_M", requantize=True) == "Q8_0"
    assert taken("Q8_0", "Q8_0", requantize=True) is None
    assert can_make("q4_k_m")
    assert not can_make("IQ1_S")


def test_what_cannot_be_made_is_refused(file: Path, store: Store) -> None:
    """With what can."""
    with pytest.raises(InvalidRequest, match="IQ1_S cannot be made here") as error:
        quantize(imported(store, file), "IQ1_S", store)
    assert error.value.hint
    assert "Q4_K_M" in error.value.hint


def test_too_little_memory_is_said_before(file: Path, store: Store) -> None:
    """With the numbers; where it is not known, it is tried."""
    check_memory(None)
    check_memory(REQUIRED_MEMORY)
    with pytest.raises(QuantizeFailed, match=r"needs 210 MB of memory, but only 100 MB are available"):
        quantize(imported(store, file), "Q4_0", store, available=100_000_000)


def test_llama_cpp_s_words_are_passed_on(tmp_path: Path, store: Store) -> None:
    """A sound file may still be none that it knows."""
    write_f16_model(tmp_path / "Odd-F16.gguf", arch="nonsense")
    source = imported(store, tmp_path / "Odd-F16.gguf")
    with pytest.raises(QuantizeFailed, match="unknown model architecture: 'nonsense'"):
        quantize(source, "Q4_0", store)
    assert store.installed() == [source]


def test_two_at_once_are_one_too_many(file: Path, store: Store) -> None:
    """The second is told so."""
    source = imported(store, file)
    with store.lock(f"{REPO}/quantized/Tiny-F16.Q4_0.gguf"), pytest.raises(StoreBusy):
        quantize(source, "Q4_0", store)


LIMITED = """
import sys
from pathlib import Path
from edgeinfer.store.quantize import quantize
from edgeinfer.store.store import Store
store = Store(Path(sys.argv[1]))
quantize(store.installed()[0], "Q4_0", store)
"""


def test_a_write_that_fails_leaves_nothing(file: Path, store: Store) -> None:
    """No half of a model."""
    source = imported(store, file)
    limited = ["bash", "-c", 'ulimit -f 300; exec "$@"', "bash"]
    done = subprocess.run(
        [*limited, sys.executable, "-c", LIMITED, str(store.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "QuantizeFailed: llama.cpp could not quantize it" in done.stderr
    assert store.recorded() == [source]
    assert [p for p in store.root.rglob("*") if p.suffix in (".gguf", ".part")] == []


def test_the_process_ends_with_whoever_started_it(file: Path, tmp_path: Path) -> None:
    """It says what it will take, and does nothing before it is told to."""
    target = tmp_path / "made.gguf"
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgeinfer.backends.llama_cpp.binding.quantize",
            str(file),
            str(target),
            "Q4_0",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert 100_000 < int(process.stdout.readline()) < file.stat().st_size
        assert process.stdin
        process.stdin.close()
        assert process.wait(30) == 1
    assert not target.exists()
