"""Settings are refused as long as anything in them is wrong."""

import pytest
import yaml

from core.errors import SettingsError
from core.references import split_reference
from core.settings import load_settings, load_training
from tests.conftest import CHECKOUT


def spoilt(tmp_path, change):
    settings = yaml.safe_load((CHECKOUT / "config/pipeline.yaml").read_text(encoding="utf-8"))
    change(settings)
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return str(path)


def test_the_shipped_settings_load():
    assert load_training(load_settings().training).quantisations


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["generation"].update(conversation=3), "`generation.conversation` is not a known key"),
        (lambda s: s["generation"].update(conversations=0), "`generation.conversations` input should be greater than or equal to 1"),
        (lambda s: s["generation"].update(first_seed=8990), "kept for the evaluation"),
        (lambda s: s["evaluation"].update(personas=1), "`evaluation.personas`"),
        (lambda s: s["dataset"].update(repo="no-owner"), "`dataset.repo`"),
        (lambda s: s.pop("roles"), "`roles` field required"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, change, said):
    with pytest.raises(SettingsError) as refused:
        load_settings(spoilt(tmp_path, change))
    assert said in str(refused.value)
    assert "settings.yaml" in str(refused.value)


def test_a_missing_file_names_its_neighbours():
    with pytest.raises(SettingsError, match=r"moon\.yaml does not exist\. Allowed beside it: tiny\.yaml"):
        load_training("moon")


@pytest.mark.parametrize("reference", ["scripted", "moon/model", "scripted/", "/model", ""])
def test_an_unknown_model_reference_is_refused_with_the_known_providers(reference):
    with pytest.raises(SettingsError, match="with a provider of scripted, llama-cpp"):
        split_reference(reference, ("scripted", "llama-cpp"))
