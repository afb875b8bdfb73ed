"""Models in the stores of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from edgeinfer.hub.mirror import mirror_app
from edgeinfer.store import external_stores
from edgeinfer.store.disk import sha256_of
from edgeinfer.store.imports import find_external_files, import_file
from edgeinfer.store.lookup import find_model
from edgeinfer.store.store import Store
from tests.support.mirror import serving
from tests.support.models import COMMIT, install, write_model

OTHER = "f" * 40
R1 = "deepseek-r1-distill-qwen-1.5b"
R1_REPO = "bartowski/DeepSeek-R1-Distill-Qwen-1.5B-GGUF"


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own Ollama is not looked at."""
    monkeypatch.setattr(external_stores, "OLLAMA_SERVICE", Path("/nowhere"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), **more}


def cached(hub: Path, repo: str, file: str, commit: str = COMMIT, title: str = "tiny") -> Path:
    """A model in the Hugging Face cache, as the client leaves it there."""
    directory = hub / f"models--{repo.replace('/', '--')}"
    new = write_model(directory / "blobs" / "new", title)
    blob = new.rename(new.with_name(sha256_of(new)))
    path = directory / "snapshots" / commit / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(blob)
    (directory / "refs").mkdir(exist_ok=True)
    (directory / "refs" / "main").write_text(commit)
    return path


def pulled(models: Path, place: str, *, file_type: str = "Q4_K_M", title: str = "tiny") -> Path:
    """A model in Ollama's store."""
    new = write_model(models / "blobs" / "new", title)
    blob = new.rename(new.with_name(f"sha256-{sha256_of(new)}"))
    config = {"model_format": "gguf", "model_family": "qwen2", "file_type": file_type}
    (models / "blobs" / ("sha256-" + "c" * 64)).write_text(json.dumps(config))
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "e" * 64, "size": 1},
        {"mediaType": external_stores.MODEL_LAYER, "digest": blob.name.replace("-", ":"), "size": 1},
    ]
    write_manifest(
        models, place, {"schemaVersion": 2, "config": {"digest": "sha256:" + "c" * 64}, "layers": layers}
    )
    return blob


def write_manifest(models: Path, place: str, content: object) -> None:
    manifest = models / "manifests" / place
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(content))


def test_the_hugging_face_cache_is_read_with_commit_and_hash(home: Path, store: Store) -> None:
    """Which the hub knows it by, so the mirror can serve it as such."""
    path = cached(home / ".cache/huggingface/hub", "owner/Some-Model-GGUF", "Some-Model-Q8_0.gguf")
    [file] = find_external_files(environ=environ(home))
    assert ("hf", "some-model", "Q8_0", path) == (file.source, file.name, file.quant, file.path)
    stored = import_file(store, file)
    assert ("owner/Some-Model-GGUF", COMMIT, "Some-Model-Q8_0.gguf") == (
        stored.repo,
        stored.revision,
        stored.file,
    )
    assert store.verify(stored) is None
    assert str(path) == find_model("some-model:q8_0", store).path


def test_what_the_client_has_downloaded_is_found(home: Path, store: Store, tmp_path: Path) -> None:
    """Its own cache, not our idea of it."""
    install(store, "some", "Q8_0")
    with serving(mirror_app(store)) as url:
        path = hf_hub_download(
            "owner/some-GGUF", "some-Q8_0.gguf", endpoint=url, cache_dir=tmp_path / "hub", token=False
        )
    [file] = find_external_files("hf", environ(home, HF_HUB_CACHE=str(tmp_path / "hub")))
    assert (path, "owner/some-GGUF", COMMIT) == (str(file.path), file.repo, file.revision)
    assert file.sha256 == sha256_of(Path(path))


@pytest.mark.parametrize(
    ("variable", "value", "hub"),
    [
        ("HF_HUB_CACHE", "elsewhere", "elsewhere"),
        ("HF_HOME", "elsewhere", "elsewhere/hub"),
        ("XDG_CACHE_HOME", "elsewhere", "elsewhere/huggingface/hub"),
    ],
)
def test_the_cache_may_be_elsewhere(home: Path, tmp_path: Path, variable: str, value: str, hub: str) -> None:
    """As the client's own variables say."""
    cached(tmp_path / hub, "owner/some-GGUF", "some-Q8_0.gguf")
    assert len(find_external_files("hf", environ(home, **{variable: str(tmp_path / value)}))) == 1


def test_a_file_of_several_commits_is_one_model_and_main_goes_first(home: Path) -> None:
    """The cache keeps what it has had."""
    hub = home / ".cache/huggingface/hub"
    cached(hub, "owner/some-GGUF", "some-Q8_0.gguf", commit=OTHER)
    cached(hub, "owner/some-GGUF", "some-Q8_0.gguf", commit=COMMIT)
    cached(hub, "owner/some-GGUF", "some-Q8_0.gguf", commit="0" * 40, title="changed")
    (hub / "models--owner--some-GGUF" / "refs" / "main").write_text(COMMIT)
    assert [COMMIT, "0" * 40] == [file.revision for file in find_external_files("hf", environ(home))]


