"""A chat as the seed of an evaluation's persona: what the person wrote becomes what the persona has on its mind."""

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
"""Below the data root: personas from chats, a file for each domain."""
FIRST_SEED = 1_000_000
"""Of personas from chats; seeds of generation and evaluation are far below."""
LONGEST = 600
"""Characters of a topic's description."""


def keep_persona(store: Store, chat: Chat, transcript: Transcript) -> str:
    """Add a persona to the domain's file, and return the file's name: `understudy evaluate --personas` reads it.

    The rest of the persona is the pack's, drawn by a seed that follows from the chat; the same chat gives the same persona, once.
    """
    pack, name = load_pack(chat.domain), f"{FOLDER}/{chat.domain}-from-chats.json"
    drawn = sample_persona(pack, FIRST_SEED + seed_of("chat", chat.id) % (MAX_SEED - FIRST_SEED))
    about = " ".join(" ".join(said.user.split()) for said in transcript.exchanges[:2])[:LONGEST]
    first, *rest = drawn.topics
    persona = drawn.model_copy(update={"topics": [first.model_copy(update={"description": about}), *rest]})
    with locked(store, name.removesuffix(".json"), 10.0):
        there = read_personas(Path(store.local(name)), pack, None) if store.exists(name) else []
        if persona.seed not in {one.seed for one in there}:
            store.write_json(name, [one.model_dump(mode="json") for one in (*there, persona)])
    return name
