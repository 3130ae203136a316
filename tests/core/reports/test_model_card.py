"""Model cards as the Hub and as a person reads them."""

import json
import math
import re
import shlex
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from core.errors import HubError, JobError
from core.packs.pack import load_pack
from core.records import Result
from core.reports.card_facts import CardFacts, Source
from core.reports.model_card import BEGIN, CURVE, END, adapter_card, gguf_card, with_evaluation
from core.terminal import printable
from core.training.export_facts import ExportFacts, export_facts
from core.training.facts import FileFacts, training_facts

PACK = load_pack("therapeutic-coaching")
MARKDOWN = MarkdownIt("js-default", {"linkify": False, "html": True})
BASE = Source(name="Qwen3-14B", repo="Qwen/Qwen3-14B", commit="b" * 40, url=f"https://huggingface.co/Qwen/Qwen3-14B/tree/{'b' * 40}")
DATASET = Source(name="coach", repo="me/coach", commit="d" * 40, url=f"https://huggingface.co/datasets/me/coach/tree/{'d' * 40}")
ADAPTER = Source(name="adapter-1", repo="me/coach-adapter", commit="a" * 40, url="https://huggingface.co/me/coach-adapter")
RESULT = Result(metric="mean_score", name="mean score", value=0.875, dataset="8 fresh personas", dataset_type="understudy-personas")

METRICS: dict[str, Any] = {  # of a job, by the names that deployments/jobs/built/train_sft.py gives
    "validation_loss_first": 7.9,
    "steps": 3,
    "stop_tokens": ["<|im_end|>"],
    "supervised_tokens": 12_345,
    "truncation": {
        "train": {"examples": 52, "truncated": 3, "longest": 20_100, "tokens": 400_000, "cut_token_share": 0.0123, "without_reply": 0},
        "validation": {"examples": 9, "truncated": 0, "longest": 9_000, "tokens": 50_000, "cut_token_share": 0.0, "without_reply": 0},
    },
    "seconds": 3_661.4,
    "method": "qlora",
    "trainable_parameters": 64_225_280,
    "train": None,
    "base": "Qwen/Qwen3-14B",
    "r": 64,
    "lora_alpha": 128,
    "lora_dropout": 0.05,
    "target_modules": ["q_proj", "v_proj"],
    "num_train_epochs": 3.0,
    "max_steps": -1,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "learning_rate": 2e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "optim": "paged_adamw_8bit",
    "max_length": 16_384,
    "seed": 7,
    "versions": {"torch": "2.13.0", "trl": "1.16.0"},
    "loss_curve": [{"step": 1, "loss": 7.5}, {"step": 2, "loss": 3.0}, {"step": 3, "loss": 1.0}],
    "validation_curve": [{"step": 0, "loss": 7.9}, {"step": 3, "loss": 0.75}],
}
EXPORT: dict[str, Any] = {  # by the names that deployments/jobs/built/convert_gguf.py gives
    "files": {
        "Modelfile": {"bytes": 900, "sha256": "0" * 64},
        "coach-f16.gguf": {"bytes": 29_540_000_000, "sha256": "1" * 64},
        "coach-q4_k_m.gguf": {"bytes": 9_000_000_000, "sha256": "2" * 64},
        "coach-q2_k.gguf": {"bytes": 5_750_000_000, "sha256": "3" * 64},
    },
    "checks": {
        "chat_template_identical": True,
        "texts_tokenized_alike": 6,
        "stop_token": "<|im_end|>",
        "stop_token_id": 2,
        "positions_compared": 1_200,
        "logit_difference": 0.0123,
        "argmax_agreement": 0.995,
        "logit_tolerance": 0.02,
        "min_agreement": 0.98,
        "fallback_pre_tokenizer": None,
        "replies": {"coach-q4_k_m.gguf": {"prompt": "Hi", "reply": "Hello.", "ended_by_itself": True}, "coach-q2_k.gguf": {"ended_by_itself": False}},
    },
    "fallback_tensors": {"coach-q4_k_m.gguf": {"a": "q5_0", "b": "q5_0", "c": "q8_0"}, "coach-q2_k.gguf": {}},
    "context": 16_384,
    "seconds": 812.0,
    "versions": {"llama-cpp-python": "0.3.36"},
}


