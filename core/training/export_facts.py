"""Typed facts about GGUF files, read from the `export.json` of the conversion job."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from core.errors import JobError
from core.records import Record
from core.training.facts import FileFacts, file_entry
from core.yaml_files import check


class ExportFacts(Record):
    """Facts about GGUF files. A figure is None if it was not measured, and the card then omits it.

    Args:
        main: the file that the Modelfile names and that the card's commands run.
        context: context length in tokens, the Modelfile's `num_ctx`.
        template_identical: whether the chat template in the file is identical to the tokenizer's.
        texts_alike: number of texts that llama.cpp and the tokenizer split into the same tokens.
        positions: number of positions at which logits were compared.
        logit_difference: standard deviation of the differences between the 16-bit file's logits and the merged model's, as a share of that of the logits.
        logit_tolerance, least_agreement: the bounds on `logit_difference` and `agreement`.
        agreement: share of positions with the same most likely token.
        greedy_agreement: share of equal tokens in greedy replies, each compared up to a near tie.
        greedy_tokens: number of tokens compared for `greedy_agreement`.
        merged_loss: loss of the merged model on the held-out texts.
        adapter_loss: loss of the base with the unmerged adapter on the held-out texts.
        heldout: a description of the held-out texts.
        pre_tokenizer: the pre-tokenizer from the settings, for a tokenizer that llama.cpp does not know.
        recommended: the smallest quantised file whose divergence is at most `kl_bound`; None if there is none.
        importance: counts of what was read for the importance matrix: `conversations`, `tokens` and `matrices`.
        lora: the file that holds only the adapter.
        lora_difference: the same as `logit_difference`, for the base with that file.
    """

    files: list[FileFacts]
    main: str
    context: int | None = None
    template_identical: bool | None = None
    texts_alike: int | None = None
    positions: int | None = None
    logit_difference: float | None = None
    logit_tolerance: float | None = None
    agreement: float | None = None
    least_agreement: float | None = None
    greedy_agreement: float | None = None
    greedy_tokens: int | None = None
    merged_loss: float | None = None
    adapter_loss: float | None = None
    heldout: str | None = None
    stop_token: str | None = None
    pre_tokenizer: str | None = None
    recommended: str | None = None
    kl_bound: float | None = None
    importance: dict[str, int] | None = None
    lora: str | None = None
    lora_difference: float | None = None
    seconds: float | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    hardware: str | None = None
    usd: float | None = None


def export_facts(export: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> ExportFacts:
    """Return the facts in `export.json`, with the machine and its cost in USD.

    Raises:
        JobError: a fact is missing or has the wrong form.
    """
    checks, named = export.get("checks") or {}, export.get("files") or {}
    replies, lora = checks.get("replies") or {}, checks.get("lora") or {}
    ggufs = [name for name in [*replies, *named] if name.endswith(".gguf")]
    facts = {
        "files": [_gguf(name, known, checks, export.get("fallback_tensors") or {}) for name, known in named.items()],
        # The Modelfile names the first file of the settings, and `replies` has that order.
        "main": next((name for name in ggufs if not name.endswith("-f16.gguf")), next(iter(ggufs), None)),
        "context": export.get("context"),
        "template_identical": checks.get("chat_template_identical"),
        "texts_alike": checks.get("texts_tokenized_alike"),
        "positions": checks.get("positions_compared"),
        "logit_difference": checks.get("logit_difference"),
        "logit_tolerance": checks.get("logit_tolerance"),
        "agreement": checks.get("argmax_agreement"),
        "least_agreement": checks.get("min_agreement"),
        "greedy_agreement": checks.get("greedy_agreement"),
        "greedy_tokens": checks.get("greedy_tokens_compared"),
        "merged_loss": checks.get("merged_loss"),
        "adapter_loss": checks.get("adapter_loss"),
        "heldout": _heldout(checks),
        "stop_token": checks.get("stop_token"),
        "pre_tokenizer": checks.get("fallback_pre_tokenizer"),
        **{name: export.get(name) for name in ("recommended", "kl_bound", "importance")},
        "lora": next((name for name in named if name.endswith("-lora-f16.gguf")), None),
        "lora_difference": lora.get("logit_difference"),
        "seconds": export.get("seconds"),
        "versions": export.get("versions") or {},
        "hardware": hardware,
        "usd": usd,
    }
    return check(facts, ExportFacts, JobError, "export.json")


def _gguf(name: str, known: Mapping[str, Any], checks: Mapping[str, Any], fallen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a file, from the results of the checks and the tensors that got another quantisation."""

    def measured(check: str) -> Any:
        return (checks.get(check) or {}).get(name)

    return {
        **file_entry(name, known),
        "ended": (measured("replies") or {}).get("ended_by_itself"),
        "fallen_back": Counter(fallen.get(name, {}).values()),
        "heldout_loss": measured("heldout_loss"),
        "loss_difference": measured("heldout_loss_difference"),
        "kl": measured("kl_divergences"),
        # the 16-bit file is compared with the merged model
        "loss_half": None if name.endswith("-f16.gguf") else measured("heldout_loss_interval"),
        "kl_half": measured("kl_intervals"),
    }


def _heldout(checks: Mapping[str, Any]) -> str | None:
    """Return a description of the held-out texts. The job's own path to them would tell a reader nothing."""
    source = checks.get("heldout")
    if source is None:
        return None
    texts = "the model's own replies" if source == "own replies" else "validation examples of its dataset"
    compared, longest = checks.get("heldout_compared", 0), checks.get("heldout_longest", 0)
    cut = f"; of each text at most the first {compared:,} of up to {longest:,} tokens" if compared < longest else ""
    counted = checks.get("heldout_loss_over", "all tokens")
    return f"{checks.get('heldout_examples', 'some')} {texts}, {checks.get('heldout_tokens', 0):,} tokens ({counted}{cut})"
