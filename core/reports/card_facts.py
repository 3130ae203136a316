"""The facts that the model cards state."""

from pydantic import Field

from core.records import Record
from core.training.facts import PairFacts, TrainingFacts


class Source(Record):
    """A model or dataset from which another was made.

    Args:
        repo: repository on the Hub; None if it is only on this machine.
        commit: full hash of the commit.
        url: address of a page, which is linked if it begins with http.
        license: licence as the Hub names it; empty if it is not stated.
        origin: where it came from, an address or a sentence; empty if it is not stated.
        file: the GGUF file that it was read from; None if it was not a GGUF file.
        sha256: hash of that file.
        package: name and version of the wheel that contains the file; None if it was not in a wheel.
    """

    name: str
    repo: str | None = None
    commit: str | None = None
    url: str = ""
    license: str = ""
    origin: str = ""
    file: str | None = None
    sha256: str | None = None
    package: str | None = None


class CardFacts(Record):
    """Facts that both model cards state.

    Args:
        repo: the card's repository on the Hub; None if the files stay on this machine.
        dataset, training: None for a base that is exported without training.
        pairs: facts of the preference training; None if there was none.
        license, license_name, license_link: the licence in the Hub's form; name and link only if the licence is `other`.
        intended_use: Markdown from the domain pack; empty if the pack has none.
        notice: text that everybody who writes to the model must read first; empty if the pack has none.
        system: the system prompt of the training.
        caveats: sentences about what limits the model's use.
    """

    title: str
    domain: str
    repo: str | None
    base: Source
    dataset: Source | None = None
    training: TrainingFacts | None = None
    pairs: PairFacts | None = None
    license: str
    license_name: str | None = None
    license_link: str | None = None
    languages: list[str]
    intended_use: str
    notice: str = ""
    system: str
    caveats: list[str] = Field(default_factory=list)
