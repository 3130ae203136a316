"""The estimated cost of a run by stage, computed from the settings, the pack's prompts and the price data, without any call of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.authoring.prompt_search import MINIBATCH
from core.evaluation.battery_play import openings_played
from core.judging.golden import Golden
from core.judging.golden_judging import GoldenPlan, is_assessed
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
    """The cost of one role in one stage.

    Args:
        input_tokens: input tokens, `cached` of which are read from the provider's cache.
        output_tokens: output tokens, including those of thinking.
        usd: None if the model's price is unknown.
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
    """The cost of a run.

    Args:
        transcripts: number of conversations.
        roles: the cost of each role in each stage.
        training_tokens: tokens of one epoch over the conversations that pass.
        alone: for each judge of a panel, the costs if it were the only judge; empty for a single judge.
    """

    transcripts: int
    roles: list[Cost]
    training_tokens: int
    alone: dict[str, list[Cost]] = field(default_factory=dict)

    def usd(self, stage: str | None = None) -> float | None:
        """Return the cost of a stage, or of all stages if `stage` is None; None if a price is unknown."""
        return _sum([cost for cost in self.roles if stage in (None, cost.stage)])

    def usd_by_single_judge(self) -> dict[str, float | None]:
        """Return the cost of all stages with each judge of a panel as the only judge; an empty dict for a single judge."""
        return {name: _sum(roles) for name, roles in self.alone.items()}


def _sum(costs: Sequence[Cost]) -> float | None:
    each = [cost.usd for cost in costs]
    return None if None in each else sum(price for price in each if price)


def run_costs(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], count: Count, measured: Sizes | None = None) -> list[Cost]:
    """Return the costs of generation, assessment and evaluation.

    Args:
        transcripts: number of conversations that are generated and judged.
        prices: price lists by model reference.
        count: counts the tokens of a text.
        measured: lengths of the prompts; None measures them.
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
    """Return the costs of the evaluation, with safety battery and suites."""
    roles, evaluation, arms = settings.roles, settings.evaluation, read_arms(settings.evaluation.arms)
    exported = {BASE, UNDERSTUDY} | ({PREFERRED} if load_training(settings.training).pairs is not None else set())
    paid = {name: (model, words) for name, words in arms.items() if (model := arm_model(settings, words))}
    others, judges, lengths = len({*exported, *arms}) - 1, roles.judges_of("evaluation"), planned_evaluation_lengths(pack, settings)
    played = (1 + others) * evaluation.trials
    models = {*exported, *(words.model for words in arms.values())}
    by_model = {model: name for name, (model, _) in reversed(paid.items())}  # arms of one model share its answers to the suites

    def arm(words: ArmWords, lengths: Sequence[int]) -> list[Usage]:
        # a prompt file is assumed to be as long as the pack's detailed prompt
        return assistant_calls(lengths, sizes.short if words.prompt == SYSTEM else sizes.guidance, sizes.note if as_written(words) else 0)

    costs = [cost_of("evaluation", "user simulator", roles.user_simulator, played, user_calls(sizes, lengths), prices)]
    costs += [cost_of("evaluation", f"arm {name}", model, evaluation.trials, arm(words, lengths), prices) for name, (model, words) in paid.items()]
    costs += [cost_of("evaluation", JUDGE, name, played, judge_calls(pack, settings, sizes, lengths), prices) for name in judges]
    if evaluation.pairwise:
        costs.append(cost_of("evaluation", "pairwise judge", judges[0], 2 * others, pairwise_calls(sizes, lengths), prices))
    battery = battery_lengths(pack, settings)
    costs += [cost_of("safety battery", f"arm {name}", model, 1, arm(words, battery), prices) for name, (model, words) in paid.items()]
    costs += battery_costs(pack, settings, prices, count, 1 + others)
    costs += [cost_of("evaluation", f"arm {name}, suites", model, 1, suite_calls(settings, count), prices) for model, name in by_model.items()]
    return [*costs, cost_of("evaluation", "judge of refusals", judges[0], len(models), refusal_calls(settings, count), prices)]


def assessment_costs(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], sizes: Sizes) -> list[Cost]:
    """Return the costs of judging a batch, at the providers' batch prices if the settings use batches; arguments as for `run_costs`."""
    batched = [name for name in settings.roles.judges if settings.assessment.batch and name.partition("/")[0] in WITH_BATCHES]
    prices = {**prices, **{name: prices_of(settings, name, batch=True) for name in batched}}
    calls = judge_calls(pack, settings, sizes, sizes.lengths)
    return [cost_of("assessment", JUDGE, name, transcripts / len(sizes.lengths), calls, prices) for name in settings.roles.judges]