def facts(**changes):
    known: dict[str, Any] = {
        "title": "coach",
        "domain": "therapeutic-coaching",
        "repo": "me/coach-gguf",
        "base": BASE,
        "dataset": DATASET,
        "training": training_facts(METRICS, "a100-large", 2.5),
        "license": "apache-2.0",
        "languages": ["en"],
        "intended_use": PACK.intended_use,
        "notice": PACK.notice,
        "system": PACK.system(),
        "caveats": ["The judge was scripted."],
    }
    return CardFacts(**known | changes)


def cards(**changes):
    given = facts(**changes)
    return adapter_card(given), gguf_card(given, export_facts(EXPORT), ADAPTER)


def test_model_cards_begin_with_the_notice_for_users():
    for card in cards():
        assert "> If you are in danger, or think of harming yourself" in card
    for card in cards(notice=""):
        assert "should read this first" not in card


def shown_words(text):
    return " ".join(printable("\n".join(text.splitlines())).split())


@dataclass
class Page:
    """A card as a page shows it, without quoted text, which may contain anything."""

    text: str = ""
    headings: list[str] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    quotes: int = 0

    @property
    def form(self):
        return self.headings[1:], self.columns, len(self.code), self.html, self.quotes


def shown(card):
    page, quoted = Page(), 0
    tokens = MARKDOWN.parse(card.split("\n---\n", maxsplit=1)[1])
    for at, token in enumerate(tokens):
        inside = token.children or []
        page.text += "".join(child.content for child in inside if child.type in ("text", "code_inline", "text_special")) + " "
        quoted += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        page.quotes += token.type == "blockquote_open" and quoted == 1
        if quoted:
            continue
        page.headings += [tokens[at + 1].content] if token.type == "heading_open" else []
        page.columns += [0] if token.type == "tr_open" else []
        if token.type in ("td_open", "th_open"):
            page.columns[-1] += 1
        page.code += [token.content] if token.type in ("fence", "code_block") else []
        page.html += [part.content.strip() for part in (token, *inside) if part.type in ("html_block", "html_inline")]
        page.links += [str(link) for child in inside for link in (child.attrGet("href"), child.attrGet("src")) if link]
    page.text = " ".join(page.text.split())
    return page


def metadata(card) -> Any:
    return ModelCard(card, ignore_metadata_errors=False).data


def test_the_cards_metadata_has_the_kind_and_origin_of_the_repository():
    adapter, gguf = (metadata(card).to_dict() for card in cards(license="gemma", languages=["en", "no"]))
    common = {
        "base_model": "Qwen/Qwen3-14B",
        "pipeline_tag": "text-generation",
        "license": "gemma",
        "language": ["en", "no"],  # Norwegian, which YAML would take for false
        "datasets": ["me/coach"],
    }
    assert adapter == common | {
        "base_model_relation": "adapter",
        "library_name": "peft",
        "tags": ["lora", "conversational", "understudy", "therapeutic-coaching"],
    }
    assert gguf == common | {
        "base_model_relation": "quantized",
        "library_name": "gguf",
        "tags": ["gguf", "llama-cpp", "conversational", "understudy", "therapeutic-coaching"],
    }


def test_a_custom_licence_has_its_name_and_link():
    for card in cards(license="other", license_name="house: terms #1", license_link="https://example.org/terms"):
        data = metadata(card)
        assert (data.license, data.license_name, data.license_link) == ("other", "house: terms #1", "https://example.org/terms")


def test_sources_outside_the_hub_are_not_in_the_metadata():
    for card in cards(base=Source(name="tiny-1"), dataset=Source(name="understudy/coach", url="/data/hub"), repo=None):
        assert {"base_model", "base_model_relation", "datasets"}.isdisjoint(metadata(card).to_dict())
        text = shown(card).text
        assert "tiny-1" in text
        assert "understudy/coach" in text
        assert "](/data" not in card


LOCAL = {"license": "apache-2.0", "origin": "Made by Someone, quantised by another (https://example.org/small)"}


@pytest.mark.parametrize(
    ("base", "reported"),
    [
        (BASE.model_copy(update={"license": "apache-2.0"}), ("Qwen/Qwen3-14B at commit", "licence", "apache-2.0")),
        (Source(name="mine", license="mit", origin="https://example.org/mine"), ("mine", "mit", "https://example.org/mine")),
        (Source(name="small", file="small.Q4_1.gguf", sha256="7" * 64, **LOCAL), ("small.Q4_1.gguf", "7" * 64, LOCAL["origin"], "apache-2.0")),
        (Source(name="small", file="small.gguf", sha256="7" * 64, package="small-model 1.2", **LOCAL), ("in the package small-model 1.2", "7" * 64)),
    ],
    ids=["hub", "folder", "gguf", "wheel"],
)
def test_the_cards_state_licence_and_origin_of_every_base(base, reported):
    for card in cards(base=base):
        text = shown(card).text
        for part in reported:
            assert part in text
        assert metadata(card).to_dict().get("base_model") == base.repo


