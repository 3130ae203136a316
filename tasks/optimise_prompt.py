"""A better system prompt for a model, by reflection on failed verdicts. The search keeps to a budget; the same command continues it."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from prefect.logging import get_run_logger

from blocks.tokens import count_tokens
from core.authoring.optimisation import FOLDER, Optimisation, optimisation_of, plan_candidate, played_of, shown_model, split_personas, spoiled
from core.authoring.prompt_reflection import ProposalCheck, reflect_on, reflection_request, write_better
from core.authoring.prompt_search import Play, Played, PromptSearch, Proposal, Propose
from core.authoring.start_prompts import prompt_file, start_text
from core.errors import DesignError, ModelError, RunStoppedError, SettingsError
from core.fingerprint import fingerprint
from core.llm.bills import bills
from core.llm.run import Run
from core.paths import user_path
from core.records import Assessment, ModelChoice, Persona, Record, Reference, Transcript, TranscriptRef
from core.rehearsal.lengths import CHARACTERS_PER_TOKEN
from core.rehearsal.plan import RehearsalPlan
from core.reports.costs import optimise_sentence
from core.reports.render import markdown
from core.storage.store import Store
from core.storage.whole_files import failure, replace_file
from core.text_files import read_text
from tasks.artifacts import publish_report
from tasks.assessment import judge_transcripts
from tasks.batches import gather_bounded
from tasks.evaluation import in_memory
from tasks.generation import rehearsed
from tasks.owning import awaited
from tasks.run import choose_model, concurrency_slot, designing, log_bill
from tasks.windows import set_windows, warn_of_cuts

PROMPTS = "prompts"
"""Folder, below the data root, of the prompts that searches have found."""


class OptimisedRef(Reference):
    """The figures of a search as a file, and its main figures as text."""

    summary: dict[str, str]


class Written(Record):
    """The designer's answer to a reflection: a prompt, or the reason why none could be used."""

    proposal: Proposal | None = None
    refused: str = ""


async def optimise(run: Run, model: str, start: str, to: str | None) -> OptimisedRef:
    """Search for a better prompt. If the run's budget ends first, the best prompt so far is published before the run stops.

    Args:
        run: the run.
        model: the model that plays the part (provider/model).
        start: the prompt to begin with: system, assistant, or the path of a prompt file.
        to: path of the file for the prompt; None for a file below the data root.

    Raises:
        SettingsError: a model cannot be used, the budget allows no candidate, or a file would be replaced.
        PackError: a prompt file cannot be used.
        PersonaError: there are too few training personas.
        RunStoppedError: the budget is spent, or a model can no longer be called; the same command continues.
    """
    if not run.models.get("designer"):
        raise SettingsError("roles.designer is null, so no model writes prompts. Name the strongest model that you have.")
    check_target(run.store, to)
    choice, text = await choose_model(run.settings, model, run.pack), start_text(run.pack, start)
    reflection, selection = split_personas(run)
    get_run_logger().info("%s", optimise_sentence(run.pack, run.settings, count_tokens))
    _set_windows(run, choice, text, [*reflection, *selection])
    play, propose = _player(run, choice, [*reflection, *selection]), _writer(run, text, [*reflection, *selection])
    search = PromptSearch(
        text, [persona.seed for persona in reflection], [persona.seed for persona in selection], run.settings.optimise.conversations, play, propose, _log_step
    )
    stopped = None
    try:
        async with in_memory(choice):
            await search.run()
    except RunStoppedError as error:
        if not search.candidates:
            raise
        stopped = error
    ref = await _publish(run, choice, start, search, to, str(stopped) if stopped else None)
    if stopped:
        raise stopped
    return ref


def check_target(store: Store, to: str | None) -> None:
    """Check that the file for the prompt can be written, and that it replaces nothing but a prompt of an earlier search.

    Raises:
        SettingsError: the path is not allowed, or the file exists and is not a prompt of a search.
    """
    if to is None:
        return
    path = user_path(to)
    if path.suffix != ".md" or not path.parent.is_dir():
        raise SettingsError(f"--to is {to!r:.120}. Allowed: the path of a file that ends in .md, in a folder that exists.")
    ours = {store.read(name) for name in store.names(PROMPTS, ".md")} if path.exists() else set()
    if path.exists() and read_text(path, SettingsError) not in ours:
        raise SettingsError(f"{path} already exists and was not made by an optimisation. Name another file, or move that one away.")


def _set_windows(run: Run, choice: ModelChoice, start: str, personas: Sequence[Persona]) -> None:
    """Choose a context window that holds the longest candidate allowed, and warn of conversations that will be cut nevertheless."""
    longest = max(start, "x" * round(run.settings.optimise.prompt_tokens * CHARACTERS_PER_TOKEN), key=len)
    set_windows(run, [plan_candidate(run, choice, longest, persona) for persona in personas])
    warn_of_cuts(run, shown_model(choice.reference), [plan_candidate(run, choice, longest, persona) for persona in personas])


