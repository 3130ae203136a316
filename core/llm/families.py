"""Families of models: a judge favours what its own family writes, so one that judges its own family is flagged."""

import re
from functools import lru_cache
from pathlib import Path

from core.errors import SettingsError
from core.paths import find_data
from core.records import Transcript
from core.yaml_files import Strict, load_yaml


class Families(Strict):
    """`config/model-families.yaml`.

    Args:
        providers: the family of all models of a provider.
        names: by family, words of a model's name.
    """

    providers: dict[str, str]
    names: dict[str, list[str]]


@lru_cache(maxsize=4)
def load_families(path: Path) -> Families:
    """Read the families.

    Raises:
        SettingsError: the file is missing or something in it is wrong.
    """
    return load_yaml(path, Families, SettingsError)


def family(reference: str) -> str | None:
    """Return the family of a model, where it is known.

    Args:
        reference: `provider/model`; of a model that others serve, the last part of its name tells, as in `openai-compatible/Qwen/Qwen3-32B`.
    """
    families, (provider, _, model) = load_families(find_data("config/model-families.yaml")), reference.partition("/")
    if provider in families.providers:
        return families.providers[provider]
    name = model.rsplit("/", maxsplit=1)[-1].lower()
    found = {kind: re.search(rf"(?<![a-z])(?:{'|'.join(map(re.escape, words))})", name) for kind, words in families.names.items()}
    places = {kind: match.start() for kind, match in found.items() if match}
    return min(places, key=lambda kind: places[kind]) if places else None


def shared_family(judge: str, writer: str | None) -> str | None:
    """Return the family that a judge and the writer of what it judges are both of, if they are.

    Args:
        writer: the model that wrote the assistant's messages, where it is known.
    """
    own = family(judge)
    return own if writer and own and own == family(writer) else None


def writer_of(transcript: Transcript) -> str | None:
    """Return the model that wrote the assistant's messages; of a transcript from elsewhere the one that its file names, on which only a warning may rest."""
    provenance = transcript.provenance
    writer = (provenance if "pack_hash" in provenance else provenance.get("claimed", provenance)).get("assistant")
    return writer if isinstance(writer, str) else None