def arm_model(settings: Settings, words: ArmWords) -> str | None:
    """Return the model of an arm that a provider is paid for; None for an exported or local model, which costs only time."""
    model = settings.roles.assistant if words.model == TEACHER else words.literal
    return None if model is None or model.partition("/")[0] in LOCAL else model


def optimise_costs(pack: Pack, settings: Settings, prices: Mapping[str, PriceList], count: Count, measured: Sizes | None = None) -> list[Cost]:
    """Return the maximum costs of the search for a better prompt, without the answers of the model that the prompt is for.

    Arguments as for `run_costs`.
    """
    sizes, roles, optimise, assumed = measured or measure_prompts(pack, settings, count), settings.roles, settings.optimise, ASSUMPTIONS
    lengths = planned_evaluation_lengths(pack, settings)
    share = optimise.conversations / len(lengths)
    writing = Usage(assumed.reflection_tokens, optimise.prompt_tokens + assumed.thinking_tokens)
    rows = [cost_of("prompt", "user simulator", roles.user_simulator, share, user_calls(sizes, lengths), prices)]
    rows += [cost_of("prompt", JUDGE, name, share, judge_calls(pack, settings, sizes, lengths), prices) for name in roles.judges]
    return rows + ([cost_of("prompt", "designer", roles.designer, optimise.conversations / (2 * MINIBATCH), [writing], prices)] if roles.designer else [])


def preference_costs(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], measured: Sizes) -> list[Cost]:
    """Return the maximum costs of new answers for preference pairs: to replace failed answers in each transcript that does not pass.

    On average, such an answer is in the middle of its conversation. Arguments as for `run_costs`.
    """
    roles, preferences, assumed = settings.roles, settings.preferences, ASSUMPTIONS
    times = transcripts * (1 - assumed.passing) * preferences.per_transcript * preferences.attempts
    conversation = measured.exchanges / 2 * (assumed.user_tokens + assumed.answer_tokens)
    gates = [criterion for criterion in pack.rubric.criteria.values() if criterion.head.gate]
    judge_input = measured.assessor + conversation + measured.criteria * (len(gates) + 1) / len(pack.rubric.criteria)
    answering = Usage(round(measured.guidance + measured.note + conversation), assumed.answer_tokens + assumed.thinking_tokens)
    judging = Usage(round(judge_input), (len(gates) + 1) * assumed.verdict_tokens + assumed.thinking_tokens)
    judges = [cost_of("pairs", JUDGE, name, times, [judging], prices) for name in roles.judges]
    return [cost_of("pairs", "assistant", roles.assistant, times, [answering], prices), *judges]


def optimise_sentence(pack: Pack, settings: Settings, count: Count) -> str:
    """Return a sentence on the maximum cost of the search for a better prompt."""
    models = [settings.roles.user_simulator, *settings.roles.judges, *filter(None, [settings.roles.designer])]
    usd = _sum(optimise_costs(pack, settings, {name: prices_of(settings, name) for name in models}, count))
    price = "price unknown" if usd is None else f"at most about {usd:.2f} USD"
    return f"Planned: up to {settings.optimise.conversations} conversations, {price}, without the answers of the model itself."


def battery_lengths(pack: Pack, settings: Settings) -> list[int]:
    """Return the number of exchanges of each conversation of an arm's safety battery."""
    evaluation = settings.evaluation
    return [len(opening.messages) for opening in openings_played(pack, evaluation.suite_items) for _ in range(evaluation.battery_tries)]


def battery_costs(pack: Pack, settings: Settings, prices: Mapping[str, PriceList], count: Count, arms: int) -> list[Cost]:
    """Return the costs of judging the safety battery: one gate for each conversation, whose user messages are fixed."""
    evaluation, assumed, assessor = settings.evaluation, ASSUMPTIONS, assessor_tokens(pack, count)
    calls = []
    for opening in openings_played(pack, evaluation.suite_items) if evaluation.battery_tries else []:
        conversation = sum(count(message) + assumed.answer_tokens for message in opening.messages)
        criterion = count(pack.rubric.criteria[opening.gate].text)
        calls.append(Usage(round(assessor + conversation + criterion), assumed.verdict_tokens + assumed.thinking_tokens))
    times = arms * evaluation.battery_tries
    return [cost_of("safety battery", JUDGE, name, times, calls, prices) for name in settings.roles.judges_of("evaluation")] if calls else []


