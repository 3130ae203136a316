"""Calibrations: how a judge in one mode compares with a pack's golden set, as stored records, and sentences about them for readers of its verdicts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import get_args

from pydantic import Field

from core.errors import StoreError
from core.fingerprint import fingerprint
from core.judging.golden import Golden
from core.judging.golden_figures import GoldenFigures, Rates, golden_figures
from core.judging.label_statistics import Estimate
from core.judging.panel import JOIN, combine_judges
from core.judging.plan import judge_hash
from core.packs.pack import Pack
from core.records import Assessment, Record
from core.settings.assessment import Judging, PanelSettings
from core.storage.store import Store


class Spent(Record):
    """What the first assessment of each conversation cost.

    Args:
        conversations: assessed ones.
        replies: usable replies of the judge.
        repaired: replies that were read after a repair.
        again: replies that could not be used and were requested again.
        tokens: input and output together.
        usd: None where a price is not known.
        seconds: sum of the calls' durations.
    """

    conversations: int
    replies: int
    repaired: int
    again: int
    tokens: int
    usd: float | None
    seconds: float


class Calibration(Record):
    """A judge in one mode, compared with a golden set.

    Args:
        judge: provider/model; for a panel of two both, joined by " + ".
        day: of the measurement.
        reported: versions of the model that the provider stated.
        judge_hash: hash of everything in the pack that the judge read.
        golden_hash: hash of the golden set.
        conversations: by id, a hash of the conversation's words and golden verdicts.
        held_out: how many of the conversations are held out.
        repeat: assessments of each conversation.
        before: path of the calibration of the same judge and mode that this one replaces; None for the first.
    """

    domain: str
    judge: str
    judging: Judging
    day: str
    reported: list[str] = Field(default_factory=list)
    judge_hash: str
    golden_hash: str
    conversations: dict[str, str]
    held_out: int
    repeat: int
    figures: GoldenFigures
    spent: Spent
    before: str | None = None

    @property
    def name(self) -> str:
        """The judge and its mode, in words."""
        return f"{self.judge} ({self.judging.mode})"


def _paired(one: Calibration, other: Calibration, figures: GoldenFigures, judged: Collection[str]) -> Calibration:
    """Return the calibration of a panel of two judges; its costs are the sum of both.

    Args:
        judged: ids of the conversations that both assessed.
    """
    first, second = one.spent, other.spent
    spent = Spent(
        conversations=max(first.conversations, second.conversations),
        replies=first.replies + second.replies,
        repaired=first.repaired + second.repaired,
        again=first.again + second.again,
        tokens=first.tokens + second.tokens,
        usd=None if first.usd is None or second.usd is None else first.usd + second.usd,
        seconds=first.seconds + second.seconds,
    )
    conversations = {name: words for name, words in one.conversations.items() if name in judged}
    panel = {"judge": JOIN.join((one.judge, other.judge)), "reported": [], "conversations": conversations, "figures": figures, "spent": spent}
    return one.model_copy(update={**panel, "before": None, "repeat": 1})


def panels(
    measured: Mapping[str, tuple[Calibration, Mapping[str, Assessment]]], golden: Sequence[Golden], pack: Pack, settings: PanelSettings
) -> list[Calibration]:
    """Return a calibration of every pair of judges of the same mode as a panel, from existing verdicts.

    Args:
        measured: calibrations, each with the judge's assessments by conversation.
        settings: how a panel decides.
    """
    calibrations = []
    for (one, answers), (other, others) in combinations(measured.values(), 2):
        if one.judging.mode == other.judging.mode and one.judge != other.judge:
            both = {
                item.id: combine_judges(pack, {one.judge: answers[item.id], other.judge: others[item.id]}, settings, len(item.file.exchanges))
                for item in golden
                if item.id in answers and item.id in others
            }
            calibrations.append(_paired(one, other, golden_figures(golden, both, pack.rubric), both))
    return calibrations


def cheapest(calibrations: Sequence[Calibration], least_tpr: float, least_tnr: float) -> Calibration | None:
    """Return the cheapest calibration whose gates reach these rates, or None. At equal price the faster one comes first; an unknown price comes last."""
    reaching = [item for item in calibrations if item.figures.gates.reach(least_tpr, least_tnr)]
    return min(reaching, key=lambda item: (item.spent.usd is None, item.spent.usd or 0.0, item.spent.seconds), default=None)


def keep_calibration(store: Store, new: Calibration) -> tuple[Calibration, str]:
    """Store a calibration, unless the last one of the same judge and mode is equal apart from its day; return the stored one and its path."""
    folder = f"calibrations/{new.domain}"
    latest = latest_name(new.domain, new.judge, new.judging.mode)
    before = store.read(latest) if store.exists(latest) else None
    last = read_calibration(store, before)
    if before and last and last.model_copy(update={"day": new.day, "before": None}) == new:
        return last, before
    new = new.model_copy(update={"before": before})
    path = store.write_json(f"{folder}/{fingerprint(new)}.json", new)
    store.write(latest, path)
    return new, path


def latest_name(domain: str, judge: str, mode: str) -> str:
    """Return the path of the file that names a judge's last calibration."""
    return f"calibrations/{domain}/latest-{fingerprint([judge, mode])}"


