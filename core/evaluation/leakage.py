"""Whether a judge of the evaluation also chose or wrote the training data.

A model learns the preferences of the models that chose or wrote its examples, so such a judge may favour it.
"""

from collections.abc import Iterable, Sequence

from core.llm.families import family

SOURCE = "preference leakage, arXiv 2502.01534"


def leakage(judges: Sequence[str], chosen_by: Iterable[str], written_by: Iterable[str]) -> list[str]:
    """Return a sentence about each judge that chose or wrote the training conversations, itself or through a model of its family.

    Args:
        judges: the judges of the evaluation, as `provider/model`.
        chosen_by: the judges of the training conversations; a name that is not `provider/model` is compared as it is.
        written_by: the models that wrote the assistant's messages in them.

    Source:
        Li et al., "Preference leakage: a contamination problem in LLM-as-a-judge", arXiv 2502.01534.
    """
    choosers, writers = list(dict.fromkeys(chosen_by)), list(dict.fromkeys(written_by))
    sentences = []
    for judge in judges:
        ties = [_tie(judge, choosers, "chose the training conversations"), _tie(judge, writers, "wrote the training conversations")]
        if links := [tie for tie in ties if tie]:
            sentences.append(f"The judge {judge} {' and '.join(links)}: part of the gain may be its taste ({SOURCE}).")
    return sentences


def _tie(judge: str, others: Sequence[str], did: str) -> str | None:
    if judge in others:
        return f"also {did}"
    own = family(judge)
    kin = next((other for other in others if own and family(other) == own), None)
    return f"is of the family {own}, like {kin}, which {did}" if kin else None