def _player(run: Run, choice: ModelChoice, personas: Sequence[Persona]) -> Play:
    """Return a function that plays the personas of some seeds under a prompt, and has the conversations judged as usual."""
    by_seed, store = {persona.seed: persona for persona in personas}, run.store

    async def play(text: str, seeds: Sequence[int]) -> list[Played]:
        transcripts: dict[int, TranscriptRef] = {}

        async def play_persona(plan: RehearsalPlan) -> TranscriptRef:
            transcripts[plan.persona.seed] = await rehearsed(run, plan)
            return transcripts[plan.persona.seed]

        plans = [plan_candidate(run, choice, text, by_seed[seed]) for seed in seeds]
        names = [f"persona {seed}" for seed in seeds]
        async with concurrency_slot(run, ("user_simulator",), choice):
            await gather_bounded(run, play_persona, plans, names, run.settings.evaluation.concurrency, "Played")
        assessed, _ = await judge_transcripts([transcripts[seed] for seed in seeds if seed in transcripts and not spoiled(store, transcripts[seed])], run)
        by_id = {ref.transcript.id: ref for ref in assessed}
        return [played_of(store, seed, by_id.get(transcripts[seed].id) if seed in transcripts else None) for seed in seeds]

    return play


def _writer(run: Run, start: str, personas: Sequence[Persona]) -> Propose:
    """Return a function that has the designer write a better prompt. Its answer is stored, so the same failures are not sent again."""
    store, numbers, designer = run.store, run.settings.design, run.model("designer")
    check = ProposalCheck(start, personas, run.settings.optimise.prompt_tokens, count_tokens)

    async def propose(text: str, played: Sequence[Played], failed: Sequence[Proposal]) -> Proposal | str:
        pairs = [(store.load(one.transcript, Transcript), store.load(one.assessment, Assessment)) for one in played if one.transcript and one.assessment]
        reflection = reflect_on(text, pairs, run.pack.rubric, run.settings.optimise.prompt_tokens, failed)
        if not reflection.failures:
            return "nothing failed with these personas"
        request = reflection_request(run.pack.name, reflection, numbers.max_tokens)
        name = f"{FOLDER}/{run.pack.name}/reflections/{fingerprint([designer, request.system, request.messages[0].content])}.json"
        transcripts = [transcript for transcript, _ in pairs]
        async with awaited(store, name, "A better prompt"):
            if not store.exists(name):
                try:
                    async with designing(run, f"prompt-{PurePosixPath(name).stem}") as model:
                        try:
                            written = Written(
                                proposal=await write_better(model, request, numbers.attempts, lambda new: check.check(reflection, transcripts, new))
                            )
                        except DesignError as refused:
                            written = Written(refused=str(refused))
                        store.write_json(name, written)
                        model.remove()
                except ModelError as error:  # not stored, so the next run asks again
                    return f"no prompt was written: {error}"
        answer = store.load(name, Written)
        return answer.proposal or answer.refused

    return propose


def _log_step(search: PromptSearch) -> None:
    step = search.steps[-1]
    scores = f" ({step.before:.3f} to {step.after:.3f} with {len(step.seeds)} personas)" if step.before is not None and step.after is not None else ""
    get_run_logger().info("Step %d: %s%s. %d of %d conversations.", len(search.steps), step.outcome.rstrip("."), scores, search.spent, search.budget)


async def _publish(run: Run, choice: ModelChoice, start: str, search: PromptSearch, to: str | None, stopped: str | None) -> OptimisedRef:
    """Write the best prompt as a file, and the report into the folder of the figures."""
    store, domain, best = run.store, run.pack.name, search.best()
    log_bill(run)
    file = _write_prompt(store, domain, best.text, to) if best is not search.candidates[0] else None
    optimisation = optimisation_of(run.pack, choice.reference, start, search, file, stopped)
    folder = f"{FOLDER}/{domain}/{fingerprint([choice, search.start, search.reflection, search.selection, search.budget])}"
    path = store.write_json(f"{folder}/optimisation.json", optimisation)
    assessments = [store.load(one.assessment, Assessment) for candidate in optimisation.candidates for one in candidate.played if one.assessment]
    caveats = sorted({assessment.caveat for assessment in assessments if assessment.caveat})
    text = markdown("optimisation", found=optimisation, best=best, caveats=caveats, bills=bills(store, run.ledger.run))
    page = store.write(f"{folder}/report.md", text)
    await publish_report(text, key=f"prompt-{domain}", description=f"A better system prompt for {domain}")
    return OptimisedRef(path=path, summary=summary_of(optimisation) | {"cost": str(run.ledger.bill), "report": f"{store.root}/{page}"})


def _write_prompt(store: Store, domain: str, text: str, to: str | None) -> str:
    """Write a prompt below the data root and to the path that a person named; return the path of the latter, or else of the former."""
    content = prompt_file(text)
    name = store.write(f"{PROMPTS}/{domain}-{fingerprint(text)}.md", content)
    if to is None:
        return f"{store.root}/{name}"
    path = user_path(to)
    try:
        replace_file(path, content.encode())  # in one step: check_target would refuse to replace an incomplete file
    except OSError as error:
        raise failure("write", str(path), error) from error
    return str(path)


def summary_of(found: Optimisation) -> dict[str, str]:
    """Return the main figures of a search as text, with the next command."""
    first, (old, new) = found.candidates[0], found.gain
    start = f"{first.mean:.3f} with {len(first.scores)} personas; {first.failed} failed a gate" if first.mean is not None else "nothing could be judged"
    if found.file is None:
        return {"start": start, "best": f"none of {len(found.candidates) - 1} kept candidates is better", "conversations": f"{found.spent} of {found.budget}"}
    return {
        "start": start,
        "best": f"{new:.3f} instead of {old:.3f}: the best of {len(found.candidates)} with the personas that chose it, so lower with others",
        "conversations": f"{found.spent} of {found.budget}",
        "prompt": found.file,
        "next": f'understudy evaluate --domain {found.domain} --arms "optimised=base under {found.file}"',
    }
