"""Families whose templates TRL has no markers for: their replies are found, and the labels are proven to cover nothing else."""

import re
import runpy
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs
from tests.jobs.conftest import PROVING, SCRIPT, SYSTEM, label, make_tokenizer

needs("trl")

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL_SPACED = (  # as in Mistral 7B v0.3, with a blank before each reply
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}"
    "{% elif message['role'] == 'system' %}{{ '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
)
CHATML_TOKENS = ["<|im_start|>", "<|im_end|>"]
GEMMA4_TOKENS = ["<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>"]
LLAMA_TOKENS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"]
MISTRAL_TOKENS = ["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"]
FAMILIES = {
    "SmolLM2": (SMOLLM2, CHATML_TOKENS, "<|im_end|>"),
    "Mistral, a blank before replies": (MISTRAL_SPACED, MISTRAL_TOKENS, "<eos>"),
    **{f"mistralai-{name}": (f"mistralai-{name}", MISTRAL_TOKENS, "<eos>") for name in ("Ministral-3-14B-Reasoning-2512", "Mistral-Nemo-Instruct-2407")},
    "Mistral-Small-3.2-24B-Instruct-2506": ("Mistral-Small-3.2-24B-Instruct-2506", MISTRAL_TOKENS, "<eos>"),
    **{name: (name, LLAMA_TOKENS, "<|eot_id|>") for name in ("llama3_1", "llama3_2")},
    **{name: (name, GEMMA4_TOKENS, "<turn|>") for name in ("gemma4", "gemma4_v3", "gemma4_v5")},
    **{name: (name, CHATML_TOKENS, "<|im_end|>") for name in ("lfm2_2_5", "lfm2_2_5_v2", "LFM2.5-Instruct", "HuggingFaceTB-SmolLM3-3B")},
    "ibm-granite-granite-4.1": ("ibm-granite-granite-4.1", ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"], "<|end_of_text|>"),
}


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def loaded(script: dict[str, Any], name: str, folder: Path) -> tuple[Any, str]:
    """Return a family's tokenizer and its training template, as the script loads them."""
    template, tokens, _ = FAMILIES[name]
    tokenizer = make_tokenizer(
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}, tokens, "qwen3_instruct_2507" if "{" in template else template
    )
    if "{" in template:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return script["load_tokenizer"](Namespace(base=str(folder), base_revision=None, chat_template=None, retry_seconds=0.0))


def conversation(stop: str, system: bool) -> list[dict[str, str]]:
    """Return a conversation in which a reply repeats the message before it, and another quotes the end of a reply."""
    texts = ["Say yes.", "yes", "yes", "Yes, yes. 🙂", "QUESTION", f"It ends with {stop}, I think.", "Say yes.", "- one\n- two"]
    chat = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return [{"role": "system", "content": SYSTEM}, *chat] if system else chat


@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_replies_are_found_and_their_labels_proven_in_every_family(script: dict[str, Any], name: str, system: bool, tmp_path: Path) -> None:
    stop = FAMILIES[name][2]
    tokenizer, template = loaded(script, name, tmp_path)
    chat = conversation(stop, system)
    assert script["check_labels"](*label(script, [chat], tokenizer, template), tokenizer, PROVING) == {stop}
    whole = tokenizer.apply_chat_template(chat, tokenize=False)
    assert (SYSTEM in whole) == system
    for at in (at for at, message in enumerate(chat) if message["role"] == "assistant"):  # the trained text is what follows the prompt in use
        prompt = tokenizer.apply_chat_template(chat[:at], tokenize=False, add_generation_prompt=True)
        assert whole.startswith(prompt)
        assert whole[len(prompt) :].lstrip().startswith(chat[at]["content"] + stop)


@pytest.mark.parametrize("name", ["llama3_2", "Mistral-Small-3.2-24B-Instruct-2506"])
def test_the_trained_text_does_not_depend_on_the_date(script: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, _ = loaded(script, name, tmp_path)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Later":
            return cls(2031, 2, 3)

    chat = conversation("x", False)
    today = tokenizer.apply_chat_template(chat, tokenize=False)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Later)
    assert tokenizer.apply_chat_template(chat, tokenize=False) == today
    assert "2024" in today


@pytest.mark.parametrize("template", [SMOLLM2.replace("assistant\n' }}", "assistant\n<think>\n' }}"), SMOLLM2.replace("'<|im_end|>' + ", "")])
def test_a_template_whose_replies_cannot_be_found_is_refused_and_the_message_asks_for_markers(script: dict[str, Any], template: str, tmp_path: Path) -> None:
    tokenizer, _ = loaded(script, "SmolLM2", tmp_path)
    with pytest.raises(script["JobError"], match=r"mark the assistant's replies with \{% generation %\}; mark them \(docs/training.md\)"):
        label(script, [conversation("x", True)], tokenizer, template)


def test_the_markers_shown_in_the_documentation_give_the_same_labels(script: dict[str, Any], tmp_path: Path) -> None:
    page = (SCRIPT.parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```jinja\n(.*?)```", page, re.DOTALL)
    tokenizer, template = loaded(script, "SmolLM2", tmp_path)
    chat = conversation("<|im_end|>", True)
    ours, theirs = (label(script, [chat], tokenizer, one)[0][0] for one in (template, shown))
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert ours.labels.tolist() == theirs.labels.tolist()
