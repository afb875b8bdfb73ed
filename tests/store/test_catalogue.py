from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import fields

from edgeinfer.errors import EdgeinferError, ModelNotFound, SettingsError
from edgeinfer.store import catalogue as catalogue_module
from edgeinfer.store.catalogue import (
    PACKAGE_DIR,
    ModelSpec,
    QuantFile,
    Shape,
    catalogue,
    read_catalogue,
    resolve_spec,
)
from edgeinfer.store.predicted_header import expected_size, predicted_header

MINE = """
[mine]
description = "Mine."
licence = "MIT"
context = 4096
roles = ["chat"]
repo = "me/mine-GGUF"
files.Q4_K_M = { file = "mine-Q4_K_M.gguf", size = 1000 }
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment whose user has no catalogue yet; nor has the system."""
    monkeypatch.setattr(catalogue_module, "SYSTEM_CATALOGUE", tmp_path / "etc" / "models.toml")
    (tmp_path / "etc").mkdir()
    (tmp_path / "edgeinfer").mkdir()
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def write(home: dict[str, str], text: str) -> Path:
    path = Path(home["XDG_CONFIG_HOME"]) / "edgeinfer" / "models.toml"
    path.write_text(text)
    return path


def refused(home: dict[str, str], text: str) -> EdgeinferError:
    write(home, text)
    with pytest.raises(SettingsError) as error:
        catalogue(home)
    return error.value


def test_the_packaged_catalogue_is_sound(home: dict[str, str]) -> None:
    """Each model has what the plan and the download need."""
    known = catalogue(home)
    assert {"edgeinfer-nano", "deepseek-r1-distill-qwen-1.5b", "qwen2.5-coder-1.5b"} <= known.keys()
    assert ["edgeinfer-nano"] == [name for name, spec in known.items() if spec.file]
    for name, spec in known.items():
        if spec.file:
            continue
        assert spec.files, name
        assert spec.shape, name
        assert spec.parameters, name
        assert all(file.file.endswith(".gguf") and file.size != 0 for file in spec.files), name
        assert all(spec.quant(file.quant) is file for file in spec.files), name
    assert {"chat", "code", "embed", "rerank"} == {role for spec in known.values() for role in spec.roles}


def rows() -> list[str]:
    """The catalogue as the table in docs/models.md."""
    lines = []
    for name, spec in read_catalogue(PACKAGE_DIR.parent / "models.toml", {}, bundled=True).items():
        sizes = ((file.quant, expected_size(spec, file.quant) or 0) for file in spec.files)
        files = ", ".join(f"{quant} {size / 1e9:.2g} GB" for quant, size in sizes)
        billions = f"{spec.parameters / 1e9:.2g}" if spec.parameters else ""
        context, what = f"{spec.context:,}", f"{spec.description} ({', '.join(spec.roles)})"
        lines.append(
            f"| `{name}` | {what} | {billions} | {context} | {spec.licence} | {files or 'in the package'} |"
        )
    return lines


def test_the_docs_have_the_catalogue() -> None:
    """Row by row. The table is made by `rows`."""
    page = (PACKAGE_DIR.parent / "docs" / "models.md").read_text().splitlines()
    start = page.index("|---|---|---|---|---|---|") + 1
    assert rows() == page[start : page.index("", start)]


def test_the_example_in_the_docs_is_a_catalogue(home: dict[str, str]) -> None:
    """And says all that there is to say of a model."""
    page = (PACKAGE_DIR.parent / "docs" / "models.md").read_text()
    write(home, page.partition("```toml\n")[2].partition("```")[0])
    example = catalogue(home)["my-model"]
    keys = {field.name for field in fields(ModelSpec)} - {"file"}
    assert all(getattr(example, key) for key in keys)
    keys_in_use = {field.name for cls in (ModelSpec, QuantFile, Shape) for field in fields(cls)} - {
        "quant",
        "defaults",
    }
    keys_in_use |= {"sampling", "sampling_without_thinking", "system_prompt"}
    assert [] == [key for key in keys_in_use if f"`{key}`" not in page]


