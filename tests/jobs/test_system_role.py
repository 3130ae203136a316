"""If a chat template refuses a system message, as Gemma 2's does, it is put before the user's first message everywhere."""

import runpy
from pathlib import Path

import pytest

from blocks.tokens import load_tokenizer
from core.dataset.slicing import SliceReport, slices
from core.errors import SettingsError
from core.records import Exchange, Transcript
from core.settings.pipeline import Slicing
from tests.jobs.conftest import make_tokenizer

JOBS = Path(__file__).parents[2] / "deployments/jobs/built"
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
)
CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


@pytest.fixture(scope="module")
def gemma2():
    specials = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    tokenizer = make_tokenizer(specials, ["<start_of_turn>", "<end_of_turn>"], "qwen3_instruct_2507")
    tokenizer.chat_template = GEMMA2
    return tokenizer


@pytest.mark.parametrize("script", ["train_sft", "convert_gguf"])
def test_the_system_prompt_is_put_before_the_users_first_message(gemma2, script, monkeypatch):
    monkeypatch.syspath_prepend(str(JOBS))
    fold = runpy.run_path(str(JOBS / f"{script}.py"), run_name="job")["fold_system"]
    template = fold(GEMMA2, gemma2)
    text = gemma2.apply_chat_template(CHAT, chat_template=template, tokenize=False)
    assert text == "<bos><start_of_turn>user\nBe kind.\nHi.<end_of_turn>\n<start_of_turn>assistant\nHello.<end_of_turn>\n"
    assert gemma2.apply_chat_template(CHAT[1:], chat_template=template, tokenize=False) == gemma2.apply_chat_template(CHAT[1:], tokenize=False)
    assert fold(template, gemma2) == template


def test_examples_are_counted_in_the_form_in_which_they_are_trained(gemma2, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(JOBS))
    gemma2.save_pretrained(str(tmp_path))
    talk = Transcript(id="t", exchanges=[Exchange(exchange_number=n, user=f"Message {n}.", assistant=f"Answer {n}.") for n in range(1, 6)])
    counted = load_tokenizer(f"hf:{tmp_path}")
    template = runpy.run_path(str(JOBS / "train_sft.py"), run_name="job")["fold_system"](GEMMA2, gemma2)
    for example in slices([talk], lambda _: "Be kind.", Slicing(first=3, gap=(2, 5), max_tokens=9_000), counted, SliceReport()):
        whole = gemma2.apply_chat_template(example.messages, chat_template=template, tokenize=True, return_dict=False)
        assert example.tokens == len(whole)


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ messages[7].role + 1 }}", "{% for x in 5 %}{% endfor %}", "{{"])
def test_a_template_that_cannot_be_rendered_is_reported_in_one_sentence(gemma2, tmp_path, template):
    gemma2.chat_template = template
    gemma2.save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match=r"cannot render a conversation .*\. Choose "):
        load_tokenizer(f"hf:{tmp_path}")


def test_a_damaged_tokenizer_is_reported_in_one_sentence(gemma2, tmp_path):
    gemma2.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "none"}}', encoding="utf-8")
    with pytest.raises(SettingsError, match="cannot be loaded"):
        load_tokenizer(f"hf:{tmp_path}")