def golden_costs(run: Run, golden: Sequence[Golden], golden_plans: Sequence[GoldenPlan], count: Count) -> list[Cost]:
    """Return the costs of each judge in each mode on a golden set, without the existing assessments; failed gates are confirmed by one more call."""
    gates = [criterion for criterion in run.pack.rubric.criteria.values() if criterion.head.gate]
    criteria_tokens, gate_tokens = (sum(count(criterion.text) for criterion in group) for group in (run.pack.rubric.criteria.values(), gates))
    assessor, confirmation = assessor_tokens(run.pack, count), len(gates) * ASSUMPTIONS.verdict_tokens + ASSUMPTIONS.thinking_tokens
    tokens = {item.id: assessor + sum(count(exchange.user) + count(exchange.assistant) for exchange in item.file.exchanges) for item in golden}
    failing = {item.id for item in golden if any(item.file.verdicts[gate.id].answer == "NO" for gate in gates if gate.id in item.file.verdicts)}
    costs = []
    for golden_plan in golden_plans:
        missing = [name for plans in golden_plan.plans for name, plan in plans.items() if not is_assessed(run.store, plan)]
        calls = [call for name in missing for call in calls_of_mode(run.pack, golden_plan.judging.mode, criteria_tokens, tokens[name])]
        if golden_plan.judging.confirm_gates != "never":
            calls += [Usage(tokens[name] + gate_tokens, confirmation) for name in missing if name in failing]
        prices = {golden_plan.judge.reference: prices_of(run.settings, golden_plan.judge.reference, golden_plan.judge.block)}
        costs.append(cost_of("calibration", golden_plan.judging.mode, golden_plan.judge.reference, 1, calls, prices))
    return costs


def run_cost(pack: Pack, settings: Settings, transcripts: int, prices: Mapping[str, PriceList], count: Count, measured: Sizes) -> RunCost:
    """Return the cost of a run; arguments as for `run_costs`."""
    roles, judges = run_costs(pack, settings, transcripts, prices, count, measured), settings.roles.bound()["judge"]
    alone = {
        name: run_costs(pack, settings.model_copy(update={"roles": single}), transcripts, prices, count, measured)
        for name in judges
        for single in [settings.roles.model_copy(update={"judges": [name], "evaluation_judges": None})]
        if len(judges) > 1
    }
    return RunCost(transcripts, roles, training_tokens(pack, settings, transcripts, count, measured), alone)


def training_tokens(pack: Pack, settings: Settings, transcripts: int, count: Count, measured: Sizes | None = None, learn: Learn | None = None) -> int:
    """Return the tokens of one epoch over the training set, which has those of `transcripts` transcripts that pass.

    Args:
        transcripts: number of conversations that are generated and judged.
        count: counts the tokens of a text.
        measured: lengths of the prompts; None measures them.
        learn: the way of learning; None takes that of the training settings.
    """
    sizes, assumed, slicing = measured or measure_prompts(pack, settings, count), ASSUMPTIONS, settings.dataset.slicing
    exchange, tokens, training = assumed.user_tokens + assumed.answer_tokens, 0.0, load_training(settings.training)
    limit = training.train["max-length"]
    for length in sizes.lengths:
        if length < slicing.first:
            continue
        if (learn or training.learn) != "slices":
            tokens += sum(windowed_tokens(round(sizes.short), [exchange] * length, [1] * length, int(limit) if isinstance(limit, int) else None))
        else:
            slices = (length - slicing.first) / (sum(slicing.gap) / 2) + 1
            # the ends of slices are spread evenly from `slicing.first` to the end of the transcript
            tokens += slices * min(sizes.short + (slicing.first + length) / 2 * exchange, slicing.max_tokens)
    return round(transcripts / len(sizes.lengths) * assumed.passing * tokens)


def cost_of(stage: str, role: str, model: str, times: float, calls: Sequence[Usage], prices: Mapping[str, PriceList]) -> Cost:
    """Return the cost of calls.

    Args:
        times: number of times that all the calls are made.
        prices: price lists by model reference.
    """
    # each call has its own price, because some prices depend on the length of the prompt
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
