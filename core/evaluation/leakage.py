"""What a judge of the evaluation has in common with how the training data came about: a model learns the taste of who chose or wrote its examples."""

from collections.abc import Iterable, Sequence

from core.llm.families import family

SOURCE = "preference leakage, arXiv 2502.01534"


def leakage(judges: Sequence[str], chosen_by: Iterable[str], written_by: Iterable[str]) -> list[str]:
    """Say of each judge whether it, or a model of its family, chose or wrote the conversations that the understudy was trained on.

    Args:
        judges: of the evaluation, as `provider/model`.
        chosen_by: the judges of the training conversations; one of another form is compared as it is.
        written_by: the models that wrote their answers.

    Source:
        Li et al., "Preference leakage: a contamination problem in LLM-as-a-judge", arXiv 2502.01534.
    """
    choosers, writers = list(dict.fromkeys(chosen_by)), list(dict.fromkeys(written_by))
    sentences = []
    for judge in judges:
        ties = [_tie(judge, choosers, "chose the training conversations"), _tie(judge, writers, "wrote the training conversations")]
        if found := [tie for tie in ties if tie]:
            sentences.append(f"The judge {judge} {' and '.join(found)}: part of the gain may be its taste ({SOURCE}).")
    return sentences


def _tie(judge: str, others: Sequence[str], did: str) -> str | None:
    if judge in others:
        return f"also {did}"
    own = family(judge)
    kin = next((other for other in others if own and family(other) == own), None)
    return f"is of the family {own}, like {kin}, which {did}" if kin else None
