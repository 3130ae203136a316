"""What a dataset depends on: its sources, and the settings of its selection and its training."""

from pydantic import Field

from core.dataset.pairs import stored_replies
from core.dataset.sources import Warn, batches_of, check_sources, content_of
from core.judging.gather_rule import gather_rule
from core.packs.pack import Pack
from core.packs.rubric import GatherRule
from core.records import Record
from core.settings.pipeline import DatasetSettings, Settings, load_training
from core.storage.batches import find_batch
from core.storage.store import Store


class DatasetPlan(Record):
    """Everything that a dataset depends on.

    Args:
        assessed: batches of assessments.
        checkpoints: files and folders of assessments made elsewhere, separated by commas.
        transcripts: the folder of the transcripts that the checkpoints judge.
        files: hash of the sources' contents (`content_of`).
        evaluation: first seed and number of the personas that the evaluation will play, and their fewest and most exchanges.
        training_length: tokens after which the training cuts an example; None if it does not.
        gather: what a transcript must meet in addition to passing.
        mended: whether repaired transcripts are trained on, and their largest share.
        replies: names of second replies.
        length_ratio: largest ratio of the longer reply of a pair to the shorter one, in tokens.
    """

    domain: str
    pack_hash: str
    intended_use: str
    assessed: list[str]
    checkpoints: str | None
    transcripts: str | None
    files: str
    settings: DatasetSettings
    evaluation: tuple[int, int, tuple[int, int] | None]
    training_length: int | None
    gather: GatherRule = GatherRule()
    mended: tuple[bool, float] = (True, 1.0)
    replies: list[str] = Field(default_factory=list)
    length_ratio: float = 2.0


def plan_dataset(
    store: Store, pack: Pack, assessed: str | None, checkpoints: str | None, transcripts: str | None, settings: Settings, warn: Warn
) -> DatasetPlan:
    """Plan a dataset from the named batches, or else the checkpoints, or else all batches of the domain that were judged by the current rubric.

    Args:
        assessed: names of batches, separated by commas.
        checkpoints, transcripts: assessments made elsewhere and the folder of their transcripts, as in `DatasetPlan`.
        warn: called with a sentence about what is not used.

    Raises:
        DatasetError: checkpoints and transcripts are not both named, or the domain has no assessments.
    """
    check_sources(checkpoints, transcripts)
    named = [find_batch(store, name.strip(), "assessments") for name in assessed.split(",")] if assessed else []
    training = load_training(settings.training)
    length = training.train.get("max-length") if training.learn == "slices" else None  # a complete conversation is learnt in windows, and nothing is cut
    batches = named or ([] if checkpoints else batches_of(store, pack, warn))
    return DatasetPlan(
        domain=pack.name,
        pack_hash=pack.hash,
        intended_use=pack.intended_use,
        assessed=batches,
        checkpoints=checkpoints,
        transcripts=transcripts,
        files=content_of(store, checkpoints, transcripts, batches),
        settings=settings.dataset.of(pack.name),
        evaluation=(settings.evaluation.first_seed, settings.evaluation.personas, settings.evaluation.lengths),
        training_length=length if isinstance(length, int) else None,
        gather=gather_rule(pack.rubric, settings.gather),
        mended=(settings.repair.in_dataset, settings.repair.dataset_share),
        replies=stored_replies(store, pack.name),
        length_ratio=settings.preferences.length_ratio,
    )
