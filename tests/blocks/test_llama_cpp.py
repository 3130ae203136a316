"""llama.cpp in this process, through llama-cpp-python."""

import json

import pytest

from blocks.llama_cpp import LlamaCpp
from core.errors import ContextError, SettingsError
from tests.blocks.conftest import ask
from tests.blocks.gguf import CONTEXT, SCHEMA, TEMPLATE, write_gguf

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed; run `deployments/install.sh llama-cpp`")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "nonsense.gguf", **{"tokenizer.chat_template": TEMPLATE})


@pytest.fixture
def model(gguf):
    return LlamaCpp(model_path=gguf, context=CONTEXT, temperature=1.0).get_client()


async def test_a_grammar_makes_even_a_random_model_match_the_schema(model):
    replies = [await model.complete(ask(schema=SCHEMA, seed=seed)) for seed in range(8)]
    answers = [json.loads(reply.text) for reply in replies]
    assert all(reply.finish == "stop" for reply in replies)
    assert all(list(answer) == ["answer", "done"] and isinstance(answer["done"], bool) for answer in answers)
    assert {answer["answer"] for answer in answers} <= {"YES", "NO", "NA"}
    assert len({reply.text for reply in replies}) > 1


async def test_the_same_seed_gives_the_same_answer_and_the_token_limit_ends_it(model):
    first, again, other = [await model.complete(ask(max_tokens=40, seed=seed)) for seed in (1, 1, 2)]
    assert first == again
    assert first.text != other.text
    assert (first.finish, first.usage.output_tokens) == ("length", 40)
    assert first.usage.input_tokens == len("<system>Be kind.<user>Hello.<assistant>")


async def test_a_conversation_longer_than_the_context_is_refused(model):
    with pytest.raises(ContextError, match="holds 512"):
        await model.complete(ask("a" * 600))


async def test_a_file_without_a_chat_template_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no chat template"):
        await LlamaCpp(model_path=write_gguf(tmp_path / "bare.gguf"), context=CONTEXT).get_client().complete(ask())


async def test_a_file_that_llama_cpp_cannot_load_is_named(tmp_path):
    path = write_gguf(tmp_path / "strange.gguf", **{"general.architecture": "nothing-known"})
    with pytest.raises(SettingsError, match="cannot load"):
        await LlamaCpp(model_path=path, context=CONTEXT).get_client().complete(ask())
