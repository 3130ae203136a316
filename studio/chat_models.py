"""The models that answer in a chat: GGUF files that run on this machine from their first message on, and models of the settings, whose calls are billed."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UnderstudyError
from core.fingerprint import seed_of
from core.imports.chats import Chat, Player, history
from core.llm.calls import Caller
from core.llm.chat import ChatModel, ChatRequest, Message
from core.llm.ledger import Ledger
from core.llm.models_asked import check_price, prices_of
from core.llm.run import Run
from core.packs.pack import Pack, load_pack
from core.records import ModelChoice
from core.settings.arms import ASSISTANT, BASE, SYSTEM, UNDERSTUDY, read_arm
from core.settings.model_names import model_settings
from core.settings.pipeline import Settings, load_settings
from core.storage.store import Store

if TYPE_CHECKING:
    from blocks.llama_process import LlamaProcess

SERVERS = 2
"""Number of GGUF files in memory at once: the base's and the understudy's. A further one replaces the least recently used."""
PROMPTED = "prompted base"


@dataclass(frozen=True)
class Plays:
    """A player, and the GGUF file or the model that plays it.

    Args:
        path: the GGUF file; None for a model of the settings.
        model: name of the model; empty for a GGUF file.
        about: a line about it for the person.
    """

    player: Player
    path: Path | None
    model: str
    about: str


@dataclass
class Company:
    """The models of a studio.

    Args:
        settings: path of the settings file, whose evaluation.arms, models, judges and budget apply.
        servers: the running llama.cpp servers by GGUF file, the least recently used first.
    """

    store: Store
    settings: str
    servers: "OrderedDict[Path, LlamaProcess]" = field(default_factory=OrderedDict)

    def players(self, domain: str) -> list[Plays]:
        """Return the players of a domain: the models that evaluation.arms names, or the files of the latest export.

        Raises:
            UnderstudyError: there is neither; the message says what to do.
        """
        pack, config = load_pack(domain), load_settings(self.settings)
        prompts = {SYSTEM: pack.system(), ASSISTANT: pack.instructions(ASSISTANT)}
        arms = {name: read_arm(name, text) for name, text in config.evaluation.arms.items()}
        named = {name: words for name, words in arms.items() if words.literal and words.prompt in prompts}
        if BASE in named and len(named) > 1:
            return [Plays(Player(name=name, model=arm.model, system=prompts[arm.prompt]), None, arm.model, arm.model) for name, arm in named.items()]
        from blocks.chat_parts import find_parts

        base, understudy = find_parts(pack, None, BASE)
        played = ((BASE, base, understudy.system), (PROMPTED, base, prompts[ASSISTANT]), (UNDERSTUDY, understudy, understudy.system))
        notes = {PROMPTED: ", with the detailed prompt that the training data is written with"}
        return [Plays(Player(name=name, model=part.path.name, system=system), part.path, "", part.about + notes.get(name, "")) for name, part, system in played]

    async def reply(self, chat: Chat, number: int, name: str, text: str, ended: list[str]) -> AsyncIterator[str]:
        """Yield a player's answer to a message; in pieces if it is a GGUF file, and as a whole otherwise.

        Args:
            number: number of the message in the chat.
            name: name of the player.
            text: the message.
            ended: receives how the answer ended, "stop" or "length".

        Raises:
            UnderstudyError: no answer arrived.
        """
        plays = next(plays for plays in self.players(chat.domain) if plays.player.name == name)
        exchanges = history(self.store, chat, number, name)
        messages = [part for user, assistant in exchanges for part in (("user", user), ("assistant", assistant))] + [("user", text)]
        config = load_settings(self.settings)
        if plays.path:
            async for piece in self._played(plays.path, plays.player.system, messages, config, ended):
                yield piece
            return
        model = await self.open(chat.domain, plays.model, f"chat-{chat.domain}")
        request = ChatRequest(
            role="assistant",
            system=plays.player.system,
            messages=tuple(Message(role, content) for role, content in messages),  # ty: ignore[invalid-argument-type]
            max_tokens=config.evaluation.max_tokens,
            seed=seed_of("chat", chat.id, number, name),
            item=f"chat-{chat.id}-{name}",
        )
        answer = await model.complete(request)
        ended.append("length" if answer.finish == "length" else "stop")
        yield answer.text

    async def _played(self, path: Path, system: str, messages: list[tuple[str, str]], config: Settings, ended: list[str]) -> AsyncIterator[str]:
        from blocks.chat_parts import play_options
        from blocks.llama_stream import Ending, stream_reply
        from core.llm.spoken import spoken

        chosen, ending = play_options(config, None, None), Ending()
        process = self._server(path, chosen.launch, chosen.program)
        sent = [{"role": role, "content": content} for role, content in (("system", system), *messages) if content]
        async with process.request() as server:
            async for piece in spoken(stream_reply(server, path, sent, chosen.temperature, chosen.max_tokens, ending)):
                yield piece
        ended.append("length" if ending.finish == "length" else "stop")

    def _server(self, path: Path, launch: dict[str, Any], program: str) -> "LlamaProcess":
        from blocks.llama_launch import Launch, find_program
        from blocks.llama_process import LlamaProcess

        if path not in self.servers:
            while len(self.servers) >= SERVERS:
                self.servers.popitem(last=False)[1].stop()
            self.servers[path] = LlamaProcess(Launch(path, **launch), find_program(program))
        self.servers.move_to_end(path)
        return self.servers[path]

    def stop(self) -> None:
        """Stop all llama.cpp servers and free their memory."""
        while self.servers:
            self.servers.popitem()[1].stop()

    async def open(self, domain: str, name: str, run: str) -> ChatModel:
        """Return a model of the settings. Its calls are rate-limited, retried, and billed to `run` within the budget.

        Raises:
            UnderstudyError: the model cannot be used, or has no price, so that the budget cannot be enforced.
        """
        from blocks.chat import choose, load_chat_model

        config, pack = load_settings(self.settings), load_pack(domain)
        choice: ModelChoice = choose(name, model_settings(config, name).options)
        check_price(config, choice.reference, choice.block)
        billed = self._run(config, pack, run)
        prices = prices_of(config, choice.reference, choice.block)
        return Caller(await load_chat_model(choice, pack), billed.limiter(choice), config.calls, prices, billed.ledger)

    def _run(self, config: Settings, pack: Pack, name: str) -> Run:
        return Run(name, pack, config, self.store, {}, Ledger(self.store, name, config.budget))

    async def judge(self, chat: Chat, player: str) -> "Any":
        """Return the assessment of the conversation with a player by the judges of the settings.

        Raises:
            UnderstudyError: the conversation is empty, or a judge cannot be used.
        """
        from blocks.tokens import count_tokens
        from core.imports.chats import transcript_of
        from core.judging.judge import assess
        from core.judging.judge_call import JudgeContext
        from core.judging.panel import combine_judges

        config, pack = load_settings(self.settings), load_pack(chat.domain)
        transcript = transcript_of(self.store, chat, player)
        names = config.roles.bound("assessment")["judge"]
        models = [await self.open(chat.domain, name, f"chat-{chat.domain}") for name in names]
        contexts = [JudgeContext(pack, model, transcript, config.assessment.judging, config.assessment.max_tokens, count=count_tokens) for model in models]
        assessments = await asyncio.gather(*(assess(context) for context in contexts))
        if len(assessments) == 1:
            return assessments[0]
        by_judge = {assessment.judge: assessment for assessment in assessments}
        return combine_judges(pack, by_judge, config.assessment.panel, len(transcript.exchanges))


def reason_of(error: BaseException) -> str:
    """Return why a reply did not arrive, as a sentence for the person."""
    return str(error) if isinstance(error, UnderstudyError) else f"The model did not answer ({type(error).__name__}). Send the message again."