def test_the_origin_of_a_base_is_linked_and_cannot_break_the_card():
    for card in cards(base=Source(name="mine", license="mit", origin="https://example.org/mine")):
        assert "https://example.org/mine" in shown(card).links
    for card in cards(base=Source(name="mine", license="mit", origin="a | b\n# c <script>")):
        assert "a | b # c <script>" in shown(card).text


@pytest.mark.parametrize(
    "reported",
    [
        "not therapy and no crisis service",
        "must not be offered to people in acute distress",
        "The judge was scripted.",
        "Qwen/Qwen3-14B at commit " + "b" * 40,
        "me/coach at commit " + "d" * 40,
        "52 examples, 400,000 tokens, the longest 20,100; 3 were cut, 1.2 % of the tokens",
        "9 examples, 50,000 tokens, the longest 9,000; none was cut",
        "12,345 tokens of the assistant's replies, each with its stop token (<|im_end|>)",
        "QLoRA",
        "64, 128, 0.05",
        "q_proj, v_proj; 64,225,280 weights are trained",
        "3 (3 epochs) of 1 × 8 examples",
        "0.0002, cosine, warm-up 0.1, optimiser paged_adamw_8bit",
        "16,384 tokens, 7",
        "3,661 s",
        "a100-large, 2.50 USD",
        "torch 2.13.0, trl 1.16.0",
        "The training loss went from 7.500 at step 1 to 1.000 at step 3; the validation loss went from 7.900 at step 0 to 0.750 at step 3, its lowest.",
        "has not been evaluated yet",
    ],
)
def test_both_cards_state_purpose_and_training(reported):
    for card in cards():
        assert reported in shown(card).text


def test_sources_are_linked_at_their_commit():
    for card in cards():
        assert f"[me/coach]({DATASET.url})" in card
        assert f"[Qwen/Qwen3-14B]({BASE.url})" in card


def test_only_the_adapter_card_shows_the_loss_curve_which_is_stored_beside_it():
    adapter, gguf = cards()
    assert f"]({CURVE})" in adapter
    assert "![" not in gguf
    assert "/" not in CURVE


def test_the_card_shows_the_exact_system_prompt():
    system = "You are a coach.\n```python\n````\n# no heading\n| no | table |"
    for card in cards(system=system):
        assert f"{system}\n" in shown(card).code
    assert all("## System prompt" not in card for card in cards(system=""))


def test_the_gguf_card_states_the_checks_of_each_file():
    text = shown(cards()[1]).text
    for reported in (
        "coach-q4_k_m.gguf 9.00 GB " + "2" * 64,
        "coach-f16.gguf 29.54 GB",
        "Modelfile 900 bytes",
        "The chat template in the file is identical to the tokenizer's",
        "the same tokens for 6 texts",
        "by 1.2 % of their spread (2 % was allowed), over 1,200 positions",
        "the same, or a near tie, at 99.5 % of the positions (at least 98 % was required)",
        "ends a reply at <|im_end|>",
        "coach-q4_k_m.gguf: a short chat ended by itself",
        "coach-q4_k_m.gguf: some matrices have another quantisation, because their rows are not divisible by its block size (2 q5_0, 1 q8_0)",
        "16,384 tokens",
        "me/coach-adapter at commit " + "a" * 40,
    ):
        assert reported in text
    assert "coach-q2_k.gguf: a short chat did not end by itself" in text
    assert "held-out" not in text
    assert "pattern was set manually" not in text


