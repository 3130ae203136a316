"""A conversation with a model in the terminal, or line by line through a pipe. It needs neither Prefect nor a Prefect server."""

import asyncio
import contextlib
import json
import signal
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from blocks.chat_parts import Chosen, Part, find_parts, play_options
from blocks.llama_launch import Launch, find_program
from blocks.llama_process import AGAIN, LlamaProcess
from blocks.llama_stream import Ending, stream_reply
from core.errors import ContextError, ModelError, SettingsError, nearest
from core.llm.spoken import spoken
from core.packs.pack import load_pack
from core.records import Exchange, Transcript
from core.settings.pipeline import load_settings
from core.terminal import one_line, show, show_error, show_text

STOPPED = 130
"""Exit code after Ctrl-C, as in shells."""
COMMANDS = {
    "/new": "begin a new conversation",
    "/system": "show the system prompt",
    "/save FILE": "write the conversation as JSON",
    "/quit": "leave",
}


@dataclass
class Player:
    """A model, its server, and the conversation with it."""

    part: Part
    process: LlamaProcess
    exchanges: list[Exchange] = field(default_factory=list)

    def messages(self, text: str) -> list[dict[str, str]]:
        """Return the messages of a request: the system prompt, the conversation so far, and a new message."""
        history = [message for exchange in self.exchanges for message in (("user", exchange.user), ("assistant", exchange.assistant))]
        system = [("system", self.part.system)] if self.part.system else []
        return [{"role": role, "content": content} for role, content in (*system, *history, ("user", text))]


def chat(
    domain: str = "therapeutic-coaching",
    against: str | None = None,
    model: Path | None = None,
    open_page: bool = False,
    settings: str = "config/pipeline.yaml",
    temperature: float | None = None,
    max_tokens: int | None = None,
) -> int:
    """Talk to the latest understudy, with the system prompt that it was trained with.

    The model runs on this machine. Nothing is sent elsewhere, and nothing is stored unless you type /save FILE.

    Args:
        domain: name of a domain pack.
        against: a second model that answers the same messages: `base`, or the path of a GGUF file.
        model: a GGUF file; default: the understudy of the domain's latest export.
        open_page: open llama.cpp's web page in the browser instead of a chat in the terminal.
        settings: path of the settings file; its models.llama-server.options apply.
        temperature: sampling temperature; 0 always chooses the most likely token; default: from the settings.
        max_tokens: maximum length of a reply in tokens; default: evaluation.max_tokens of the settings.

    Returns:
        The exit code.

    Raises:
        UnderstudyError: no model was found, or its server does not run.
    """
    if open_page and against:
        raise SettingsError("--open shows one model. Leave out --against, or chat with both in the terminal.")
    pack, chosen = load_pack(domain), play_options(load_settings(settings), temperature, max_tokens)
    parts = find_parts(pack, model, against)
    program = find_program(chosen.program)
    notice = pack.notice or pack.intended_use
    _introduce(parts, notice)
    page = _page(parts[-1], chosen, notice) if open_page else None
    players = [Player(part, LlamaProcess(Launch(part.path, **chosen.launch, page=page), program)) for part in parts]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # stops a reply, not the chat
    try:
        with asyncio.Runner() as runner:
            runner.run(_start(players))
            return runner.run(_show_page(players[0])) if open_page else _converse(runner, players, chosen)
    except KeyboardInterrupt:
        return 0 if open_page else STOPPED
    finally:
        for player in players:
            player.process.stop()


def _introduce(parts: Sequence[Part], notice: str) -> None:
    width = max(len(part.name) for part in parts)
    for part in parts:
        _tell(f"{part.name:<{width}}  {part.path.name} ({part.path.stat().st_size / 1e6:,.1f} MB): {part.about}.")
    for caveat in dict.fromkeys(caveat for part in parts for caveat in part.caveats):
        _tell(f"Caveat: {caveat}")
    if notice:
        _tell("", notice)
    _tell("")


async def _start(players: Sequence[Player]) -> None:
    await asyncio.gather(*(player.process.start() for player in players))


def _converse(runner: asyncio.Runner, players: Sequence[Player], chosen: Chosen) -> int:
    """Answer messages until the input ends; return the exit code."""
    live = sys.stdin.isatty()
    if live:
        _tell(f"{', '.join(COMMANDS)}. Ctrl-C stops a reply, Ctrl-D leaves.", "")
    lines, interrupted = _typed() if live else _piped(), False
    while True:
        try:
            line = next(lines, None)
            if line is None:
                return 0
            interrupted = False
            if line.startswith("/"):
                if _obey(line, players):
                    return 0
            elif line:
                for player in players:
                    runner.run(_answer(player, line, chosen))
        except KeyboardInterrupt:
            if interrupted or not live:
                return STOPPED
            interrupted, lines = True, _typed()  # a generator that was interrupted has ended
            _tell("", "(Ctrl-C once more leaves.)")
        except ModelError as error:
            if not live:
                raise
            show_error(error)