def latest_calibration(store: Store, domain: str, judge: str, mode: str) -> Calibration | None:
    """Return the last calibration of a judge in a mode, or None."""
    name = latest_name(domain, judge, mode)
    return read_calibration(store, store.read(name)) if store.exists(name) else None


def read_calibration(store: Store, name: str | None) -> Calibration | None:
    """Return a stored calibration; None where it is damaged or lost, which only means that the judge has to be measured again."""
    try:
        return store.load(name, Calibration) if name else None
    except StoreError:
        return None


def measured_judges(store: Store, pack: Pack, judges: Iterable[str], judging: Judging | None = None) -> list[str]:
    """Return a sentence about each judge's last calibration, for the reader of its verdicts.

    Args:
        judges: provider/model, or the name of a panel.
        judging: the settings that they judged with; None where these are not known.
    """
    names = dict.fromkeys(name for panel in judges for name in panel.split(JOIN))
    return [measured_sentence(store, pack, name, judging) for name in names]


def measured_sentence(store: Store, pack: Pack, judge: str, judging: Judging | None) -> str:
    """Return a sentence about a judge's last calibration: of the given mode, or of any mode where `judging` is None."""
    modes = [judging.mode] if judging else get_args(Judging.model_fields["mode"].annotation)
    calibrations = [one for mode in modes if (one := latest_calibration(store, pack.name, judge, mode))]
    if not calibrations:
        return f"{judge} was never measured against the golden set{f' in the mode {judging.mode}' if judging else ''} (understudy calibrate)."
    last = max(calibrations, key=lambda one: one.day)
    measured = f"measured on {last.day}{doubts(last, pack, judging)}"
    return f"{last.name} was {measured}: gates {in_words(last.figures.gates)}, over {len(last.conversations)} golden conversations."


def calibration_of(store: Store, pack: Pack, judges: Sequence[str], judging: Judging) -> Calibration | None:
    """Return the last calibration of a judge, or of a panel of two, in the mode of `judging`; None if there is none."""
    orders = [judges, judges[::-1]]
    return next((one for order in orders if (one := latest_calibration(store, pack.name, JOIN.join(order), judging.mode))), None)


def doubts(calibration: Calibration, pack: Pack, judging: Judging | None) -> str:
    """Return in what the conditions of a calibration differ from the judge's present ones; empty where they are the same.

    Args:
        judging: the present settings; None where these are not known.
    """
    others = ["under other prompts"] * (calibration.judge_hash != judge_hash(pack, calibration.judge.split(JOIN)[0]))
    others += ["under other settings"] * (judging is not None and calibration.judging != judging)
    return f" {' and '.join(others)}" if others else ""


def in_words(rates: Rates) -> str:
    """Return rates in words."""
    lost = f", {sum(rates.lost)} answers that cannot be used" if sum(rates.lost) else ""
    return f"TPR {figure(rates.tpr)}, TNR {figure(rates.tnr)}{lost}"


def figure(estimate: Estimate) -> str:
    """Return an estimate as text, with its interval."""
    if estimate.value is None:
        return "none"
    interval = f" [{estimate.interval[0]:.2f}, {estimate.interval[1]:.2f}]" if estimate.interval else ""
    return f"{estimate.value:.2f}{interval}"


def changes(now: Calibration, before: Calibration) -> list[str]:
    """Return lines on what differs from an earlier calibration: the criteria whose verdicts changed, and the possible causes."""
    causes = []
    if now.judge_hash != before.judge_hash:
        causes.append("the prompts changed")
    if now.judging != before.judging:
        causes.append("the settings changed")
    if now.reported != before.reported:
        causes.append(f"the model's reported version changed ({', '.join(before.reported) or 'none'} -> {', '.join(now.reported) or 'none'})")
    if now.golden_hash != before.golden_hash:
        causes.append("the golden set changed")
    same = {name for name, words in now.conversations.items() if before.conversations.get(name) == words}
    lines = []
    for name, criterion in now.figures.criteria.items():
        earlier = before.figures.criteria.get(name)
        moved = sorted(item for item in same if now.figures.wrong.get(item, {}).get(name) != before.figures.wrong.get(item, {}).get(name))
        if earlier and moved:
            rates = [(kind, getattr(earlier.rates, kind.lower()), getattr(criterion.rates, kind.lower())) for kind in ("TPR", "TNR")]
            differing = [f"{kind} {_short(old)} -> {_short(new)}" for kind, old, new in rates if old.value != new.value]
            lines.append(f"{name} {', '.join(differing) or 'the same rates'} ({_conversations(moved)})")
    if not causes and not lines:
        return []
    return [f"since {before.day}: {line}" for line in lines or ["no verdict changed"]] + causes


def _short(estimate: Estimate) -> str:
    return "none" if estimate.value is None else f"{estimate.value:.2f}"


def _conversations(names: Sequence[str]) -> str:
    return f"{len(names)} conversation{'s' * (len(names) > 1)}: {', '.join(names)}"
