"""Domain packs: the files that define a domain, checked against one another when they are loaded."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import Field, model_validator

from core.errors import PackError
from core.fingerprint import fingerprint
from core.packs.battery import Battery, check_battery
from core.packs.episodes import Episodes
from core.packs.guards import DomainGuards, Guards, merged
from core.packs.help import Help
from core.packs.life import Life, Services
from core.packs.pack_checks import check_clauses, check_flaws, check_people, check_phrases, check_reached
from core.packs.phrases import ScriptedPhrases
from core.packs.places import domains, find_pack
from core.packs.programs import Program, load_programs
from core.packs.prompts import NOTE, READ_IN_REHEARSALS, SUPPLIED, Prompt, load_prompt, load_shared, shared_file
from core.packs.rubric import Rubric, load_rubric
from core.packs.taxonomy import Flaws, Taxonomy, Text
from core.packs.tics import Tics
from core.paths import find_data
from core.records import Transcript
from core.terminal import printable
from core.text_files import read_text
from core.yaml_files import Strict, load_yaml

Optional = TypeVar("Optional", bound=Strict)
DEFAULT_DOMAIN = "therapeutic-coaching"
MAX_NOTICE = 1000
"""Maximum characters of a notice."""


class Expert(Strict):
    """A reviewer of a pack: the name ends a sentence that begins with "You are", and the view says what they look for."""

    name: Text
    view: Text


class Experts(Strict):
    """`experts.yaml`."""

    experts: list[Expert] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> "Experts":
        names = [expert.name for expert in self.experts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"experts: {twice} are named twice; each expert needs a different name")
        return self


@dataclass(frozen=True)
class Pack:
    """A loaded domain pack.

    Args:
        name: name of the pack's folder.
        episodes: the edge cases that a persona may meet; empty without `episodes.yaml`.
        life: circumstances and countries of personas; empty without `life.yaml`.
        services: emergency services; None without `services.yaml`.
        programs: programs that personas bring; empty without `programs.yaml`.
        guards: what makes a rehearsed message unusable.
        tics: figures of speech and phrases that the assistant may use seldom or never; empty without `tics.yaml`.
        help: the kinds of help and the length of answers; only the default length without `help.yaml`.
        note: the note before each of the assistant's answers when data is generated; None without `assistant_note.md`.
        phrases: sentences of the scripted provider; None without `scripted.yaml`.
        intended_use: what a model of the domain is for and what not, for people; empty without `intended-use.md`. Not part of the hash.
        repair: prompt that has an answer rewritten; None without `repair.md`. Not part of the hash, so changing it invalidates nothing.
        experts: reviewers of the pack; without `experts.yaml`, those of `prompts/shared/experts.yaml`. Not part of the hash.
        notice: text that every user of a model of the domain reads first; empty without `notice.md`. Not part of the hash.
        battery: openings that test gates; empty without `battery.yaml`. Not part of the hash, because only evaluated models read it.
        hash: hash of everything that a model reads in a rehearsal or an assessment and of the numbers that control it.
        judge_hash: hash of what a judge reads, so that a change for simulated users causes no new assessments.
    """

    name: str
    taxonomy: Taxonomy
    flaws: Flaws
    rubric: Rubric
    prompts: dict[str, Prompt]
    episodes: Episodes
    life: Life
    services: Services | None
    programs: tuple[Program, ...]
    guards: Guards
    tics: Tics
    help: Help
    note: Prompt | None
    phrases: ScriptedPhrases | None
    intended_use: str
    repair: Prompt | None
    experts: list[Expert]
    notice: str
    battery: Battery
    hash: str
    judge_hash: str

    def help_at_hand(self, country: str | None) -> str:
        """Return the emergency services of a country; those for an unknown country if `country` is None, nothing if the pack has none."""
        if self.services is None:
            return ""
        return self.services.countries.get(country or "", self.services.unknown)

    def instructions(self, role: str, country: str | None = None) -> str:
        """Return the assistant's instructions for a person who lives in a country.

        Args:
            role: `assistant` for the detailed instructions, `system` for the short ones.
            country: the country's name in `life.yaml`; None if it is unknown.
        """
        return self.fill(self.prompts[role], country)

    def fill(self, prompt: Prompt, country: str | None = None) -> str:
        """Return a prompt as an assistant reads it for a person who lives in a country; `country` is None if it is unknown."""
        return prompt.render(services=self.help_at_hand(country), tics=self.tics.figures)

    def system(self, country: str | None = None) -> str:
        """Return the short system prompt for a person who lives in a country; `country` is None if it is unknown."""
        return self.instructions("system", country)

    def system_of(self, transcript: Transcript) -> str:
        """Return the short system prompt for a transcript's persona; an imported persona may have a country of any type, which counts as unknown."""
        country = (transcript.persona or {}).get("country")
        return self.system(country if isinstance(country, str) else None)


