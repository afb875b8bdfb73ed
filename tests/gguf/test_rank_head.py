"""What makes a file a reranker, and which rerankers are refused."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.header import read_header
from edgeinfer.gguf.rank_head import rank_outputs
from tests.support.bert import write_bert
from tests.support.qwen3_reranker import write_qwen3_reranker


@pytest.mark.parametrize(
    ("pooling", "head", "reranks"),
    [
        (gguf.PoolingType.RANK, True, True),
        (None, True, True),
        (gguf.PoolingType.MEAN, True, True),
        (gguf.PoolingType.MEAN, False, False),
        (None, False, False),
    ],
)
def test_a_head_makes_a_reranker(
    tmp_path: Path, pooling: gguf.PoolingType | None, head: bool, reranks: bool
) -> None:
    """Whatever the file says of its pooling, or does not say."""
    write_bert(path := tmp_path / "a.gguf", pooling, head=head)
    assert reranks == read_header(path).reranks


def test_a_reranker_without_a_head_is_refused(tmp_path: Path) -> None:
    """llama.cpp would give a number of the text's embedding for the score."""
    write_bert(path := tmp_path / "a.gguf", gguf.PoolingType.RANK)
    with pytest.raises(ModelLoadFailed, match="lacks the classification head"):
        read_header(path)


def test_a_share_of_one_label_is_refused(tmp_path: Path) -> None:
    """Qwen3's scores are shares of its labels."""
    write_qwen3_reranker(path := tmp_path / "a.gguf", labels=("yes",))
    with pytest.raises(ModelLoadFailed, match="every score would be 1"):
        read_header(path)
    write_qwen3_reranker(path)
    assert read_header(path).reranks


@pytest.mark.parametrize(
    ("labels", "tensors", "outputs"),
    [
        (0, {"cls.output.weight": (32, 1)}, 1),
        (1, {"cls.output.weight": (32,)}, 1),
        (2, {"cls.output.weight": (32, 2)}, 2),
        (1 << 40, {"cls.output.weight": (32, 2)}, 0),
        (0, {"cls.weight": (32, 1)}, 1),
        (0, {"cls.weight": (32, 32)}, 0),
        (2, {"cls.weight": (32, 1)}, 0),
        (0, {}, 0),
    ],
)
def test_a_head_has_a_score_for_each_label(
    labels: int, tensors: dict[str, tuple[int, ...]], outputs: int
) -> None:
    """llama.cpp reads as many scores as there are labels."""
    lengths = {"bert.classifier.output_labels": labels} if labels else {}
    assert outputs == rank_outputs({"general.architecture": "bert"}, lengths, tensors)
