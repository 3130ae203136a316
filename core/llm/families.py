"""Families of models. A judge favours texts by its own family, so a judge that assesses its own family is flagged."""

import re
from functools import lru_cache
from pathlib import Path

from core.errors import SettingsError
from core.paths import find_data
from core.records import Transcript
from core.yaml_files import Strict, load_yaml


class Families(Strict):
    """The contents of `config/model-families.yaml`.

    Args:
        providers: by provider, the family of all its models.
        names: by family, words that occur in the names of its models.
    """

    providers: dict[str, str]
    names: dict[str, list[str]]


@lru_cache(maxsize=4)
def load_families(path: Path) -> Families:
    """Read the families.

    Raises:
        SettingsError: the file is missing or invalid.
    """
    return load_yaml(path, Families, SettingsError)


def family(reference: str) -> str | None:
    """Return the family of a model; None if unknown.

    Args:
        reference: `provider/model`. For a provider that serves models of several families, the last part of the name decides, as in
            `openai-compatible/Qwen/Qwen3-32B`.
    """
    families, (provider, _, model) = load_families(find_data("config/model-families.yaml")), reference.partition("/")
    if provider in families.providers:
        return families.providers[provider]
    name = model.rsplit("/", maxsplit=1)[-1].lower()
    matches = {kind: re.search(rf"(?<![a-z])(?:{'|'.join(map(re.escape, words))})", name) for kind, words in families.names.items()}
    places = {kind: match.start() for kind, match in matches.items() if match}
    return min(places, key=lambda kind: places[kind]) if places else None


def shared_family(judge: str, writer: str | None) -> str | None:
    """Return the family that a judge shares with the writer of the messages that it judges; None if they share none.

    Args:
        judge: `provider/model`.
        writer: the model that wrote the assistant's messages; None if unknown.
    """
    own = family(judge)
    return own if writer and own and own == family(writer) else None


def writer_of(transcript: Transcript) -> str | None:
    """Return the model that wrote the assistant's messages; None if unknown.

    For an imported transcript it is the model that the file claims, which is unverified and may be used for warnings only.
    """
    provenance = transcript.provenance
    writer = (provenance if "pack_hash" in provenance else provenance.get("claimed", provenance)).get("assistant")
    return writer if isinstance(writer, str) else None