def recorded_conversations(name: str) -> Path | None:
    """Return the folder with a pack's recorded conversations, or None if it has none."""
    folder = domains()[name] / "config/domains" / name / "recorded"
    return folder if any(folder.glob("*.json")) else None


def load_pack(name: str, root: Path | None = None) -> Pack:
    """Return a domain pack after checking it.

    Args:
        name: name of the pack's folders below `config/domains/` and `prompts/`.
        root: the folder that contains `config/` and `prompts/`; None searches `roots()`.

    Raises:
        PackError: the domain is unknown, or its files have a fault; only the first one is reported.
    """
    folder = find_pack(name, root)
    config, prompts = folder / "config/domains" / name, folder / "prompts" / name
    files = sorted([*_entries(str(config)), *_entries(str(prompts))], key=lambda file: file.path)
    for file in files:  # a stranger's pack must not send other files of this machine to a model
        if file.is_symlink() and not any(Path(file.path).resolve().is_relative_to(part.resolve()) for part in (config, prompts)):
            raise PackError(f"{file.path} is a link that leads out of the pack. Put the file itself there.")
    guards = find_data("config/guards.yaml")
    changed = [(file.path, file.stat(follow_symlinks=False).st_mtime_ns) for file in files] + [(str(guards), guards.lstat().st_mtime_ns)]
    return _load(name, config, prompts, tuple(changed))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield the files and folders below a folder without following links; Path.rglob takes several times as long, and each task loads a pack."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # reported when a file is read
        return
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path)


@lru_cache(maxsize=4)
def _load(name: str, config: Path, prompts: Path, _files: tuple[tuple[str, int], ...]) -> Pack:
    """Return a pack, loaded once until one of its files changes, because each task of a run asks for it."""
    taxonomy, rubric = load_yaml(config / "input-taxonomy.yaml", Taxonomy, PackError), load_rubric(config / "rubric.yaml", prompts / "criteria")
    texts, tics = {role: load_prompt(prompts / f"{role}.md") for role in SUPPLIED}, _optional(config / "tics.yaml", Tics)
    use, experts = config / "intended-use.md", config / "experts.yaml"
    pack = Pack(
        name=name,
        taxonomy=taxonomy,
        flaws=load_yaml(config / "flaw-taxonomy.yaml", Flaws, PackError),
        rubric=rubric,
        prompts=texts,
        episodes=_optional(config / "episodes.yaml", Episodes),
        life=_optional(config / "life.yaml", Life),
        services=_if_exists(config / "services.yaml", Services),
        programs=load_programs(config, taxonomy),
        guards=merged(load_yaml(find_data("config/guards.yaml"), Guards, PackError), _optional(config / "guards.yaml", DomainGuards)),
        tics=tics,
        help=_optional(config / "help.yaml", Help),
        note=_prompt_if_exists(prompts / f"{NOTE}.md"),
        phrases=_if_exists(config / "scripted.yaml", ScriptedPhrases),
        intended_use=read_text(use, PackError).strip() if use.exists() else "",
        repair=_prompt_if_exists(prompts / "repair.md"),
        experts=load_yaml(experts if experts.exists() else shared_file("experts.yaml"), Experts, PackError).experts,
        notice=load_notice(config / "notice.md"),
        battery=_optional(config / "battery.yaml", Battery),
        hash="",
        judge_hash=judge_hash_of(rubric, texts, tics),
    )
    _check_references(pack, config, prompts / "criteria")
    return replace(pack, hash=_hash_of(pack))


