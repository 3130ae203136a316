"""The interface of hubs, where datasets and models are published, and the loading of a hub by its name in the settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from prefect.exceptions import ObjectNotFound

from blocks.local_hub import LocalHub
from core.errors import SettingsError, UnderstudyError
from core.records import Commit, Publication, RepoKind
from core.settings.keys import refuse_keys


class Hub(Protocol):
    """A place where datasets and models are published."""

    def problems(self, publications: Sequence[Publication]) -> tuple[list[UnderstudyError], list[str]]:
        """Return the problems that would stop the publications, and notes for the user. This is asked before any work is done."""
        ...

    def push(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], message: str, tag: str, private: bool) -> Commit:
        """Commit files and tag the commit; the same files again make no new commit.

        Args:
            files: paths or contents, by name in the repository.
            message: the commit message.

        Raises:
            HubError: the push failed, or the hub has something else than what was pushed.
        """
        ...

    def find(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], tag: str) -> Commit | None:
        """Return the commit that a tag points to, if it has all these files unchanged; otherwise None.

        Raises:
            HubError: the hub does not answer.
        """
        ...

    def where(self) -> str:
        """Return the hub's address or folder, which identifies it."""
        ...

    def holds(self, repo: str, kind: RepoKind, commit: Commit) -> bool:
        """Return whether this hub still has a pushed commit, complete.

        Raises:
            HubError: the hub does not answer, or the repository has another name now.
        """
        ...

    def environment(self) -> dict[str, str]:
        """Return the environment variables that give a program access to the hub."""
        ...


async def load_hub(name: str) -> Hub:
    """Return a hub.

    Args:
        name: `local`, `hf` for the Hugging Face Hub with the environment's token, or the name of a saved block.

    Raises:
        SettingsError: there is no such block.
    """
    refuse_keys({"dataset.hub": name})
    if name == "local":
        return LocalHub()
    from blocks.hf_hub import HfHub

    if name == "hf":
        return HfHub()
    for kind in (HfHub, LocalHub):
        try:
            return await kind.aload(name)
        except (ValueError, ObjectNotFound):  # Prefect raises one of them if no such block exists
            continue
    raise SettingsError(f"Unknown hub {name!r} (dataset.hub). Allowed: local, hf, or the name of a saved block of the server that PREFECT_API_URL names.")
