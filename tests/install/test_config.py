"""The configuration file that an installation changes."""

from __future__ import annotations

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeinfer.errors import SettingsError
from edgeinfer.install.config_file import Value, updated

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_a_new_file_holds_the_keys() -> None:
    assert {"model": "qwen3:Q4_0", "port": 80} == tomllib.loads(
        updated("", {"model": "qwen3:Q4_0", "port": 80})
    )


def test_what_the_user_wrote_stays() -> None:
    before = '# mine\nport = 8080 # the old app wants it\n\nmodel = "a#b" # was "c"\n'
    after = updated(before, {"model": "d", "ctx": 8192})
    assert '# mine\nport = 8080 # the old app wants it\n\nmodel = "d" # was "c"\nctx = 8192\n' == after


def test_a_key_can_be_taken_out() -> None:
    assert "port = 1\n" == updated('model = "x"\nport = 1\n', {"model": None})


TABLES = """port = 1 # mine
matrix = [
  [1, 2],
]

# A small one.
[models.small]
model = "a" # not this
ctx = 512
"""


def test_tables_of_models_stay_as_they_are() -> None:
    """Keys are set above the tables, even if these have keys of the same name."""
    after = updated(TABLES, {"model": "b", "ctx": 4096, "port": 2})
    assert after.startswith(
        'port = 2 # mine\nmatrix = [\n  [1, 2],\n]\nmodel = "b"\nctx = 4096\n\n# A small one.\n'
    )
    assert {"model": "a", "ctx": 512} == tomllib.loads(after)["models"]["small"]
    assert TABLES == updated(after, {"model": None, "ctx": None, "port": 1})


def test_a_key_can_be_added_above_tables_alone() -> None:
    after = updated("# mine\n[models.small]\nctx = 512\n", {"model": "b"})
    assert {"model": "b", "models": {"small": {"ctx": 512}}} == tomllib.loads(after)
    assert after.startswith("# mine\n")


def test_a_file_that_is_no_toml_is_refused() -> None:
    with pytest.raises(SettingsError, match="not valid TOML"):
        updated("model = ", {"model": "x"})


def test_a_value_over_several_lines_is_left_to_the_user() -> None:
    with pytest.raises(SettingsError) as refused:
        updated('model = """\nx"""\n', {"model": "y"})
    assert refused.value.hint


@example("a\u2028b\x85\x1c", True, 1)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans(), st.integers(-(2**53), 2**53))
def test_any_value_is_read_back(text: str, flag: bool, number: int) -> None:
    values: dict[str, Value] = {"a": text, "b": flag, "c": number}
    once = updated("", values)
    assert values == tomllib.loads(once)
    assert once == updated(once, values)
