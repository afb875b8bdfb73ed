"""What a hub is asked, whom it is asked as, and how its refusals read."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from edgeinfer.errors import DownloadFailed, ModelNotFound, Offline
from edgeinfer.hub.endpoint import Endpoint, RetryPolicy
from edgeinfer.hub.hub_index import catalogue_files, repo_files
from edgeinfer.store.catalogue import ModelSpec, QuantFile
from tests.support.faulty_hub import COMMIT, REPO, Answer, FaultyHub, serving

HURRY = RetryPolicy(read_timeout=0.5, max_attempts=2, backoff=0.01, max_backoff=0.05, max_retry_after=1)
FILES = {
    "README.md": b"about",
    "Nano-Q4_K_M.gguf": b"k",
    "deep/Nano-Q4_K_M.gguf": b"deeper",
    "nano-q8_0.GGUF": b"eight",
    "Nano-f16-00001-of-00002.gguf": b"one",
    "Nano-f16-00002-of-00002.gguf": b"two",
    "mmproj-Nano-F16.gguf": b"eyes",
    "Nano.imatrix-Q4_0.gguf": b"matrix",
    "../../Nano-Q5_0.gguf": b"out",
    "/Nano-Q5_1.gguf": b"root",
    "Na\x1bno-Q6_K.gguf": b"escape",
}


@pytest.fixture
def hub() -> Iterator[FaultyHub]:
    with serving(FaultyHub(dict(FILES))) as hub:
        yield hub


def at(hub: FaultyHub, token: str | None = None) -> Endpoint:
    return Endpoint(hub.url, token, retry_policy=HURRY)


def spec(*files: QuantFile) -> ModelSpec:
    return ModelSpec(description="x", licence="MIT", context=2048, roles=["chat"], files=list(files))


def test_the_catalogue_s_files_are_found_by_pattern(hub: FaultyHub) -> None:
    """In any case; the shortest path wins. Commit, size and hash are the hub's."""
    files = [
        QuantFile("Q4_K_M", REPO, "*-Q4_K_M.gguf", sha256="a" * 64),
        QuantFile("Q8_0", REPO, "nano-q8_0.gguf"),
        QuantFile("Q5_K_M", REPO, "*-Q5_K_M.gguf"),
    ]
    remotes = catalogue_files(spec(*files), "nano", hub=at(hub))
    assert [(p.name, p.quant, p.file, p.size) for p in remotes] == [
        ("nano", "Q4_K_M", "Nano-Q4_K_M.gguf", 1),
        ("nano", "Q8_0", "nano-q8_0.GGUF", 5),
    ]
    assert [(p.revision, p.sha256, p.expected) for p in remotes] == [
        (COMMIT, hub.sha256("Nano-Q4_K_M.gguf"), "a" * 64),
        (COMMIT, hub.sha256("nano-q8_0.GGUF"), None),
    ]
    assert len(hub.requests) == 1


def test_a_revision_given_by_hand_sets_the_catalogue_s_hash_aside(hub: FaultyHub) -> None:
    """It is of another revision."""
    file = QuantFile("Q8_0", REPO, "nano-q8_0.gguf", revision="v1", sha256="a" * 64)
    (remote,) = catalogue_files(spec(file), "nano", revision=COMMIT, hub=at(hub))
    assert (remote.revision, remote.expected) == (COMMIT, None)
    with pytest.raises(ModelNotFound, match="has no such revision"):
        catalogue_files(spec(file), "nano", hub=at(hub))


def test_one_missing_repository_does_not_hide_the_others(hub: FaultyHub) -> None:
    """As on a mirror, which has some of them."""
    here, away = QuantFile("Q8_0", REPO, "nano-q8_0.gguf"), QuantFile("F16", "some/other", "*")
    assert [p.quant for p in catalogue_files(spec(away, here), "nano", hub=at(hub))] == ["Q8_0"]
    with pytest.raises(ModelNotFound, match="has no model some/other"):
        catalogue_files(spec(away), "nano", hub=at(hub))


def test_offline_the_catalogue_s_own_facts_must_do(hub: FaultyHub) -> None:
    """Nobody is asked."""
    file = QuantFile("Q8_0", REPO, "nano-q8_0.gguf", 5, "main", "a" * 64)
    (remote,) = catalogue_files(spec(file), "nano", hub=Endpoint(hub.url, offline=True))
    assert (remote.size, remote.expected, remote.revision, remote.confirmed) == (5, "a" * 64, "main", False)
    with pytest.raises(Offline, match=f"{REPO} is not installed"):
        repo_files(REPO, hub=Endpoint(hub.url, offline=True))
    assert hub.requests == []


def test_a_repository_s_models_are_listed(hub: FaultyHub) -> None:
    """Without projectors, matrices, parts, and names that lead elsewhere."""
    files = repo_files(REPO, hub=at(hub))
    assert {(p.quant, p.file) for p in files} == {
        ("Q4_K_M", "Nano-Q4_K_M.gguf"),
        ("Q4_K_M", "deep/Nano-Q4_K_M.gguf"),
        ("Q8_0", "nano-q8_0.GGUF"),
    }


def test_a_repository_without_a_model_says_so(hub: FaultyHub) -> None:
    """Or that its model is in parts."""
    with pytest.raises(ModelNotFound, match=r"has no file nothing\.gguf"):
        repo_files(REPO, file="nothing.gguf", hub=at(hub))
    hub.files = {"README.md": b""}
    with pytest.raises(ModelNotFound, match="has no GGUF file"):
        repo_files(REPO, hub=at(hub))
    hub.files = {"Nano-f16-00001-of-00002.gguf": b"one"}
    with pytest.raises(ModelNotFound, match="one of 2 parts"):
        repo_files(REPO, hub=at(hub))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"sha": 5, "siblings": []}',
        b'{"sha": "main", "siblings": []}',
        b"\xff\xfe",
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_hub_s_is_an_error(hub: FaultyHub, body: bytes) -> None:
    """With the address that was asked."""
    hub.first_answers = [Answer(200, {}, body)]
    with pytest.raises(DownloadFailed, match=r"does not answer like a hub|names no commit") as error:
        repo_files(REPO, hub=at(hub))
    assert error.value.hint == f"HF_ENDPOINT is {hub.url}"


def test_an_answer_without_end_is_left(hub: FaultyHub) -> None:
    """Before it takes the memory of the board."""
    hub.first_answers = [Answer(200, {}, b" " * (33 << 20))]
    with pytest.raises(DownloadFailed, match="implausibly long description"):
        repo_files(REPO, hub=at(hub))


def test_hashes_and_sizes_that_make_no_sense_are_none(hub: FaultyHub) -> None:
    """A file without them is not fetched."""
    files = [{"rfilename": "N-Q4_0.gguf", "lfs": {"sha256": "../x", "size": 3}}, {"rfilename": "N-Q8_0.gguf"}]
    hub.first_answers = [Answer(200, {}, json.dumps({"sha": COMMIT, "siblings": files}).encode())]
    remotes = repo_files(REPO, hub=at(hub))
    assert [(p.size, p.sha256, p.git_sha1) for p in remotes] == [(3, None, None), (None, None, None)]


def test_a_question_is_asked_again_a_few_times(hub: FaultyHub) -> None:
    """Whoever asks is waiting."""
    hub.first_answers = [Answer(500, {}), Answer(503, {})]
    assert repo_files(REPO, hub=at(hub))
    hub.first_answers = [Answer(500, {})] * 10
    with pytest.raises(DownloadFailed, match=r"answers 500 \(tried 3 times\)"):
        repo_files(REPO, hub=at(hub))
