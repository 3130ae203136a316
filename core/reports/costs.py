"""What a run will cost, stage by stage, computed from the settings, the pack's own prompts and the price data, before anything is asked of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.authoring.prompt_search import MINIBATCH
from core.evaluation.battery_play import openings_played
from core.judging.golden import Golden
from core.judging.golden_judging import Sitting, is_made
from core.llm.batches import WITH_BATCHES
from core.llm.chat import Usage
from core.llm.models_asked import prices_of
from core.llm.prices import PriceList
from core.llm.run import Run
from core.packs.pack import Pack
from core.rehearsal.lengths import planned_evaluation_lengths
from core.reports.planned_calls import (
    ASSUMPTIONS,
    Count,
    Sizes,
    assessor_tokens,
    assistant_calls,
    calls_of_mode,
    judge_calls,
    measure_prompts,
    pairwise_calls,
    refusal_calls,
    suite_calls,
    user_calls,
)
from core.settings.arms import BASE, PREFERRED, SYSTEM, TEACHER, UNDERSTUDY, ArmWords, as_written, read_arms
from core.settings.jobs import Learn
from core.settings.pipeline import Settings, load_training
from core.settings.provider_options import LOCAL
from core.training.windows import windowed_tokens

JUDGE = "judge"


@dataclass(frozen=True)
class Cost:
    """What one role costs in one stage.

    Args:
        input_tokens: of which `cached` are read from the provider's cache; output_tokens: thinking included.
        usd: none where the model's price is not known.
    """

    stage: str
    role: str
    model: str
    calls: int
    input_tokens: int
    cached: int
    output_tokens: int
    usd: float | None


@dataclass(frozen=True)
class RunCost:
    """What a run of a number of conversations costs.

    Args:
        training_tokens: of one pass over what passes.
        alone: the roles if a judge were the only one, by judge of a panel.
    """

    transcripts: int
    roles: list[Cost]
    training_tokens: int
    alone: dict[str, list[Cost]] = field(default_factory=dict)

    def usd(self, stage: str | None = None) -> float | None:
        """Return what a stage costs, or all of them; none where a price is not known."""
        return _sum([cost for cost in self.roles if stage in (None, cost.stage)])

    def usd_by_single_judge(self) -> dict[str, float | None]:
        """Return, by judge of a panel, what all stages cost if it were the only judge; nothing where there is one judge."""
        return {name: _sum(roles) for name, roles in self.alone.items()}


def _sum(costs: Sequence[Cost]) -> float | None:
    each = [cost.usd for cost in costs]
    return None if None in each else sum(price for price in each if price)


def run_costs(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], count: Count, measured: Sizes | None = None) -> list[Cost]:
    """Return what generation, assessment and evaluation cost.

    Args:
        transcripts: conversations that are made and judged.
        prices: by model reference.
        measured: the prompts, where they have been measured already.
    """
    sizes, roles = measured or measure_prompts(pack, settings, count), settings.roles
    share = transcripts / len(sizes.lengths)
    return [
        cost_of("generation", "user simulator", roles.user_simulator, share, user_calls(sizes, sizes.lengths), prices),
        cost_of("generation", "assistant", roles.assistant, share, assistant_calls(sizes.lengths, sizes.guidance, sizes.note), prices),
        *assessment_costs(pack, settings, transcripts, prices, sizes),
        *_evaluation_costs(pack, settings, prices, count, sizes),
    ]


def _evaluation_costs(pack: Pack, settings: Settings, prices: Mapping[str, PriceList], count: Count, sizes: Sizes) -> list[Cost]:
    """Return what the evaluation costs, with safety battery and suites."""
    roles, numbers, arms = settings.roles, settings.evaluation, read_arms(settings.evaluation.arms)
    exported = {BASE, UNDERSTUDY} | ({PREFERRED} if load_training(settings.training).pairs is not None else set())
    asked = {name: (model, words) for name, words in arms.items() if (model := arm_model(settings, words))}
    others, judges, lengths = len({*exported, *arms}) - 1, roles.judges_of("evaluation"), planned_evaluation_lengths(pack, settings)
    played = (1 + others) * numbers.trials
    models = {*exported, *(words.model for words in arms.values())}
    apart = {model: name for name, (model, _) in reversed(asked.items())}  # arms of one model share its answers to the suites

    def arm(words: ArmWords, lengths: Sequence[int]) -> list[Usage]:
        # a prompt file is taken to be as long as the pack's detailed prompt
        return assistant_calls(lengths, sizes.short if words.prompt == SYSTEM else sizes.guidance, sizes.note if as_written(words) else 0)

    costs = [cost_of("evaluation", "user simulator", roles.user_simulator, played, user_calls(sizes, lengths), prices)]
    costs += [cost_of("evaluation", f"arm {name}", model, numbers.trials, arm(words, lengths), prices) for name, (model, words) in asked.items()]
    costs += [cost_of("evaluation", JUDGE, name, played, judge_calls(pack, settings, sizes, lengths), prices) for name in judges]
    if numbers.pairwise:
        costs.append(cost_of("evaluation", "pairwise judge", judges[0], 2 * others, pairwise_calls(sizes, lengths), prices))
    battery = battery_lengths(pack, settings)
    costs += [cost_of("safety battery", f"arm {name}", model, 1, arm(words, battery), prices) for name, (model, words) in asked.items()]
    costs += battery_costs(pack, settings, prices, count, 1 + others)
    costs += [cost_of("evaluation", f"arm {name}, suites", model, 1, suite_calls(settings, count), prices) for model, name in apart.items()]
    return [*costs, cost_of("evaluation", "judge of refusals", judges[0], len(models), refusal_calls(settings, count), prices)]


def assessment_costs(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], sizes: Sizes) -> list[Cost]:
    """Return what judging a batch costs, at the price of the providers' batches where the settings say so; arguments as for `run_costs`."""
    batched = [name for name in settings.roles.judges if settings.assessment.batch and name.partition("/")[0] in WITH_BATCHES]
    prices = {**prices, **{name: prices_of(settings, name, batch=True) for name in batched}}
    calls = judge_calls(pack, settings, sizes, sizes.lengths)
    return [cost_of("assessment", JUDGE, name, transcripts / len(sizes.lengths), calls, prices) for name in settings.roles.judges]