def test_parameters_are_those_of_the_shape(home: dict[str, str]) -> None:
    """The number that users see and the one that memory is counted by are of the same model."""
    for name, spec in catalogue(home).items():
        if header := predicted_header(spec, "F16"):
            counted = sum(tensor.nbytes // (4 if tensor.type == "F32" else 2) for tensor in header.tensors)
            assert spec.parameters == pytest.approx(counted, rel=0.01), name


def test_smaller_models_are_smaller(home: dict[str, str]) -> None:
    """And serve the same purpose."""
    known = catalogue(home)
    for spec in known.values():
        if spec.smaller and spec.parameters:
            smaller = known[spec.smaller]
            assert (smaller.parameters or 0) < spec.parameters
            assert set(spec.roles) <= set(smaller.roles)


def test_the_flagship_is_offered_in_each_size(home: dict[str, str]) -> None:
    """By its aliases too, in any case."""
    for name in ("deepseek-r1-distill-qwen-1.5b", "DeepSeek-R1-Distill-Qwen-1.5B", "r1-1.5b", "DeepSeek-R1"):
        model, spec = resolve_spec(name, home)
        assert "deepseek-r1-distill-qwen-1.5b" == model
    assert {"Q4_0", "Q4_K_M", "Q5_K_M", "Q8_0", "F16"} <= {file.quant for file in spec.files}
    q4 = spec.quant("q4_k_m")
    assert q4
    assert (1_117_320_800, "1741e5b2", "main") == (q4.size, (q4.sha256 or "")[:8], q4.revision)
    assert spec.quant("Q3_K_S") is None


def test_a_name_that_is_not_known_is_told_with_the_nearest(home: dict[str, str]) -> None:
    """Or with all, where none is near."""
    with pytest.raises(ModelNotFound) as error:
        resolve_spec("qwen-0.6b", home)
    assert "did you mean 'qwen3-0.6b'?" == error.value.hint
    with pytest.raises(ModelNotFound) as error:
        resolve_spec("gpt", home)
    assert "edgeinfer models ls --all" in (error.value.hint or "")


def test_a_users_file_adds_models(home: dict[str, str]) -> None:
    """What it leaves out has defaults."""
    write(home, MINE)
    known = catalogue(home)
    assert "qwen3-0.6b" in known
    assert [QuantFile("Q4_K_M", "me/mine-GGUF", "mine-Q4_K_M.gguf", 1000)] == known["mine"].files
    assert (None, None, None) == (known["mine"].shape, known["mine"].smaller, known["mine"].tool_format)


def test_a_users_file_replaces_models(home: dict[str, str]) -> None:
    """Whole: nothing of the packaged entry remains. The user's goes before the system's."""
    write(home, MINE.replace("[mine]", "[smollm3-3b]"))
    (catalogue_module.SYSTEM_CATALOGUE).write_text(
        MINE.replace("[mine]", "[phi-4-mini]").replace("Mine.", "The system's.")
    )
    known = catalogue(home)
    assert ("Mine.", None) == (known["smollm3-3b"].description, known["smollm3-3b"].shape)
    assert "The system's." == known["phi-4-mini"].description
    (catalogue_module.SYSTEM_CATALOGUE).write_text(
        MINE.replace("[mine]", "[smollm3-3b]").replace("Mine.", "The system's.")
    )
    assert "Mine." == catalogue(home)["smollm3-3b"].description


def test_a_users_alias_goes_before_a_packaged_one(home: dict[str, str]) -> None:
    """But a name goes before any alias, so that a new alias of ours can't take a user's name."""
    write(home, MINE + 'aliases = ["deepseek-r1", "qwen3-0.6b"]')
    assert "mine" == resolve_spec("deepseek-r1", home)[0]
    assert "qwen3-0.6b" == resolve_spec("qwen3-0.6b", home)[0]


def test_each_file_may_have_its_own_repository(home: dict[str, str]) -> None:
    """And its own revision; names of quantizations are written in any case."""
    sha256 = "0" * 64
    write(
        home,
        MINE + 'revision = "v1"\n'
        f'files.q8_0 = {{ file = "b/*-Q8_0.gguf", repo = "you/b", revision = "abc", sha256 = "{sha256}" }}\n',
    )
    files = catalogue(home)["mine"].files
    assert ["v1", "abc"] == [file.revision for file in files]
    assert QuantFile("Q8_0", "you/b", "b/*-Q8_0.gguf", None, "abc", sha256) == files[1]


@pytest.mark.parametrize(
    ("change", "line", "problem", "hint"),
    [
        (("context", "contxt"), 5, "mine.contxt: unknown key", "did you mean 'context'?"),
        (("4096", '"4096"'), 5, "mine.context: Expected `int`", None),
        (("4096", "0"), 5, "mine.context: Expected `int` >= 1", None),
        (('"chat"', '"chatter"'), 6, "mine.roles: Invalid enum value 'chatter'", None),
        (('["chat"]', "[]"), 6, "mine.roles: Expected `array` of length >= 1", None),
        (('licence = "MIT"\n', ""), 2, "mine: licence missing", None),
        (("size = 1000", "size = -1"), 8, "mine.files.Q4_K_M.size: Expected `int` >= 1", None),
        (("size = 1000", "sha = 1"), 8, "mine.files.Q4_K_M.sha: unknown key", "did you mean 'sha256'?"),
        (("size = 1000", 'sha256 = "abc"'), 8, "mine.files.Q4_K_M.sha256: Expected `str` matching", None),
        (
            ('{ file = "mine-Q4_K_M.gguf", size = 1000 }', '"x.gguf"'),
            8,
            "mine.files.Q4_K_M: is not a table",
            None,
        ),
        (
            ('repo = "me/mine-GGUF"\n', ""),
            7,
            "repo missing",
            "set repo for the model, or for each of its files",
        ),
        (("Q4_K_M.gguf", "Q4_K_M.bin"), 8, "Q4_K_M.file: not allowed", "the file name must end in .gguf"),
        (("Q4_K_M =", '"Q4 K M" ='), 8, "'Q4 K M' is not a quantization", "for example: Q4_K_M"),
        (('files.Q4_K_M = { file = "mine-Q4_K_M.gguf", size = 1000 }', ""), 2, "mine: files missing", None),
        (("roles", 'file = "x.gguf"\nroles'), 2, "mine: files missing", None),
        (
            ("roles", 'smaller = "qwen3-0.6"\nroles'),
            6,
            "no such model: 'qwen3-0.6'",
            "did you mean 'qwen3-0.6b'?",
        ),
        (("roles", 'smaller = "mine"\nroles'), 6, "is circular: mine -> mine", None),
        (
            ("roles", 'aliases = ["a b"]\nroles'),
            2,
            "'a b' is not a valid name",
            "a name has letters and digits",
        ),
        (("[mine]", '["a:b"]'), 2, "'a:b' is not a valid name", "a name has letters and digits"),
        (("roles", "shape = { layers = 0 }\nroles"), 6, "mine.shape.layers: Expected `int` >= 1", None),
        (("roles", 'shape = { arch = "llama" }\nroles'), 6, "mine.shape: layers, embedding", None),
        (("[mine]", "mine = 5\n[other]"), 2, "mine: is not a table", None),
        (('"MIT"', "MIT"), None, "(at line 4, column 11)", None),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(
    change: tuple[str, str], line: int | None, problem: str, hint: str | None, home: dict[str, str]
) -> None:
    """The file and the key too, and the nearest one where there is none of that name."""
    error = refused(home, MINE.replace(*change))
    where = f"models.toml, line {line}: " if line else "models.toml: "
    assert where in error.message
    assert problem in error.message
    assert (error.hint or "").startswith(hint or "")
    assert bool(hint) == bool(error.hint)


def test_two_models_of_one_name_are_refused(home: dict[str, str]) -> None:
    """Whatever the case."""
    other = MINE.replace("[mine]", "[other]") + 'aliases = ["MINE"]'
    error = refused(home, MINE + other)
    assert "models.toml, line 10: other: 'MINE' is a name of 'mine' too" in error.message


def test_a_file_of_a_users_model_is_imported_not_listed(home: dict[str, str]) -> None:
    """The key is the bundled model's alone."""
    text = MINE.replace("files.Q4_K_M = { file", "file").replace(", size = 1000 }", "")
    error = refused(home, text)
    assert "mine.file: only the bundled model can have this key" in error.message
    assert "edgeinfer models import" in (error.hint or "")


@pytest.mark.parametrize(
    "text",
    ["\0", "a = ", "[a", "x" * (1 << 21), 'a = "\\uD800"', "a = " + "[" * 100_000],
    ids=lambda t: t[:5],
)
def test_a_file_that_is_no_toml_is_told(text: str, home: dict[str, str]) -> None:
    """By its name."""
    assert "models.toml: " in refused(home, text).message


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    """In the system's words."""
    (tmp_path / "models.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"models\.toml: "):
        read_catalogue(tmp_path / "models.toml", {})
    with pytest.raises(SettingsError, match="No such file"):
        read_catalogue(tmp_path / "none.toml", {})


@pytest.mark.parametrize("key", ["file", "repo", "revision"])
@pytest.mark.parametrize("text", ["../../etc/passwd", "/etc/passwd", "a\\\\b", "a\\u0000b"])
def test_a_catalogue_that_would_lead_out_of_a_directory_is_refused(
    key: str, text: str, home: dict[str, str]
) -> None:
    """With the key that does."""
    table = {"file": '"x.gguf"', "repo": '"a/b"', "revision": '"main"'} | {key: f'"{text}"'}
    error = refused(home, MINE + "files.F16 = {" + ", ".join(f"{k} = {v}" for k, v in table.items()) + "}")
    assert f"mine.files.F16.{key}: not allowed" in error.message