def test_measured_held_out_losses_are_listed_with_the_files():
    files = [
        FileFacts(name="coach-f16.gguf", bytes=10, sha256="1", heldout_loss=0.7254),
        FileFacts(name="coach-q4_k_m.gguf", bytes=4_000, sha256="2", heldout_loss=0.7281, loss_difference=0.0027, loss_half=0.004, kl=0.01, kl_half=0.002),
        FileFacts(name="Modelfile", bytes=1, sha256="3"),
    ]
    export = ExportFacts(
        files=files,
        main="coach-q4_k_m.gguf",
        merged_loss=0.7256,
        adapter_loss=0.7254,
        heldout="8 of validation.parquet",
        greedy_agreement=0.991,
        greedy_tokens=640,
    )
    page = shown(gguf_card(facts(), export, ADAPTER))
    assert page.columns[:4] == [6, 6, 6, 6]
    for reported in (
        "4.00 kB 2 0.7281 +0.0027 ± 0.0040 0.0100 ± 0.0020",
        "is 0.7256 for the merged model and 0.7254 for the base",
        "8 of validation.parquet",
        "99.1 % of the 640 tokens",
    ):
        assert reported in page.text


def test_a_card_leaves_out_unknown_facts():
    bare = ExportFacts(files=[FileFacts(name="coach-q4_k_m.gguf", bytes=1, sha256="1")], main="coach-q4_k_m.gguf")
    training = training_facts({name: value for name, value in METRICS.items() if name != "trainable_parameters"})
    few = facts(training=training, repo=None, dataset=None, base=Source(name="base"), caveats=[], intended_use="", system="")
    for card in (adapter_card(few), gguf_card(few, bare, ADAPTER), gguf_card(few, bare)):
        assert not re.search(r"\b(None|nan|null|Undefined|not known)\b", card)
        assert not re.search(r"\n\n\n", card)
        assert "Do not use it for anything on which somebody's health" in shown(card).text
    full = adapter_card(facts(training=training_facts(METRICS | {"tokens_per_second": 812.4, "peak_memory_bytes": 41_300_000_000, "resumed_from": 1_200})))
    assert "3,661 s, 812 tokens a second; resumed at step 1,200" in full
    assert "| peak memory | 41.30 GB |" in full


def test_the_card_of_a_converted_base_claims_no_training():
    card = gguf_card(facts(training=None, dataset=None), export_facts(EXPORT))
    text = shown(card).text
    assert "Qwen/Qwen3-14B at commit " + "b" * 40 in text
    assert "unchanged" in text
    assert not re.search(r"learnt|It was trained|merged into", text)
    assert "datasets" not in metadata(card).to_dict()


def test_the_adapters_files_are_listed_if_the_job_reported_them():
    known = {"adapter_model.safetensors": {"bytes": 257_000_000, "sha256": "9" * 64}}
    assert "adapter_model.safetensors 257.00 MB " + "9" * 64 in shown(adapter_card(facts(training=training_facts(METRICS | {"files": known})))).text
    assert "## Files" not in cards()[0]


def test_the_cards_commands_name_repository_file_and_context():
    adapter, gguf = cards()
    commands = [shlex.split(line) for block in shown(gguf).code for line in block.splitlines() if re.match(r"hf |llama-server |ollama ", line)]
    assert commands == [
        ["hf", "download", "me/coach-gguf", "coach-q4_k_m.gguf", "Modelfile", "--local-dir", "."],
        ["llama-server", "-m", "coach-q4_k_m.gguf", "--jinja", "-c", "16384"],
        ["ollama", "create", "coach", "-f", "Modelfile"],
        ["ollama", "run", "coach"],
    ]
    for card in (adapter, gguf):
        script = next(block for block in shown(card).code if "import" in block)
        compile(script, "card", "exec")
    assert 'Llama("coach-q4_k_m.gguf", n_ctx=16384)' in gguf
    assert f'from_pretrained("Qwen/Qwen3-14B", revision="{"b" * 40}", dtype=torch.bfloat16)' in adapter
    assert "hf download" not in cards(repo=None)[1]


def test_the_cards_command_uses_a_quantised_file_if_it_exists():
    files, no_replies = EXPORT["files"], {**EXPORT["checks"], "replies": {}}
    for names, main in ((["coach-f16.gguf", "coach-q8_0.gguf", "Modelfile"], "coach-q8_0.gguf"), (["Modelfile", "coach-f16.gguf"], "coach-f16.gguf")):
        assert export_facts({**EXPORT, "files": dict.fromkeys(names, files["Modelfile"]), "checks": no_replies}).main == main


def test_a_changed_chat_template_is_reported():
    export = export_facts({**EXPORT, "checks": EXPORT["checks"] | {"chat_template_identical": False}})
    assert "The chat template in the file is not identical to the tokenizer's" in shown(gguf_card(facts(), export, ADAPTER)).text