def arm_model(settings: Settings, words: ArmWords) -> str | None:
    """Return the model of an arm of the settings that is asked of a provider; none of what is exported, which costs only time."""
    model = settings.roles.assistant if words.model == TEACHER else words.literal
    return None if model is None or model.partition("/")[0] in LOCAL else model


def optimise_costs(pack: Pack, settings: Settings, prices: Mapping[str, PriceList], count: Count, measured: Sizes | None = None) -> list[Cost]:
    """Return what the search for a better prompt costs at most, but for the answers of the model that it is for.

    Args:
        prices: by model reference.
        measured: the prompts, where they have been measured already.
    """
    sizes, roles, numbers, taken = measured or measure_prompts(pack, settings, count), settings.roles, settings.optimise, ASSUMPTIONS
    lengths = planned_evaluation_lengths(pack, settings)
    share = numbers.conversations / len(lengths)
    writing = Usage(taken.reflection_tokens, numbers.prompt_tokens + taken.thinking_tokens)
    rows = [cost_of("prompt", "user simulator", roles.user_simulator, share, user_calls(sizes, lengths), prices)]
    rows += [cost_of("prompt", JUDGE, name, share, judge_calls(pack, settings, sizes, lengths), prices) for name in roles.judges]
    return rows + ([cost_of("prompt", "designer", roles.designer, numbers.conversations / (2 * MINIBATCH), [writing], prices)] if roles.designer else [])


def preference_costs(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], measured: Sizes) -> list[Cost]:
    """Return what asking the assistant again costs at most, where it failed in each transcript that does not pass: at half of a conversation, in the mean.

    Arguments as for `run_costs`; measured: the prompts.
    """
    roles, numbers, taken = settings.roles, settings.preferences, ASSUMPTIONS
    times = transcripts * (1 - taken.passing) * numbers.per_transcript * numbers.attempts
    said = measured.exchanges / 2 * (taken.user_tokens + taken.answer_tokens)
    gates = [criterion for criterion in pack.rubric.criteria.values() if criterion.head.gate]
    read = measured.assessor + said + measured.criteria * (len(gates) + 1) / len(pack.rubric.criteria)
    asked = Usage(round(measured.guidance + measured.note + said), taken.answer_tokens + taken.thinking_tokens)
    judged = Usage(round(read), (len(gates) + 1) * taken.verdict_tokens + taken.thinking_tokens)
    judges = [cost_of("pairs", JUDGE, name, times, [judged], prices) for name in roles.judges]
    return [cost_of("pairs", "assistant", roles.assistant, times, [asked], prices), *judges]


def optimise_sentence(pack: Pack, settings: Settings, count: Count) -> str:
    """Return what the search for a better prompt costs, as a sentence."""
    named = [settings.roles.user_simulator, *settings.roles.judges, *filter(None, [settings.roles.designer])]
    usd = _sum(optimise_costs(pack, settings, {name: prices_of(settings, name) for name in named}, count))
    price = "of an unknown price" if usd is None else f"at most about {usd:.2f} USD"
    return f"Planned: up to {settings.optimise.conversations} conversations, {price}, without the answers of the model itself."


def battery_lengths(pack: Pack, settings: Settings) -> list[int]:
    """Return how many exchanges each conversation of an arm's safety battery has."""
    numbers = settings.evaluation
    return [len(opening.messages) for opening in openings_played(pack, numbers.suite_items) for _ in range(numbers.battery_tries)]


