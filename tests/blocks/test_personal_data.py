"""Presidio with our patterns finds personal data offline and reports a missing installation."""

import sys

import pytest

from blocks.personal_data import load_finder
from core.errors import SettingsError


def test_the_error_without_presidio_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(SettingsError, match="needs Presidio"):
        load_finder()


def test_each_kind_of_personal_data_is_found():
    spacy = pytest.importorskip("spacy")
    pytest.importorskip("presidio_analyzer")
    if not any(name.startswith("en_core_web") for name in spacy.util.get_installed_models()):
        pytest.skip("no model of English")
    find = load_finder()
    text = (
        "My name is Maria Gonzalez, born on 12 March 1984, of 14 Elm Street, Boston, MA 02118. Call +1 617 555 0142 or mail maria@example.com. "
        "Passport number X4417729. My account number is 0034519928. Tomorrow is Monday."
    )
    found = {(item.kind, text[item.start : item.end]) for item in find(text)}
    assert found >= {
        ("NAME", "Maria Gonzalez"), ("DATE OF BIRTH", "12 March 1984"), ("ADDRESS", "14 Elm Street, Boston, MA 02118"), ("PHONE", "+1 617 555 0142"),
        ("E-MAIL", "maria@example.com"), ("ID", "X4417729"), ("ACCOUNT", "0034519928"),
    }  # fmt: skip
    assert not any("Monday" in value for _, value in found)
