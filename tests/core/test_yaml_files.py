"""A YAML file means what a person reads in it, or is refused with one error."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from core.yaml_files import parse_yaml, read_yaml

BOMB = "a: &a [x, x]\n" + "".join(f"{key}: &{key} [{', '.join(['*' + before] * 9)}]\n" for before, key in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize("text", ["010", "1:30", "no", "on", "yes", ".inf", "-.inf", ".nan", "1e999", "1_000", "0x1F", "٣", "2026-02-30", "9" * 5000])
def test_ambiguous_yaml_scalars_are_text(text):
    assert parse_yaml(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("-0", 0), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("true", True), ("~", None), ("", None), ('"5"', "5")]
)
def test_scalars_follow_yaml_1_2(text, value):
    found = parse_yaml(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: 1\nbudget: 2", "line 2, column 1: the key 'budget' occurs twice"),
        (BOMB, "anchors and aliases"),
        ("&a [*a]", "anchors and aliases"),
        ("a: 1\n---\nb: 2", "line 3, column 1: a second document|line 2, column 1: a second document"),
        ("a: !!python/object/apply:os.system [id]", "tags"),
        ("[" * 100_000, "are nested more than"),
        ("{a: " * 5000, "are nested more than"),
        ("? [a]\n: 1", "keys are text"),
        ("a: b: c", "line 1, column 5"),
        ("a: \x07", "a character that YAML does not allow"),
        ("a: \ud83d", "a character that YAML does not allow"),
    ],
)
def test_unsupported_yaml_is_refused_with_its_place_and_without_its_text(text, said):
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_json_is_valid_yaml(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_yaml(path, SettingsError) == value


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[NaN]", "[1e999]", "[" * 100_000, "{"])
def test_malformed_json_is_refused_like_malformed_yaml(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="is not JSON"):
        read_yaml(path, SettingsError)


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(path, SettingsError) == {"a": 1, "b": 2}


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "large", "latin-1", "missing"])
def test_a_special_file_is_refused_without_blocking(tmp_path, kind):
    path = tmp_path / "x.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "large":
        path.write_bytes(b"# \n" * 2_000_000)
    elif kind == "latin-1":
        path.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"x\.yaml"):
        read_yaml(path, SettingsError)