def battery_costs(pack: Pack, settings: Settings, prices: Mapping[str, PriceList], count: Count, arms: int) -> list[Cost]:
    """Return what judging the safety battery costs: one gate for each conversation, whose messages are known."""
    numbers, taken, read = settings.evaluation, ASSUMPTIONS, assessor_tokens(pack, count)
    calls = []
    for opening in openings_played(pack, numbers.suite_items) if numbers.battery_tries else []:
        said = sum(count(message) + taken.answer_tokens for message in opening.messages)
        criterion = count(pack.rubric.criteria[opening.gate].text)
        calls.append(Usage(round(read + said + criterion), taken.verdict_tokens + taken.thinking_tokens))
    times = arms * numbers.battery_tries
    return [cost_of("safety battery", JUDGE, name, times, calls, prices) for name in settings.roles.judges_of("evaluation")] if calls else []


def golden_costs(run: Run, golden: Sequence[Golden], sittings: Sequence[Sitting], count: Count) -> list[Cost]:
    """Return what each judge in each mode costs on a golden set, without the assessments that exist; gates that fail are confirmed by one more call."""
    gates = [criterion for criterion in run.pack.rubric.criteria.values() if criterion.head.gate]
    criteria, again = (sum(count(criterion.text) for criterion in some) for some in (run.pack.rubric.criteria.values(), gates))
    assessor, written = assessor_tokens(run.pack, count), len(gates) * ASSUMPTIONS.verdict_tokens + ASSUMPTIONS.thinking_tokens
    words = {item.id: assessor + sum(count(said.user) + count(said.assistant) for said in item.file.exchanges) for item in golden}
    failing = {item.id for item in golden if any(item.file.verdicts[gate.id].answer == "NO" for gate in gates if gate.id in item.file.verdicts)}
    costs = []
    for one in sittings:
        missing = [name for plans in one.plans for name, plan in plans.items() if not is_made(run.store, plan)]
        calls = [call for name in missing for call in calls_of_mode(run.pack, one.judging.mode, criteria, words[name])]
        if one.judging.confirm_gates != "never":
            calls += [Usage(words[name] + again, written) for name in missing if name in failing]
        prices = {one.judge.reference: prices_of(run.settings, one.judge.reference, one.judge.block)}
        costs.append(cost_of("calibration", one.judging.mode, one.judge.reference, 1, calls, prices))
    return costs


def run_cost(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], count: Count, measured: Sizes) -> RunCost:
    """Return what a run costs, by role and in all; arguments as for `run_costs`."""
    roles, judges = run_costs(pack, settings, transcripts, prices, count, measured), settings.roles.bound()["judge"]
    alone = {
        name: run_costs(pack, settings.model_copy(update={"roles": only}), transcripts, prices, count, measured)
        for name in judges
        for only in [settings.roles.model_copy(update={"judges": [name], "evaluation_judges": None})]
        if len(judges) > 1
    }
    return RunCost(transcripts, roles, training_tokens(pack, settings, transcripts, count, measured), alone)


def training_tokens(pack: Pack, settings: Settings, transcripts: int, count: Count, measured: Sizes | None = None, learn: Learn | None = None) -> int:
    """Return how many tokens one pass over the training set of `transcripts` transcripts has: those that pass.

    Args:
        learn: the way of learning; by default that of the training settings.
    """
    sizes, taken, slicing = measured or measure_prompts(pack, settings, count), ASSUMPTIONS, settings.dataset.slicing
    exchange, tokens, training = taken.user_tokens + taken.answer_tokens, 0.0, load_training(settings.training)
    limit = training.train["max-length"]
    for length in sizes.lengths:
        if length < slicing.first:
            continue
        if (learn or training.learn) != "slices":
            tokens += sum(windowed_tokens(round(sizes.short), [exchange] * length, [1] * length, int(limit) if isinstance(limit, int) else None))
        else:
            slices = (length - slicing.first) / (sum(slicing.gap) / 2) + 1
            # a transcript's slices end evenly between the first and its end
            tokens += slices * min(sizes.short + (slicing.first + length) / 2 * exchange, slicing.max_tokens)
    return round(transcripts / len(sizes.lengths) * taken.passing * tokens)


def cost_of(stage: str, role: str, model: str, times: float, calls: Sequence[Usage], prices: Mapping[str, PriceList]) -> Cost:
    """Return what calls cost that are made so often."""
    # call by call: some prices depend on the length of a prompt
    usd = [prices[model].price(call) for call in calls]
    return Cost(
        stage=stage,
        role=role,
        model=model,
        calls=round(times * len(calls)),
        input_tokens=round(times * sum(call.input_tokens for call in calls)),
        cached=round(times * sum(call.cache_read_tokens for call in calls)),
        output_tokens=round(times * sum(call.output_tokens for call in calls)),
        usd=None if None in usd else times * sum(price for price in usd if price),
    )
