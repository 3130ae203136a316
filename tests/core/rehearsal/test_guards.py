"""Guards: a faulty message is written again and never edited, every refusal is recorded, and legitimate messages pass."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

import pytest

from core.errors import InvalidOutputError, PackError
from core.llm.chat import ChatRequest, Reply, Usage
from core.packs.pack import load_pack
from core.records import EndReason, Side
from core.rehearsal.conversation import rehearse
from core.rehearsal.guards import find_fault
from core.rehearsal.personas import sample_persona
from core.rehearsal.turn_log import TurnLog
from core.rehearsal.turns import Cast, Player
from core.settings.faults import Fault
from core.storage.store import Store
from tests.core.rehearsal.guard_rates import corpus
from tests.core.simulation import caller

PACK = load_pack("therapeutic-coaching")
CORPUS, SIDES = corpus(), get_args(Side)
FAULTY, INNOCENT = [item for item in CORPUS if item.faulty], [item for item in CORPUS if not item.faulty]
WORDS = "garden letter kettle sister Tuesday bus window parcel soup neighbour invoice piano drawer raincoat ladder stairs cellar".split()  # noqa: SIM905


def test_the_guard_corpus_is_large_without_duplicates():
    assert min(len(FAULTY), len(INNOCENT)) >= 200
    assert len({(item.side, item.text.strip().lower(), item.earlier) for item in INNOCENT}) == len(INNOCENT)
    for items in (FAULTY, INNOCENT):
        assert {(item.domain, item.side) for item in items} == {(domain, side) for domain in ("therapeutic-coaching", "coding-mentor") for side in SIDES}
    for domain in {item.domain for item in CORPUS}:
        assert {item.kind for item in FAULTY if item.domain == domain} == {fault.value for fault in Fault} - {
            "form",
            "tic",
            "too_long",
        }  # these have tests of their own


@pytest.mark.slow
def test_at_most_1_percent_of_legitimate_messages_are_refused():
    refused = [(item.kind, item.text, item.found) for item in INNOCENT if item.found]
    assert len(refused) <= 0.01 * len(INNOCENT), refused


@pytest.mark.parametrize(("kind", "domain"), sorted({(item.kind, item.domain) for item in FAULTY}))
def test_at_least_85_percent_of_faulty_messages_of_each_kind_are_refused(kind, domain):
    items = [item for item in FAULTY if (item.kind, item.domain) == (kind, domain)]
    missed = [item.text for item in items if not item.found]
    assert len(missed) <= 0.15 * len(items), missed


@pytest.mark.parametrize(
    ("side", "text"),
    [
        ("assistant", "[THINK]I should ask about her sister first.[/THINK] How long has this been going on for you?"),
        ("assistant", "◁think▷She deflects.◁/think▷ That sounds heavy. What would help you?"),
        ("assistant", "<scratchpad>she deflects</scratchpad>\nThat sounds heavy. What would help you?"),
        ("assistant", "[Assistant]: That sounds heavy. What would help you?"),
        ("assistant", "*smiles warmly and waits*"),
        ("assistant", "Als KI-Sprachmodell kann ich keine Diagnose stellen. Was würde dir helfen?"),
        ("assistant", "Como modelo de lenguaje, no puedo dar un diagnóstico. ¿Qué te ayudaría?"),
        ("assistant", "En tant qu’intelligence artificielle, je ne peux pas poser de diagnostic. Qu'est-ce qui t'aiderait ?"),
        ("user", "[no response]"),
        ("user", "Yeah that helped, thanks. [END OF CONVERSATION]"),
        ("user", "thanks, bye\n<done>true</done>"),
        ("user", "Sure! Here's what the user would say: I still can't sleep."),
        ("user", "As Maria, I would say that it is still bad."),
        ("user", "I can't sleep. [Note: user avoids the topic]"),
        ("user", '{"content": ' * 3_000),
    ],
)
def test_thoughts_end_marks_and_leaks_are_refused_in_many_forms(side, text):
    assert find_fault(PACK.guards, side, text, [])


@pytest.mark.parametrize(
    ("side", "text"),
    [
        ("assistant", "Take list[start:end], or the last one, list[end]"),
        ("assistant", "*Sleep* comes first today. What would help you tonight?"),
        ("user", "I asked an AI, als KI taugt es nichts, sagt mein Bruder."),
        ("user", "she talks como una ia sometimes, it's weird"),
        ("user", "As Maria said, I would be better off asking."),
    ],
)
def test_text_that_only_resembles_such_a_mark_is_accepted(side, text):
    assert not find_fault(PACK.guards, side, text, [])


@pytest.mark.slow
def test_most_refusals_name_the_right_fault():
    named = Counter(item.found[0] == item.kind for item in FAULTY if item.found)
    assert named[True] > 0.85 * named.total()


CODE = "for row in rows:\n    total += row['price'] * row['amount']\n    print(total, row['name'])"


@pytest.mark.parametrize(
    "pasted", [f"```python\n{CODE}\n```", f"~~~\n{CODE}\n~~~", CODE, "    " + CODE.replace("\n", "\n    "), f"> {CODE}".replace("\n", "\n> ")]
)
def test_code_may_be_pasted_again_in_any_markup_but_sentences_may_not_be_repeated(pasted):
    guards, said = load_pack("coding-mentor").guards, "I put the print where you said and the sum is still one row short."
    assert find_fault(guards, "user", f"{pasted}\n\nhere it is once more", [f"it is this one\n\n{pasted}"]) is None
    assert find_fault(guards, "user", f"{said}\n\n{pasted}", [said]) is not None


class Model:
    """Answers with its texts in turn, then with distinct sentences, and records its requests."""

    caveat = None

    def __init__(self, reference: str, texts: Sequence[str] = (), finish: Literal["stop", "length"] = "stop"):
        self.reference, self.texts, self.finish = reference, list(texts), finish
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> Reply:
        number = len(self.requests)
        self.requests.append(request)
        scripted = number < len(self.texts)
        own = [f"{word}s" if request.schema else word for word in WORDS]  # sides share no words
        text = self.texts[number] if scripted else " ".join(own[(number * step + step) % len(own)] for step in range(3, 15)) + "."
        formed = json.dumps({"message": text, "done": False}) if request.schema and not text.startswith("!") else text
        return Reply(formed, self.finish if scripted else "stop", Usage(100, 20))


GUIDANCE = "Warmth is shown in the attention that an answer pays, never in the adjectives."


async def play(tmp_path, user=None, assistant=None, exchanges=4, guards=tuple(Fault), log=None, minimum=3, noted=False, guidance=GUIDANCE, persona=None):
    user, assistant = user or Model("u"), assistant or Model("a")
    players = [Player(caller(model, tmp_path), 100, 10**6, on) for model, on in ((user, tuple(Fault)), (assistant, guards))]
    cast = Cast(players[0], players[1], guidance, minimum, noted)
    return await rehearse(PACK, persona or sample_persona(PACK, 5, (exchanges, exchanges)), cast, "name", log=log)


async def test_a_faulty_message_is_requested_again_with_another_seed_and_recorded(tmp_path):
    assistant = Model("a", ["<thinking>They want comfort.</thinking> I am with you."])
    found = await play(tmp_path, assistant=assistant)
    assert len({request.seed for request in assistant.requests[:2]}) == 2
    assert all("think" not in exchange.assistant for exchange in found.exchanges)
    (kept,) = found.provenance["rejections"]
    assert (kept["side"], kept["exchange_number"], kept["fault"], kept["seed"]) == ("assistant", 1, "leaked_reasoning", assistant.requests[0].seed)
    assert kept["text"] == "<thinking>They want comfort.</thinking> I am with you."
    assert found.provenance["usage"]["assistant"] == {"calls": 5, "input_tokens": 500, "cache_read_tokens": 0, "output_tokens": 100}


@pytest.mark.parametrize(
    ("user", "assistant", "fault"),
    [
        (["! no JSON"], [], Fault.FORM),
        (["   "], [], Fault.EMPTY),
        *[([gesture], [], Fault.EMPTY) for gesture in ("done", "][", "Ok, thanks.", "ok ok ok", "Alles klar, danke.", "D'accord, merci beaucoup!", "❤️ ❤️ 😭")],
        *[([direction], [], Fault.EMPTY) for direction in ("[The user greets the coach]", "(no message yet)", "<the first message of the day>")],
        (['The conversation continues: "done" is false, and you do not say goodbye.'], [], Fault.META),
        ([], ["Answer their last message above, and neither answer nor mention this note."], Fault.META),
        ([], ["Warmth is shown in the attention that an answer pays, never in the adjectives."], Fault.META),
        ([], ["  \n"], Fault.EMPTY),
        (["It sounds like you are carrying a lot. What would feel supportive for you?"], [], Fault.ROLE_INVERSION),
        ([], ["Это очень тяжело, и я тебя понимаю."], Fault.FOREIGN_SCRIPT),
    ],
)
async def test_each_fault_of_either_side_is_refused(tmp_path, user, assistant, fault):
    found = await play(tmp_path, Model("u", user), Model("a", assistant), noted=True)
    assert [item["fault"] for item in found.provenance["rejections"]] == [fault]


@pytest.mark.parametrize("opener", ["I'm exhausted and can't sleep.", "Can't sleep again.", "No sleep. Again. Work's hell.", "Tired (the baby). Can't think."])
async def test_a_terse_first_message_is_accepted(tmp_path, opener):
    found = await play(tmp_path, Model("u", [opener]))
    assert (found.exchanges[0].user, found.provenance["rejections"]) == (opener, [])


@pytest.mark.parametrize(
    "disguised",
    [
        GUIDANCE.upper(),
        GUIDANCE.replace(" ", "\\n"),
        GUIDANCE.replace("e", "e\u200b"),
        "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in GUIDANCE),
        "\n".join(f"{number}. **{word}**" for number, word in enumerate(GUIDANCE.split(), 1)),
        f"Here is what I would say today:\n\n```\n{GUIDANCE}\n```\n\nWhat do you make of that?",
        f"I would say `{GUIDANCE}` to you, and no more than that.",
    ],
)
async def test_a_disguised_copy_of_the_instructions_is_refused(tmp_path, disguised):
    found = await play(tmp_path, assistant=Model("a", [disguised]), guards=(Fault.META,))
    assert [item["fault"] for item in found.provenance["rejections"]] == ["meta"]


@pytest.mark.parametrize("country", ["united_states", "germany", None])
async def test_an_answer_may_name_all_emergency_services_as_its_instructions_do(tmp_path, country):
    persona = sample_persona(PACK, 5, (4, 4))
    persona = persona.model_copy(update={"country": country})
    answer = f"I take that line seriously. Are you safe tonight? Please do not wait for me: {PACK.help_at_hand(country)}."
    found = await play(tmp_path, assistant=Model("a", [answer]), guidance=PACK.instructions("assistant", country), persona=persona, guards=(Fault.META,))
    assert found.provenance["rejections"] == []
    copied = Model("a", [f"{answer} {GUIDANCE}"])
    found = await play(tmp_path / "copied", assistant=copied, guidance=f"{GUIDANCE} {PACK.help_at_hand(country)}", persona=persona, guards=(Fault.META,))
    assert [item["fault"] for item in found.provenance["rejections"]] == ["meta"]


async def test_a_truncated_message_is_requested_again_with_more_tokens(tmp_path):
    assistant = Model("a", ["A long answer that stops in the"], finish="length")
    found = await play(tmp_path, assistant=assistant)
    assert [request.max_tokens for request in assistant.requests[:3]] == [100, 200, 100]
    assert [item["fault"] for item in found.provenance["rejections"]] == ["truncated"]


async def test_a_repetitive_truncated_message_is_requested_again_without_more_tokens(tmp_path):
    assistant = Model("a", ["I was wrong. " + "So, no, it is not possible to cut one. " * 9 + "So, no, it is"], finish="length")
    found = await play(tmp_path, assistant=assistant)
    assert [request.max_tokens for request in assistant.requests] == [100] * 5
    assert [item["fault"] for item in found.provenance["rejections"]] == ["near_repeat"]


LONG = "The cold soup stands for an evening that you had looked forward to, and nobody asked you how the day had been before."
LATER = (
    "And on Tuesday it was the same again: I came home late, the kitchen was dark, and in the pan was what they had left me of the rice. I ate it at the sink."
)


@pytest.mark.parametrize(
    ("user", "assistant"),
    [
        ([], ["Try the roses first. " + "You may ask a question. You may ask for a gift. " * 4]),
        (["The kettle broke on Monday and I drank water."], ["A kettle. The kettle broke on Monday and I drank water."]),
        (["The soup was cold, and so was he.", "A wise decision."], ["A wise decision."]),
        (["The soup was cold, and so was he."], ["A wise decision.", "A wise decision."]),
        (["The soup was cold, and so was he.", f"{LONG} {LATER}"], [LONG]),
    ],
)
async def test_a_message_that_repeats_itself_or_the_other_side_is_refused(tmp_path, user, assistant):
    found = await play(tmp_path, Model("u", user), Model("a", assistant))
    assert [item["fault"] for item in found.provenance["rejections"]] == ["near_repeat"]


@pytest.mark.parametrize("size", [4, 7, 30])
async def test_an_opener_that_only_copies_its_topic_is_refused(tmp_path, size):
    topic = sample_persona(PACK, 5, (4, 4)).topics[0].description
    found = await play(tmp_path, Model("u", [" ".join(topic.split()[:size])]))
    assert [item["fault"] for item in found.provenance["rejections"]] == ["meta"]


async def test_a_message_with_a_sentence_of_a_flaw_is_refused(tmp_path):
    persona = next(found for seed in range(20) if (found := sample_persona(PACK, seed, (4, 4))).flaws)
    direction = " ".join(persona.flaws[0].description.split()[:8])
    told = f"The kettle broke on Monday, and I stood there with the cup in my hand. {direction}. My sister rang at noon about the piano and the stairs."
    found = await play(tmp_path, Model("u", ["The soup was cold, and so was he.", told]), persona=persona)
    assert [item["fault"] for item in found.provenance["rejections"]] == ["meta"]


async def test_a_message_nearly_equal_to_an_earlier_one_is_refused(tmp_path):
    said = "The kettle broke on Monday and I stood there with the cup in my hand like a fool."
    found = await play(tmp_path, user=Model("u", [said, said.replace("Monday", "Tuesday")]))
    assert [item["fault"] for item in found.provenance["rejections"]] == ["near_repeat"]


async def test_messages_of_an_evaluated_model_are_not_guarded(tmp_path):
    found = await play(tmp_path, assistant=Model("a", ["<thinking>hm</thinking> yes", "...", "..."], finish="length"), guards=())
    assert [exchange.assistant for exchange in found.exchanges[:3]] == ["<thinking>hm</thinking> yes", "...", "..."]
    assert found.provenance["rejections"] == []


async def test_the_number_of_rewrites_is_bounded(tmp_path):
    assistant = Model("a", ["<thinking>"] * 100)
    with pytest.raises(InvalidOutputError, match="leaked reasoning"):
        await play(tmp_path, assistant=assistant)
    assert len(assistant.requests) == 3


async def test_a_long_enough_conversation_is_kept_if_no_valid_message_can_be_obtained(tmp_path):
    good = ["The garden can wait.", "One letter is enough for a day.", "Tuesday counts, too."]
    found = await play(tmp_path, assistant=Model("a", [*good, *["<thinking>"] * 100]), exchanges=6)
    assert (len(found.exchanges), found.end_reason) == (3, EndReason.ERROR)
    assert "leaked reasoning" in found.provenance["problem"]


async def test_refusals_survive_a_kill_and_their_seeds_are_not_reused(tmp_path):
    store = Store(str(tmp_path))
    with pytest.raises(InvalidOutputError):
        await play(tmp_path, assistant=Model("a", ["<thinking>"] * 3), log=TurnLog(store, "name"))
    later = Model("a")
    found = await play(tmp_path, assistant=later, log=TurnLog(store, "name"))
    seeds = [item["seed"] for item in found.provenance["rejections"] if item["side"] == "assistant"]
    assert len(set(seeds)) == 3
    assert later.requests[0].seed not in seeds


GERMAN = "Das klingt nach einer langen Woche, und ich höre, wie müde du bist, wenn du abends nach Hause kommst und noch kochst, wäschst und aufräumst. "


@pytest.mark.parametrize(
    ("end", "whole"), [("Dann ist da noch das Menü", False), ("Deine Schwester sagt: „Es wird gut.“", True), ("Und sie sagte: “", False), ("Was hilft?", True)]
)
def test_a_truncated_answer_is_recognised_in_german_and_a_closed_quotation_is_complete(end, whole):
    assert (find_fault(load_pack("therapeutic-coaching").guards, "assistant", GERMAN + end, [], {Fault.TRUNCATED}) is None) == whole


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(unclosed", "not a regular expression"),
        (r"\Qnothing ends it", "not a regular expression"),
        ("(?P<who>mother)", "named group 'who'"),
        ("x*", "matches an empty text"),
        (r"\b", "matches an empty text"),
    ],
)
def test_an_invalid_guard_pattern_is_reported_and_nothing_else_is_printed(pack_copy, capfd, pattern, said):
    file = pack_copy / "config/domains/therapeutic-coaching/guards.yaml"
    file.write_text(f"role_inversion: {{user: ['{pattern}']}}\n", encoding="utf-8")
    with pytest.raises(PackError, match=rf"guards\.yaml.*role_inversion\.user.*{said}"):
        load_pack("therapeutic-coaching", pack_copy)
    assert capfd.readouterr().err == ""


async def test_a_kill_does_not_allow_additional_attempts(tmp_path):
    store, log = Store(str(tmp_path)), None
    asked = 0
    for attempts in (1, 1, 100):  # killed after each of two refusals
        log = TurnLog(store, "name")
        assistant = Dying("a", ["<thinking>"] * attempts)
        with pytest.raises((KeyboardInterrupt, InvalidOutputError)):
            await play(tmp_path, assistant=assistant, log=log)
        asked += len(assistant.requests)
    assert log is not None
    assert (asked, len(log.rejections)) == (3, 3)


class Dying(Model):
    """A model whose process is killed after its last text."""

    async def complete(self, request: ChatRequest) -> Reply:
        if len(self.requests) == len(self.texts):
            raise KeyboardInterrupt
        return await super().complete(request)
