"""Chat pages: base, prompted base and understudy answer a person's message side by side."""

import json
from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from core.errors import TranscriptError, UnderstudyError
from core.imports.chats import FOLDER, Chat, Said, begin_chat, chats, keep_for_training, keep_reply, mark, read_chat, say, transcript_of, turns
from core.packs.pack import load_pack
from core.packs.places import domains
from core.storage.locks import owning
from studio.chat_models import Company, reason_of
from studio.forms import form_of
from studio.pages import page, store_of


def company_of(request: Request) -> Company:
    """Return the models of the studio."""
    return request.app.state.company


def overview(request: Request) -> Response:
    """Show the chats, the domains with models to chat with, and for the other domains what to do."""
    able, unable = {}, {}
    for domain in sorted(domains()):
        try:
            able[domain] = company_of(request).players(domain)
        except UnderstudyError as error:
            unable[domain] = str(error)
    return page(request, "chats", able=able, unable=unable, chats=chats(store_of(request)))


async def begin(request: Request) -> Response:
    """Start a chat."""
    form = await form_of(request)
    return await run_in_threadpool(_begin, request, form.get("domain", ""))


def _begin(request: Request, domain: str) -> Response:
    playing = company_of(request).players(load_pack(domain).name)
    chat = begin_chat(store_of(request), domain, [plays.player for plays in playing])
    return RedirectResponse(f"/chat/{chat.id}", 303)


def show(request: Request) -> Response:
    """Show a chat."""
    store, chat = store_of(request), _chat(request)
    pack = load_pack(chat.domain)
    judged = {}
    for player in chat.players:
        path = f"{FOLDER}/{chat.id}/judged/{quote(player.name, safe='')}.json"
        if store.exists(path):
            judged[player.name] = store.load_json(path)
    names = {key: item.head.name for key, item in pack.rubric.criteria.items()}
    notice = pack.notice or pack.intended_use
    return page(request, "chat", chat=chat, turns=turns(store, chat), judged=judged, names=names, notice=notice, kept=request.query_params.get("kept", ""))


async def message(request: Request) -> Response:
    """Store the person's message. The page then requests an answer from each player."""
    form = await form_of(request)
    number = await run_in_threadpool(say, store_of(request), _chat(request), form.get("text", ""))
    return JSONResponse({"number": number})


async def reply(request: Request) -> Response:
    """Stream a player's answer, and store as much of it as arrived.

    A second request for the same answer, at the same time or later, gets the stored one and pays for no other.
    """
    store, chat, (number, player) = store_of(request), _chat(request), _place(request)
    text = next((turn.text for turn in turns(store, chat) if turn.number == number), None)
    if text is None or player not in {known.name for known in chat.players}:
        raise HTTPException(404)

    async def pieces() -> AsyncIterator[str]:
        async with owning(store, f"{FOLDER}/{chat.id}/{number}-{quote(player, safe='')}", float("inf")):
            answer = turns(store, chat)[number - 1].replies.get(player)
            if answer and answer.ended in ("stop", "length"):
                yield json.dumps({"piece": answer.text}) + "\n"
            else:
                received, ended = list[str](), list[str]()
                try:
                    async for piece in company_of(request).reply(chat, number, player, text, ended):
                        received.append(piece)
                        yield json.dumps({"piece": piece}) + "\n"
                    answer = Said.model_validate({"text": "".join(received).strip(), "ended": ended[-1] if ended else "stop"})
                except UnderstudyError as error:
                    answer = Said(text="".join(received).strip(), ended="failed", why=reason_of(error))
                except BaseException:  # the person or the studio stopped it
                    keep_reply(store, chat, number, player, Said(text="".join(received).strip(), ended="stopped"))
                    raise
                keep_reply(store, chat, number, player, answer)
            yield json.dumps({"ended": answer.ended, "why": answer.why}) + "\n"

    return StreamingResponse(pieces(), media_type="application/x-ndjson")


async def marking(request: Request) -> Response:
    """Store a thumb and a note on an answer."""
    form, (number, player) = await form_of(request), _place(request)
    thumb = {"1": 1, "-1": -1, "0": 0}.get(form.get("thumb", "0"))
    chat = _chat(request)
    if thumb is None or player not in {known.name for known in chat.players}:
        raise TranscriptError(f"{form.get('thumb', '')[:10]!r} is not a mark. Allowed: 1, 0 and -1, of a player of the chat.")
    await run_in_threadpool(mark, store_of(request), chat, number, player, thumb, form.get("note", ""))
    return JSONResponse({"said": "Kept."})


async def judge(request: Request) -> Response:
    """Let the judges of the settings assess the conversation with a player."""
    form, chat = await form_of(request), _chat(request)
    store, name = store_of(request), f"{FOLDER}/{chat.id}/judged/{quote(form.get('player', ''), safe='')}"
    async with owning(store, name):  # a second click is refused, and not paid for
        store.write_json(f"{name}.json", await company_of(request).judge(chat, form.get("player", "")))
    return RedirectResponse(f"/chat/{chat.id}#judged", 303)


async def keep(request: Request) -> Response:
    """Turn a chat into a training conversation or an evaluation persona, once the person confirms that they have read it."""
    form = await form_of(request)
    return await run_in_threadpool(_keep, request, form)


def _keep(request: Request, form: dict[str, str]) -> Response:
    store, chat = store_of(request), _chat(request)
    if form.get("read") != "yes":
        raise TranscriptError("Read the conversation first and confirm it: a kept chat is trained on or played.")
    if form.get("as") == "persona":
        from core.views.chat_personas import keep_persona

        path = keep_persona(store, chat, transcript_of(store, chat, form.get("player", "")))
    else:
        path = keep_for_training(store, transcript_of(store, chat, form.get("player", "")), form.get("licence", ""), form.get("consent", ""))
    return RedirectResponse(f"/chat/{chat.id}?kept={quote(path)}#kept", 303)


def _chat(request: Request) -> Chat:
    return read_chat(store_of(request), request.path_params["chat"])


def _place(request: Request) -> tuple[int, str]:
    return request.path_params["number"], request.path_params["player"]


routes = [
    Route("/chat", overview),
    Route("/chat", begin, methods=["POST"]),
    Route("/chat/{chat}", show),
    Route("/chat/{chat}/say", message, methods=["POST"]),
    Route("/chat/{chat}/turns/{number:number}/{player}", reply, methods=["POST"]),
    Route("/chat/{chat}/turns/{number:number}/{player}/mark", marking, methods=["POST"]),
    Route("/chat/{chat}/judge", judge, methods=["POST"]),
    Route("/chat/{chat}/keep", keep, methods=["POST"]),
]
