"""Names of models, repositories and files: what becomes a path is checked first."""

from __future__ import annotations

import pytest

from edgeinfer.store.names import file_problem, name_problem, repo_problem, revision_problem

HOSTILE = (
    "..",
    "../a",
    "a/../b",
    "/a",
    "a//b",
    "a\\b",
    "a\0b",
    "a\nb",
    ".a",
    "a/.b",
    "",
    "~/a",
    " a",
    "a" * 300,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_would_lead_out_of_a_directory_is_no_name(text: str) -> None:
    """Names of models, repositories, revisions and files become paths and addresses."""
    assert name_problem(text)
    assert repo_problem(text)
    assert repo_problem(f"owner/{text}")
    assert revision_problem(text)
    assert file_problem(text)
    assert file_problem(text, pattern=True)
    assert file_problem(f"a/{text}", pattern=True)


def test_names_as_they_are_published_are_allowed() -> None:
    """Of repositories, revisions, files in folders, and patterns."""
    assert [None] * 3 == [name_problem(n) for n in ("qwen3-0.6b", "SmolLM3_3B", "a")]
    assert [None] * 2 == [repo_problem(r) for r in ("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "a/b")]
    assert [None] * 3 == [revision_problem(r) for r in ("main", "refs/pr/1", "0188c9bf409793f810680a5a")]
    assert [None] * 2 == [file_problem(f) for f in ("Q4/model (1)-Q4_0.gguf", "_a.b+c@d,e=f.gguf")]
    assert file_problem("*.gguf")
    assert [None] * 2 == [file_problem(f, pattern=True) for f in ("*-[Qq]4_K_M.gguf", "a/*.gguf")]