def _typed() -> Iterator[str]:
    with contextlib.suppress(ImportError):  # history and line editing; Windows has no readline
        import readline  # noqa: F401, PLC0415
    with contextlib.suppress(EOFError):
        while True:
            yield input("you> ").strip()
    _tell("")


def _piped() -> Iterator[str]:
    for line in sys.stdin:
        text = str(line).strip()
        if text:
            _tell(f"you> {text}")
        yield text


def _obey(line: str, players: Sequence[Player]) -> bool:
    """Run a command such as /new; return whether it ends the chat."""
    name, _, argument = line.partition(" ")
    names = [command.partition(" ")[0] for command in COMMANDS]
    if name == "/new":
        for player in players:
            player.exchanges.clear()
        _tell("(A new conversation.)")
    elif name == "/system":
        show_text(players[-1].part.system or "(There is no system prompt.)", error=True)
    elif name == "/save":
        _save(argument.strip(), players)
    elif name not in names:
        _tell(f"Unknown command {name}.{nearest(name, names)} Allowed: {'; '.join(f'{command}: {what}' for command, what in COMMANDS.items())}.")
    return name == "/quit"


def _save(name: str, players: Sequence[Player]) -> None:
    """Write each conversation as a transcript; the file of a model compared with the understudy has that model's name added."""
    if not name:
        _tell("Name a file: /save FILE.")
    elif not players[-1].exchanges:
        _tell("The conversation is empty. Nothing was written.")
    else:
        for player in reversed(players):
            path = Path(name).expanduser()
            path = path if player is players[-1] else path.with_stem(f"{path.stem}-{player.part.name}")
            if not player.exchanges:
                continue
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(_transcript(player).model_dump_json(indent=1) + "\n")
            except FileExistsError:
                _tell(f"{path} exists already. Choose another name.")
            except OSError as error:
                _tell(f"Cannot write {path}: {error.strerror or error}. Choose another place.")
            else:
                _tell(f"Written: {path}")


def _transcript(player: Player) -> Transcript:
    now, part = datetime.now(UTC), player.part
    return Transcript(
        id=f"chat-{now:%Y%m%dT%H%M%S}-{part.name}",
        exchanges=player.exchanges,
        created_at=now.isoformat(timespec="seconds"),
        system=part.system,
        provenance={"source": "chat", "model": part.path.name},
    )


async def _answer(player: Player, text: str, chosen: Chosen) -> None:
    """Print a reply while it is generated and add it to the conversation; of a stopped reply, the part that was printed."""
    ending, pieces = Ending(), list[str]()
    show_text(one_line(f"{player.part.name}> "), end="")
    try:
        async with player.process.request() as server:
            async for piece in spoken(stream_reply(server, player.part.path, player.messages(text), chosen.temperature, chosen.max_tokens, ending)):
                pieces.append(piece)
                show_text(piece, end="")
    except ContextError as error:
        raise ContextError(f"{error} /new begins a new conversation; models.llama-server.options.context in the settings gives more room.") from error
    finally:
        show("")
        if reply := "".join(pieces).strip():
            player.exchanges.append(Exchange(exchange_number=len(player.exchanges) + 1, user=text, assistant=reply))
    if ending.finish == "length":
        _tell(f"({'Cut off' if reply else 'It only thought'} after {chosen.max_tokens} tokens; --max-tokens gives more room.)")
    elif not reply:
        _tell("(The reply is empty.)")


def _page(part: Part, chosen: Chosen, notice: str) -> str:
    """Return the settings of llama.cpp's web page as JSON, with the names that the page uses."""
    text = " ".join(notice.split()).replace("\\", "\\\\").replace('"', '\\"')
    style = "display:block;padding:.4rem 1rem;font-size:.7rem;line-height:1.3;text-align:center;opacity:.8"
    page = {
        "systemMessage": part.system,
        "showSystemMessage": True,
        "temperature": chosen.temperature,
        "max_tokens": chosen.max_tokens,
        "customJson": json.dumps({"tools": []}),  # otherwise the page offers tools and describes them to the model
        "customCss": f'form:has(textarea)::after{{content:"{text}";{style}}}' if text else "",
    }
    return json.dumps(page)


async def _show_page(player: Player) -> int:
    """Open the web page and serve it until Ctrl-C.

    Raises:
        UnderstudyError: the server died.
    """
    try:
        async with player.process.request() as server:
            address = f"{server.address}/"
            _tell(address, "No other machine on the network can reach this page; it keeps its conversations in your browser. Ctrl-C ends it.")
            if not await asyncio.to_thread(webbrowser.open, address):
                _tell("No browser was opened. Open the address yourself.")
            while server.process.poll() is None:
                await asyncio.sleep(1)
            raise ModelError("The server has ended.")
    except ModelError as error:  # no next request restarts the server: the page does not know a new address
        raise ModelError(f"{str(error).removesuffix(AGAIN)}Run the same command again.") from error


def _tell(*lines: object) -> None:
    """Print lines to standard error, so that a pipe gets only the replies."""
    show(*lines, error=True)