def test_what_is_in_the_cache_and_no_whole_model_is_left_out(home: Path) -> None:
    """Other types of repository, parts, projectors, downloads under way, links to nothing."""
    hub = home / ".cache/huggingface/hub"
    for file in ("some-Q8_0-00001-of-00002.gguf", "mmproj-some-F16.gguf", "config.json", "imatrix-x.gguf"):
        cached(hub, "owner/some-GGUF", file)
    cached(hub, "owner/gone-GGUF", "gone-Q8_0.gguf").resolve().unlink()
    data = cached(hub, "owner/data", "data-Q8_0.gguf").parents[2]
    data.rename(hub / "datasets--owner--data")
    (hub / "models--").mkdir()
    (hub / "models--owner--some-GGUF" / "snapshots" / "not-a-commit").mkdir()
    (hub / "version.txt").touch()
    assert [] == find_external_files("hf", environ(home))


def test_a_file_that_the_catalogue_has_gets_its_name(home: Path, store: Store) -> None:
    """So an alias means it, and the plan knows it."""
    cached(home / ".cache/huggingface/hub", R1_REPO, "DeepSeek-R1-Distill-Qwen-1.5B-Q8_0.gguf")
    [file] = find_external_files(environ=environ(home))
    assert (R1, "Q8_0") == (file.name, file.quant)
    import_file(store, file)
    assert find_model("r1-1.5b:q8_0", store).name == R1


def test_ollamas_store_is_read_by_its_manifests(home: Path, store: Store) -> None:
    """The blob stays where it is, under the name that Ollama gave it."""
    models = home / ".ollama/models"
    blob = pulled(models, "registry.ollama.ai/library/llama3.2/1b")
    [file] = find_external_files("ollama", environ(home))
    assert ("llama3.2-1b", "Q4_K_M", blob) == (file.name, file.quant, file.path)
    stored = import_file(store, file)
    assert ("local/llama3.2-1b", "llama3.2-1b-Q4_K_M.gguf") == (stored.repo, stored.file)
    assert store.verify(stored) is None


@pytest.mark.parametrize(
    ("place", "name", "quant"),
    [
        ("registry.ollama.ai/library/qwen3/latest", "qwen3", "Q4_K_M"),
        ("registry.ollama.ai/library/qwen3/0.6b-q8_0", "qwen3-0.6b", "Q8_0"),
        ("registry.ollama.ai/somebody/mine/v2", "mine-v2", "Q4_K_M"),
        ("hf.co/owner/Some-Model-GGUF/Q5_K_M", "some-model", "Q5_K_M"),
        (f"hf.co/{R1_REPO}/Q8_0", R1, "Q8_0"),
    ],
)
def test_the_names_of_ollamas_models(home: Path, place: str, name: str, quant: str) -> None:
    """Model and tag; a quantization in the tag is ours to know."""
    pulled(home / ".ollama/models", place)
    [file] = find_external_files("ollama", environ(home))
    assert (name, quant) == (file.name, file.quant)


def test_ollamas_store_may_be_elsewhere(home: Path, tmp_path: Path) -> None:
    """And one model with two names is one model."""
    pulled(tmp_path / "models", "registry.ollama.ai/library/one/latest")
    pulled(tmp_path / "models", "registry.ollama.ai/library/two/latest")
    names = [
        file.name
        for file in find_external_files("ollama", environ(home, OLLAMA_MODELS=str(tmp_path / "models")))
    ]
    assert names == ["one"]


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../../../etc/passwd", "sha256:" + "a" * 63, "/etc/passwd", "", "sha256:" + "a" * 64, "\0"],
)
def test_a_digest_that_is_none_leads_nowhere(home: Path, digest: str) -> None:
    """A manifest is somebody else's word."""
    layers = [{"mediaType": external_stores.MODEL_LAYER, "digest": digest}]
    write_manifest(home / ".ollama/models", "registry.ollama.ai/library/x/latest", {"layers": layers})
    assert [] == find_external_files("ollama", environ(home))


@pytest.mark.parametrize(
    "content", [[], {}, {"layers": 1}, {"layers": [{}]}, {"layers": []}, "text", None, {"layers": [[[]]]}]
)
def test_a_manifest_that_is_none_is_left_out(home: Path, content: object) -> None:
    """So are manifests in the wrong place, and blobs that are no GGUF."""
    models = home / ".ollama/models"
    write_manifest(models, "registry.ollama.ai/library/x/latest", content)
    write_manifest(models, "stray", content)
    deep = models / "manifests/registry.ollama.ai/library/x/deep"
    deep.write_text('{"x": ' + "[" * 100_000)
    blob = pulled(models, "registry.ollama.ai/library/y/latest")
    blob.write_bytes(b"safetensors")
    assert [] == find_external_files("ollama", environ(home))


def test_lm_studios_folders_are_read(home: Path, store: Store) -> None:
    """The new one and the old one. It keeps no hashes, so the file is read."""
    path = write_model(home / ".lmstudio/models/owner/Some-GGUF/Some-Q6_K.gguf", "a")
    write_model(home / ".cache/lm-studio/models/owner/Old-GGUF/model-Q4_0.gguf", "b")
    write_model(home / ".lmstudio/models/owner/Some-GGUF/mmproj-Some-F16.gguf", "c")
    new, old = find_external_files("lmstudio", environ(home))
    assert ("some", "Q6_K", path, None) == (new.name, new.quant, new.path, new.sha256)
    assert ("old", "Q4_0") == (old.name, old.quant)
    pieces: list[int] = []
    stored = import_file(store, new, progress=pieces.append)
    assert sha256_of(path) == stored.sha256
    assert path.stat().st_size == sum(pieces)
    assert stored.repo == "local/some"