def test_an_incomplete_job_result_is_refused():
    with pytest.raises(JobError, match=r"^metrics.json: `r` is required\.$"):
        training_facts({name: value for name, value in METRICS.items() if name != "r"})
    with pytest.raises(JobError, match=r"^export.json: `main` "):
        export_facts({**EXPORT, "files": {}, "checks": {}})


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_a_card_with_a_figure_that_is_not_finite_is_refused(figure):
    for name in ("learning_rate", "lora_dropout", "seconds", "tokens_per_second"):
        with pytest.raises(JobError, match=rf"^metrics.json: `{name}`"):
            training_facts(METRICS | {name: figure})
    with pytest.raises(JobError, match=r"^metrics.json: `usd`"):
        training_facts(METRICS, usd=figure)
    for name in ("logit_difference", "argmax_agreement", "merged_loss", "adapter_loss"):
        with pytest.raises(JobError, match=r"^export.json: "):
            export_facts({**EXPORT, "checks": EXPORT["checks"] | {name: figure}})
    for name in ("heldout_loss", "heldout_loss_difference"):
        with pytest.raises(JobError, match=r"^export.json: `files"):
            export_facts({**EXPORT, "checks": EXPORT["checks"] | {name: {"coach-q4_k_m.gguf": figure}}})


NASTY = [
    "a | b",
    "\\| c \\",
    "```\n# Heading\n```",
    "~~~\n## Other",
    "<!--",
    "-->",
    f"\n{BEGIN}\n",
    f"\n{END}\n",
    "<script>alert(1)</script>",
    "</td></table>",
    "[x](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "*`_**",
    "---\nlicense: mit\n---\n",
    "- item\n1. item\n> quote",
    "| a |\n|---|\n| b |",
    "{{ 7 * 7 }} {% raw %}",
    "$(rm -rf .) `id` '\"",
    "&lt;b&gt; \u2028 é 日本",
]
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)  # Markdown has no zero
OUTSIDE = st.lists(st.sampled_from(NASTY) | TEXTS, min_size=1, max_size=4).map("".join)


def with_outside_text(draw):
    """Facts in which every text from people, files or services is replaced."""

    def said():
        return f"{draw(OUTSIDE)}é"  # empty text is left out, which is another form; `x` could end an escape sequence, which is removed

    changed = METRICS | {"stop_tokens": [said()], "target_modules": [said()], "optim": said(), "lr_scheduler_type": said(), "versions": {said(): said()}}
    changed["method"] = said()
    return {
        "title": said(),
        "domain": said(),
        "repo": said(),
        "base": Source(name=said(), repo=said(), commit=said(), url=f"https://huggingface.co/{said()}"),
        "dataset": Source(name=said(), repo=said(), commit=said(), url=f"https://huggingface.co/{said()}"),
        "training": training_facts(changed, said(), 2.5),
        "license": said(),
        "license_name": said(),
        "languages": [said()],
        "intended_use": said(),
        "notice": said(),
        "system": said(),
        "caveats": [said()],
    }


CHANGED = {name: EXPORT[name] for name in ("seconds", "versions")} | {"fallback_tensors": {}}


def one_file(name, sha256, stop):
    checks = {**EXPORT["checks"], "stop_token": stop, "replies": {}}
    return export_facts(CHANGED | {"files": {name: {"bytes": 1, "sha256": sha256}}, "checks": checks})


FORMS = [shown(card).form for card in (adapter_card(facts()), gguf_card(facts(), one_file("a.gguf", "1", "<s>"), ADAPTER))]


@pytest.mark.slow
@settings(max_examples=20, phases=[Phase.reuse, Phase.generate])  # shrinking so much text takes minutes
@given(st.data())
def test_foreign_text_adds_no_markup_link_picture_or_html_to_a_card(data):
    changes = with_outside_text(data.draw)
    export = one_file(f"{data.draw(OUTSIDE)}.gguf", data.draw(OUTSIDE), f"{data.draw(OUTSIDE)}é")
    for card, form in zip((adapter_card(facts(**changes)), gguf_card(facts(**changes), export, changes["base"])), FORMS, strict=True):
        page = shown(card)
        assert page.form == form
        assert page.html == [BEGIN, END]
        assert all(link == CURVE or link.startswith("https://huggingface.co/") for link in page.links)
        assert any(shown_words(block) == shown_words(changes["system"]) for block in page.code)
        assert yaml.safe_load(card.split("\n---\n")[0])["license"].split() == changes["license"].split()
        again = with_evaluation(card, "It is **better**.", [RESULT])
        assert shown(again).text == page.text.replace(
            "This model has not been evaluated yet. It is unknown whether it is better than its base.", "It is better.", 1
        )
        assert yaml.safe_load(again.split("\n---\n")[0])["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.875


@pytest.mark.parametrize("results", [None, [RESULT], [RESULT, RESULT.model_copy(update={"metric": "pass_rate", "name": "a: b\n\n# c", "value": 1})]])
def test_a_new_evaluation_replaces_the_earlier_one_and_changes_nothing_else(results):
    for card in cards():
        first = with_evaluation(card, "Better.\n\n### Scores\n\n| a |\n|---|\n| 1 |", [RESULT])
        second = with_evaluation(first, "Worse, after all.", results)
        assert with_evaluation(second, "Worse, after all.", results) == second
        before, after = (text.split(f"\n{BEGIN}\n") for text in (card, second))
        assert after[1] == f"\nWorse, after all.\n\n{END}\n" + before[1].split(f"\n{END}\n", maxsplit=1)[1]
        assert re.sub(r"\nmodel-index:\n.*?\n---\n", "\n---\n", after[0], flags=re.DOTALL) == before[0]
        assert "Better." not in second
        read = metadata(second)
        assert [result.metric_value for result in read.eval_results or []] == [result.value for result in results or []]
        if results:
            assert read.model_name == "coach"
            assert {result.metric_type for result in read.eval_results} == {result.metric for result in results}


def test_the_cards_metadata_has_the_figures_under_the_models_name():
    assert metadata(with_evaluation(cards(title="my_coach *2*")[0], "Better.", [RESULT])).model_name == "my_coach *2*"


def test_text_in_the_evaluation_section_cannot_end_it_early():
    card = cards()[0]
    reported = with_evaluation(card, f"One.\n{END}\n# Two\n{BEGIN}\n")
    assert with_evaluation(reported, "Three.") == with_evaluation(card, "Three.")


@pytest.mark.parametrize(
    "spoil", [lambda card: card.replace(END, ""), lambda card: card.replace(BEGIN, ""), lambda card: card.split("---\n", 2)[2], lambda card: ""]
)
def test_a_card_without_a_place_for_the_evaluation_is_refused(spoil):
    with pytest.raises(HubError, match=r"has no place for the evaluation.*Export again\.$"):
        with_evaluation(spoil(cards()[0]), "Better.")


def test_a_figure_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        Result(**json.loads(RESULT.model_dump_json()) | {"value": float("nan")})


def test_losses_of_an_export_are_read_by_file_and_the_texts_named_without_a_path():
    checks = {
        "heldout": "/somewhere/on/a/machine/validation.parquet",
        "heldout_examples": 8,
        "heldout_tokens": 2406,
        "heldout_loss_over": "assistant replies",
        "heldout_loss": {"x-f16.gguf": 0.5, "x-q4_k_m.gguf": 0.52},
        "heldout_loss_difference": {"x-f16.gguf": 0.0, "x-q4_k_m.gguf": 0.02},
        "heldout_loss_interval": {"x-f16.gguf": 0.001, "x-q4_k_m.gguf": 0.03},
        "kl_intervals": {"x-q4_k_m.gguf": 0.004},
        "merged_loss": 0.5,
        "adapter_loss": 0.49,
        "greedy_agreement": 0.99,
        "greedy_tokens_compared": 640,
    }
    files = {name: {"bytes": 5, "sha256": "0" * 64} for name in ("x-f16.gguf", "x-q4_k_m.gguf", "Modelfile")}
    found = export_facts({"files": files, "checks": checks})
    assert {file.name: (file.heldout_loss, file.loss_difference) for file in found.files} == {
        "x-f16.gguf": (0.5, 0.0),
        "x-q4_k_m.gguf": (0.52, 0.02),
        "Modelfile": (None, None),
    }
    assert [(file.loss_half, file.kl_half) for file in found.files] == [(None, None), (0.03, 0.004), (None, None)]
    assert (found.merged_loss, found.adapter_loss, found.greedy_agreement, found.greedy_tokens) == (0.5, 0.49, 0.99, 640)
    assert found.heldout == "8 validation examples of its dataset, 2,406 tokens (assistant replies)"
