"""The `scripted` provider: plays every role deterministically by seed, without a network, for the demo and the tests."""

import re
from functools import lru_cache

from core.errors import SettingsError
from core.judging.text_facts import words
from core.llm.chat import ChatRequest, Reply, Usage
from core.packs.pack import Pack
from core.scripted.assistant import answer, scripted_repair
from core.scripted.designer import designed
from core.scripted.judge import judgement
from core.scripted.lexicon import Lexicon
from core.scripted.refusal_judge import verdicts
from core.scripted.user import user_message

ROLES = ("user", "judge", "mixed", "repairer", "designer")

CAVEAT = "Scripted: fixed phrases and word lists stand in for at least one model, for demonstration. The figures are no measure of real quality."


class ScriptedChat:
    """A model of the scripted provider.

    Args:
        name: `user`, `judge`, `repairer`, `mixed` (an assistant whose quality varies between conversations), or an assistant's quality between 0 and 1,
            such as `0.9`.
        pack: the domain; it needs a `scripted.yaml`.

    Raises:
        SettingsError: the name is unknown, or the pack has no `scripted.yaml`.
    """

    caveat = CAVEAT

    def __init__(self, name: str, pack: Pack) -> None:
        """Check the name and prepare the pack's word lists."""
        if pack.phrases is None:
            raise SettingsError(
                f"The scripted provider cannot play {pack.name!r}: config/domains/{pack.name}/scripted.yaml does not exist. Write it or name another model."
            )
        if name not in ROLES and not re.fullmatch(r"0(\.\d+)?|1(\.0+)?", name):
            raise SettingsError(
                f"Unknown model 'scripted/{name}'. Allowed: {', '.join(f'scripted/{role}' for role in ROLES)}, or scripted/<quality from 0 to 1>."
            )
        self.reference = f"scripted/{name}"
        self._pack = pack
        self._phrases = pack.phrases
        self._lexicon = Lexicon(pack)
        self._quality = pack.phrases.assistant.quality if name in ROLES else (float(name), float(name))

    async def complete(self, request: ChatRequest) -> Reply:
        """Return a reply that depends only on the request."""
        if request.role == "user_simulator":
            text = user_message(self._pack, self._phrases, request)
        elif request.role == "judge" and "answers" in request.inputs:
            text = verdicts(request.inputs["answers"])
        elif request.role == "judge":
            text = judgement(self._phrases, self._lexicon, request)
        elif request.role == "repairer":
            text = scripted_repair(self._phrases, self._lexicon, request)
        else:
            text = answer(self._phrases, self._lexicon, request, self._quality)
        return _reply(request, text)


class ScriptedDesigner:
    """The scripted designer. It needs no `scripted.yaml`, because the domain's files may not exist yet."""

    caveat, reference = CAVEAT, "scripted/designer"

    async def complete(self, request: ChatRequest) -> Reply:
        """Return a reply with the content of an included pack."""
        return _reply(request, designed(request))


def _reply(request: ChatRequest, text: str) -> Reply:
    """Return a reply whose usage counts words as tokens."""
    input_words = sum(_word_count(message.content) for message in request.messages) + _word_count(request.system)
    return Reply(text=text, finish="stop", usage=Usage(input_tokens=input_words, output_tokens=len(words(text))))


@lru_cache(maxsize=1024)  # each request contains all earlier messages
def _word_count(text: str) -> int:
    return len(words(text))
