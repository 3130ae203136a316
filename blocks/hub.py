"""Where datasets and models are published: one small interface, and from its name in the settings to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from prefect.exceptions import ObjectNotFound

from blocks.local_hub import LocalHub
from core.errors import SettingsError, UnderstudyError
from core.records import Commit, Publication, RepoKind
from core.settings.keys import refuse_keys


class Hub(Protocol):
    """What a hub can do."""

    def problems(self, wanted: Sequence[Publication]) -> tuple[list[UnderstudyError], list[str]]:
        """Return, before any work is done, all that stands in the way of publishing, and what a person should know of it."""
        ...

    def push(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], message: str, tag: str, private: bool) -> Commit:
        """Commit files and tag the commit; the same files again make no new commit.

        Raises:
            HubError: it did not go through, or what is there now is not what was pushed.
        """
        ...

    def find(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], tag: str) -> Commit | None:
        """Return the commit that a tag points to, if it has all these files as they are.

        Raises:
            HubError: the hub cannot be asked.
        """
        ...

    def where(self) -> str:
        """Return which hub this is: an address, or a folder's name."""
        ...

    def holds(self, repo: str, kind: RepoKind, commit: Commit) -> bool:
        """Say whether a commit that was pushed is there, whole, at this hub.

        Raises:
            HubError: it cannot be asked, or the repository has another name now.
        """
        ...

    def environment(self) -> dict[str, str]:
        """Return what a program needs in its environment to be let in there."""
        ...


async def load_hub(name: str) -> Hub:
    """Return a hub: `local`, `hf` with the token of the environment, or a saved block by its name.

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
        except (ValueError, ObjectNotFound):  # Prefect's words for "no such block"
            continue
    raise SettingsError(f"Unknown hub {name!r} (dataset.hub). Allowed: local, hf, or the name of a saved block of the server that PREFECT_API_URL names.")