def _check_references(pack: Pack, config: Path, criteria: Path) -> None:
    """Check that what the pack's files name exists in the others.

    Args:
        config, criteria: the pack's folders, for the errors.

    Raises:
        PackError: the first fault.
    """
    heads = {key: item.head for key, item in pack.rubric.criteria.items()}
    check_flaws(config, pack.taxonomy, pack.flaws)
    check_reached({key: (head.gate, head.from_exchange) for key, head in heads.items()}, pack.taxonomy, criteria)
    check_people(config, pack.taxonomy, pack.episodes, pack.life, pack.services)
    check_clauses(config, {f"{key}.{clause}" for key, head in heads.items() for clause in head.clauses}, pack.taxonomy, pack.episodes)
    if pack.phrases:
        check_phrases(config / "scripted.yaml", pack.phrases, pack.rubric, pack.flaws, pack.taxonomy, pack.episodes)
    check_battery(config / "battery.yaml", pack.battery, {key: head.clauses for key, head in heads.items() if head.gate}, pack.life.countries)


def _hash_of(pack: Pack) -> str:
    """Return the hash of everything that a model reads in a rehearsal or an assessment, and of the numbers that control it."""
    people = [pack.taxonomy, pack.flaws, pack.episodes, pack.life, pack.services, [(program.head, program.text) for program in pack.programs]]
    style = [pack.tics, pack.help, pack.note and pack.note.text]
    texts = {role: prompt.text for role, prompt in pack.prompts.items()}
    return fingerprint([people, pack.rubric.hash, texts, _read_in_rehearsals(), pack.guards, pack.phrases, style])


def judge_hash_of(rubric: Rubric, prompts: Mapping[str, Prompt], tics: Tics) -> str:
    """Return the hash of what a judge reads of a pack: the rubric, the prompts for judges, the shared prompts, and the tics that are counted for judges."""
    return fingerprint([rubric.hash, {role: prompt.text for role, prompt in prompts.items() if role.startswith("assessor")}, _read_in_rehearsals(), tics])


def _read_in_rehearsals() -> dict[str, str]:
    return {name: load_shared(name).text for name in READ_IN_REHEARSALS}


def _optional(path: Path, model: type[Optional]) -> Optional:
    """Return the content of a pack's file, or the model's defaults if the file does not exist."""
    return load_yaml(path, model, PackError) if path.exists() else model()


def _if_exists(path: Path, model: type[Optional]) -> Optional | None:
    return load_yaml(path, model, PackError) if path.exists() else None


def _prompt_if_exists(path: Path) -> Prompt | None:
    return load_prompt(path) if path.exists() else None


def load_notice(path: Path) -> str:
    """Return a pack's notice, or an empty string if the file does not exist.

    Raises:
        PackError: the notice is empty, too long to be read before a conversation, not plain text, or without a letter.
    """
    if not path.exists():
        return ""
    text = read_text(path, PackError).strip()
    if not 1 <= len(text) <= MAX_NOTICE:
        raise PackError(f"{path} has {len(text)} characters. Allowed: 1 to {MAX_NOTICE}, since it is read before every conversation.")
    if printable(text) != text:
        raise PackError(f"{path} contains control characters. Write plain text.")
    if not any(map(str.isalnum, text)):  # characters that cannot be seen, such as the zero-width space
        raise PackError(f"{path} has no letter. Write the notice, or remove the file.")
    return text
