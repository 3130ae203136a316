"""Personas for evaluations from chats: the person's first messages become the persona's first topic."""

from pathlib import Path

from core.evaluation.fresh_personas import read_personas
from core.fingerprint import seed_of
from core.imports.chats import Chat
from core.packs.pack import load_pack
from core.quantities import MAX_SEED
from core.records import Transcript
from core.rehearsal.personas import sample_persona
from core.storage.locks import locked
from core.storage.store import Store

FOLDER = "personas"
"""Folder below the data root with the personas from chats, one file per domain."""
FIRST_SEED = 1_000_000
"""Lowest seed of personas from chats. The seeds of generation and evaluation are far below it."""
MAX_DESCRIPTION = 600
"""Maximum characters of a topic's description."""


def keep_persona(store: Store, chat: Chat, transcript: Transcript) -> str:
    """Add a persona to the domain's file, which `understudy evaluate --personas` reads; return the file's name.

    The rest of the persona is drawn from the pack with a seed that is derived from the chat. The same chat always gives the same persona, which is added
    once.

    Args:
        chat: the chat, with its domain.
        transcript: the chat's conversation; the first two messages of the user are used.
    """
    pack, name = load_pack(chat.domain), f"{FOLDER}/{chat.domain}-from-chats.json"
    drawn = sample_persona(pack, FIRST_SEED + seed_of("chat", chat.id) % (MAX_SEED - FIRST_SEED))
    about = " ".join(" ".join(exchange.user.split()) for exchange in transcript.exchanges[:2])[:MAX_DESCRIPTION]
    first, *rest = drawn.topics
    persona = drawn.model_copy(update={"topics": [first.model_copy(update={"description": about}), *rest]})
    with locked(store, name.removesuffix(".json"), 10.0):
        existing = read_personas(Path(store.local(name)), pack, None) if store.exists(name) else []
        if persona.seed not in {one.seed for one in existing}:
            store.write_json(name, [one.model_dump(mode="json") for one in (*existing, persona)])
    return name
