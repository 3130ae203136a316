"""The forms in Prefect's UI offer the existing domains and settings, and accept and refuse what a flow does. The server validates with the same schema."""

import importlib

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from core.authoring.draft import read_brief
from core.errors import DesignError
from core.packs.places import domains
from core.storage.store import Store
from deployments.forms import form_of

BRIEF = "A mentor for electricians in training. It asks before it answers and never does the work for them.\n\n" + "It names every danger of current. " * 15


def form(flow):
    return form_of(parameter_schema(getattr(importlib.import_module(f"flows.{flow}"), flow).fn).model_dump(), f"flows.{flow}:{flow}")


def refused(flow, **given):
    return [error.message for error in validate(given, form(flow), raise_on_error=False)]


def test_a_form_offers_the_existing_domains_and_settings_files():
    given = form("nightly")["properties"]
    assert given["domain"]["anyOf"][0]["enum"] == sorted(domains())
    assert given["settings"]["anyOf"][0]["enum"] == ["config/demo.yaml", "config/pipeline.yaml"]


@pytest.mark.parametrize(
    ("flow", "given", "good"),
    [
        ("nightly", {"domain": "coding-mentor", "settings": "config/demo.yaml", "conversations": 3}, True),
        ("nightly", {"domain": "added-after-deploying", "settings": "/elsewhere/mine.yaml"}, True),  # not in the lists, as a command or CI may pass them
        ("nightly", {"domain": "Coding Mentor"}, False),
        ("nightly", {"settings": "notes.txt"}, False),
        ("nightly", {"conversations": 0}, False),
        ("nightly", {"night": "sk-ant-" + "a1B2" * 10}, False),
        ("generation", {"first_seed": -1}, False),
        ("calibration", {"mode": "single, category"}, True),
        ("calibration", {"mode": "singel"}, False),
        ("optimise_prompt", {"model": "a/b", "start": "prompts/mine.md"}, True),
        ("optimise_prompt", {"model": "a/b", "start": "sytem"}, False),
        ("design", {"brief": BRIEF, "domain": "electricians"}, True),
        ("design", {"brief": "", "domain": "electricians"}, False),
        ("design", {"brief": BRIEF, "domain": "Electricians!"}, False),
    ],
)
def test_a_form_accepts_what_the_flow_accepts(flow, given, good):
    assert (refused(flow, **given) == []) == good


def test_a_brief_is_a_text_or_the_path_of_a_file(tmp_path):
    file, store = tmp_path / "brief.md", Store(str(tmp_path / "data"))
    file.write_text(BRIEF, encoding="utf-8")
    by_path, by_text = (read_brief(store, brief, "electricians", False) for brief in (str(file), BRIEF))
    assert by_path == by_text
    assert read_brief(store, BRIEF.replace("\n", " "), "electricians", False).brief.startswith("A mentor")
    with pytest.raises(DesignError, match="Give a Markdown file with the brief, or its text"):
        read_brief(store, str(tmp_path / "none.md"), "electricians", False)
