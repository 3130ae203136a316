"""Conversations that people have with several models at once in the studio: what was said, what they thought of it, and what becomes of it.

A small file for each message, each reply and each mark, so that replies that come side by side never write the same one.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from core.errors import TranscriptError
from core.fingerprint import fingerprint
from core.records import DomainName, Exchange, Record, Transcript
from core.storage.store import Store

FOLDER = "chats"
LONGEST_MESSAGE, LONGEST_NOTE, LONGEST_TERM = 20_000, 4_000, 500
"""Characters of what a person types."""
ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}")


class Player(Record):
    """One who answers.

    Args:
        model: what it is, for people; system: the prompt that it plays under.
    """

    name: str
    model: str
    system: str


class Chat(Record):
    """A conversation with several models."""

    id: str
    domain: DomainName
    created_at: str
    players: list[Player] = Field(min_length=1)


class Message(Record):
    """What the person wrote."""

    text: str


class Said(Record):
    """A reply.

    Args:
        ended: how it ended; `stopped` by the person or with the studio, `failed` with the reason in `why`.
    """

    text: str
    ended: Literal["stop", "length", "stopped", "failed"]
    why: str = ""


class Mark(Record):
    """What the person thinks of a reply: up 1, down −1, and a note."""

    thumb: Literal[-1, 0, 1] = 0
    note: str = ""


class Turn(Record):
    """A message with what came of it, by player."""

    number: int
    text: str
    replies: dict[str, Said]
    marks: dict[str, Mark]


def begin_chat(store: Store, domain: str, players: Sequence[Player]) -> Chat:
    """Begin a conversation and keep it."""
    now = datetime.now(UTC)
    made = Chat(id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}", domain=domain, created_at=now.isoformat(timespec="seconds"), players=list(players))
    store.write_json(f"{FOLDER}/{made.id}/chat.json", made)
    return made


def read_chat(store: Store, name: str) -> Chat:
    """Return a conversation.

    Raises:
        TranscriptError: there is none of this name.
    """
    if not ID.fullmatch(name) or not store.exists(f"{FOLDER}/{name}/chat.json"):
        raise TranscriptError(f"{name[:60]!r} is not a chat in {store.root}/{FOLDER}. Start one on the studio's page for chats.")
    return store.load(f"{FOLDER}/{name}/chat.json", Chat)


def chats(store: Store) -> list[Chat]:
    """Return all conversations, the latest first; what cannot be read is left out."""
    names = [f"{folder}/chat.json" for folder in store.names(FOLDER) if ID.fullmatch(folder.rpartition("/")[2]) and store.exists(f"{folder}/chat.json")]
    return list(reversed(store.load_all(names, Chat)[0].values()))


def say(store: Store, chat: Chat, text: str) -> int:
    """Keep what the person wrote, and return its number.

    Raises:
        TranscriptError: it is empty or too long.
    """
    if not text.strip() or len(text) > LONGEST_MESSAGE:
        raise TranscriptError(f"The message has {len(text.strip()):,} characters. Allowed: 1 to {LONGEST_MESSAGE:,}.")
    folder = f"{FOLDER}/{chat.id}/messages"
    number = len(store.names(folder, ".json")) + 1
    if store.is_local:
        store.local(f"{folder}/x")  # makes the folder
    while not store.create(f"{folder}/{number:04}.json", Message(text=text.strip()).model_dump_json().encode()):
        number += 1  # another window was quicker
    return number


def keep_reply(store: Store, chat: Chat, number: int, player: str, said: Said) -> None:
    """Keep a reply; one that was asked for again replaces the first."""
    store.write_json(f"{FOLDER}/{chat.id}/replies/{number:04}-{_plain(player)}.json", said)


def mark(store: Store, chat: Chat, number: int, player: str, thumb: int, note: str) -> None:
    """Keep what the person thinks of a reply.

    Raises:
        TranscriptError: the note is too long.
    """
    if len(note) > LONGEST_NOTE:
        raise TranscriptError(f"The note has {len(note):,} characters; {LONGEST_NOTE:,} are allowed. Shorten it.")
    store.write_json(f"{FOLDER}/{chat.id}/marks/{number:04}-{_plain(player)}.json", Mark.model_validate({"thumb": thumb, "note": note}))


def turns(store: Store, chat: Chat) -> list[Turn]:
    """Return what was said, in order."""
    found = []
    for number, name in enumerate(store.names(f"{FOLDER}/{chat.id}/messages", ".json"), 1):
        replies, marks = dict[str, Said](), dict[str, Mark]()
        for player in chat.players:
            for kind, model, into in (("replies", Said, replies), ("marks", Mark, marks)):
                place = f"{FOLDER}/{chat.id}/{kind}/{number:04}-{_plain(player.name)}.json"
                if store.exists(place):
                    into[player.name] = store.load(place, model)  # ty: ignore[invalid-assignment]
        found.append(Turn(number=number, text=store.load(name, Message).text, replies=replies, marks=marks))
    return found


def history(store: Store, chat: Chat, number: int, player: str) -> list[tuple[str, str]]:
    """Return what a player has heard and said before a message."""
    return [(turn.text, turn.replies[player].text) for turn in turns(store, chat)[: number - 1] if player in turn.replies and turn.replies[player].text.strip()]


def transcript_of(store: Store, chat: Chat, player: str) -> Transcript:
    """Return the conversation with one player as a transcript.

    Raises:
        TranscriptError: nothing was said by this player.
    """
    playing = {one.name: one for one in chat.players}
    said = [(turn.text, turn.replies[player].text) for turn in turns(store, chat) if player in turn.replies and turn.replies[player].text.strip()]
    if player not in playing or not said:
        raise TranscriptError(f"{player[:40]!r} has said nothing in this chat yet. Write a message first.")
    return Transcript(
        id=f"chat-{chat.id}-{_plain(player)}",
        exchanges=[Exchange(exchange_number=number, user=user, assistant=assistant) for number, (user, assistant) in enumerate(said, 1)],
        created_at=chat.created_at,
        system=playing[player].system,
        provenance={"source": "chat", "model": playing[player].model},
    )


def keep_for_training(store: Store, transcript: Transcript, licence: str, consent: str) -> str:
    """Write a chat that a person has read as an import, with what was stated of it; return the folder's name.

    Raises:
        TranscriptError: licence or consent is missing, or too long.
    """
    from core.imports.taking_in import IMPORTED  # noqa: PLC0415  # loads pyarrow, which the other pages need not

    terms = {"licence": licence.strip(), "consent": consent.strip()}
    for name, text in terms.items():
        if not 1 <= len(text) <= LONGEST_TERM:
            raise TranscriptError(f"The {name} has {len(text)} characters. Allowed: 1 to {LONGEST_TERM}: it appears in the card of what is made from it.")
    stated: dict[str, Any] = {"origin": "a chat in the studio", **terms, "replaced": None}
    place = f"{IMPORTED}/{transcript.id.lower()}-{fingerprint([transcript.model_dump(), stated])[:6]}"
    store.write_json(f"{place}/{fingerprint(transcript.id)}.json", transcript)
    store.write_json(f"{place}.json", {"terms": stated, "transcripts": 1, "files": 1, "left_out": {}, "notes": {}, "unread": {}})
    return place


def _plain(player: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", player.lower()).strip("-")[:40]
    return plain if plain == player else f"{plain}-{fingerprint(player)[:6]}".strip("-")
