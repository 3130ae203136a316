"""Stores the studio's chats, in which a person writes to several models at once: messages, replies and the person's marks.

Each message, reply and mark has a small file of its own, so that replies that arrive at the same time never write to the same file.
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
MAX_MESSAGE, MAX_NOTE, MAX_TERM = 20_000, 4_000, 500
"""Largest number of characters of a message, of a note on a reply, and of a stated licence or consent."""
ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}")


class Player(Record):
    """A model that takes part in a chat.

    Args:
        name: name of the player in the chat.
        model: description of the model for people.
        system: the system prompt.
    """

    name: str
    model: str
    system: str


class Chat(Record):
    """A chat with several models."""

    id: str
    domain: DomainName
    created_at: str
    players: list[Player] = Field(min_length=1)


class Message(Record):
    """A message of the person."""

    text: str


class Said(Record):
    """A reply of a model.

    Args:
        ended: how the reply ended; `stopped` means by the person or with the studio.
        why: the reason if it failed.
    """

    text: str
    ended: Literal["stop", "length", "stopped", "failed"]
    why: str = ""


class Mark(Record):
    """The person's mark on a reply: thumb up (1), thumb down (−1) or neither (0), and a note."""

    thumb: Literal[-1, 0, 1] = 0
    note: str = ""


class Turn(Record):
    """A message with the replies and marks, by player."""

    number: int
    text: str
    replies: dict[str, Said]
    marks: dict[str, Mark]


def begin_chat(store: Store, domain: str, players: Sequence[Player]) -> Chat:
    """Create a chat and store it."""
    now = datetime.now(UTC)
    chat = Chat(id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}", domain=domain, created_at=now.isoformat(timespec="seconds"), players=list(players))
    store.write_json(f"{FOLDER}/{chat.id}/chat.json", chat)
    return chat


def read_chat(store: Store, name: str) -> Chat:
    """Return a chat.

    Raises:
        TranscriptError: no chat has this name.
    """
    if not ID.fullmatch(name) or not store.exists(f"{FOLDER}/{name}/chat.json"):
        raise TranscriptError(f"{name[:60]!r} is not a chat in {store.root}/{FOLDER}. Start one on the studio's page for chats.")
    return store.load(f"{FOLDER}/{name}/chat.json", Chat)


def chats(store: Store) -> list[Chat]:
    """Return all chats that can be read, the latest first."""
    names = [f"{folder}/chat.json" for folder in store.names(FOLDER) if ID.fullmatch(folder.rpartition("/")[2]) and store.exists(f"{folder}/chat.json")]
    return list(reversed(store.load_all(names, Chat)[0].values()))


def say(store: Store, chat: Chat, text: str) -> int:
    """Store a message of the person, and return its number.

    Raises:
        TranscriptError: the message is empty or too long.
    """
    if not text.strip() or len(text) > MAX_MESSAGE:
        raise TranscriptError(f"The message has {len(text.strip()):,} characters. Allowed: 1 to {MAX_MESSAGE:,}.")
    folder = f"{FOLDER}/{chat.id}/messages"
    number = len(store.names(folder, ".json")) + 1
    if store.is_local:
        store.local(f"{folder}/x")  # creates the folder
    while not store.create(f"{folder}/{number:04}.json", Message(text=text.strip()).model_dump_json().encode()):
        number += 1  # another window has used this number
    return number


def keep_reply(store: Store, chat: Chat, number: int, player: str, reply: Said) -> None:
    """Store a reply; it replaces an earlier reply of the same player to the same message."""
    store.write_json(f"{FOLDER}/{chat.id}/replies/{number:04}-{_plain(player)}.json", reply)


def mark(store: Store, chat: Chat, number: int, player: str, thumb: int, note: str) -> None:
    """Store the person's mark on a reply.

    Raises:
        TranscriptError: the note is too long.
    """
    if len(note) > MAX_NOTE:
        raise TranscriptError(f"The note has {len(note):,} characters; {MAX_NOTE:,} are allowed. Shorten it.")
    store.write_json(f"{FOLDER}/{chat.id}/marks/{number:04}-{_plain(player)}.json", Mark.model_validate({"thumb": thumb, "note": note}))


def turns(store: Store, chat: Chat) -> list[Turn]:
    """Return the messages with their replies and marks, in order."""
    result = []
    for number, name in enumerate(store.names(f"{FOLDER}/{chat.id}/messages", ".json"), 1):
        replies, marks = dict[str, Said](), dict[str, Mark]()
        for player in chat.players:
            for kind, model, into in (("replies", Said, replies), ("marks", Mark, marks)):
                place = f"{FOLDER}/{chat.id}/{kind}/{number:04}-{_plain(player.name)}.json"
                if store.exists(place):
                    into[player.name] = store.load(place, model)  # ty: ignore[invalid-assignment]
        result.append(Turn(number=number, text=store.load(name, Message).text, replies=replies, marks=marks))
    return result


def history(store: Store, chat: Chat, number: int, player: str) -> list[tuple[str, str]]:
    """Return the messages before a given one, each with the player's reply; messages without a reply are left out."""
    return [(turn.text, turn.replies[player].text) for turn in turns(store, chat)[: number - 1] if player in turn.replies and turn.replies[player].text.strip()]


def transcript_of(store: Store, chat: Chat, player: str) -> Transcript:
    """Return the conversation with one player as a transcript.

    Raises:
        TranscriptError: the player has not replied.
    """
    players = {item.name: item for item in chat.players}
    replied = [(turn.text, turn.replies[player].text) for turn in turns(store, chat) if player in turn.replies and turn.replies[player].text.strip()]
    if player not in players or not replied:
        raise TranscriptError(f"{player[:40]!r} has not answered in this chat yet. Send a message first.")
    return Transcript(
        id=f"chat-{chat.id}-{_plain(player)}",
        exchanges=[Exchange(exchange_number=number, user=user, assistant=assistant) for number, (user, assistant) in enumerate(replied, 1)],
        created_at=chat.created_at,
        system=players[player].system,
        provenance={"source": "chat", "model": players[player].model},
    )


def keep_for_training(store: Store, transcript: Transcript, licence: str, consent: str) -> str:
    """Store a chat that a person has reviewed as an import with its terms, and return the name of the folder.

    Raises:
        TranscriptError: the licence or the consent is missing or too long.
    """
    from core.imports.stored import IMPORTED  # noqa: PLC0415  # loads pyarrow, which other pages do not need

    terms = {"licence": licence.strip(), "consent": consent.strip()}
    for name, text in terms.items():
        if not 1 <= len(text) <= MAX_TERM:
            raise TranscriptError(f"The {name} has {len(text)} characters. Allowed: 1 to {MAX_TERM}: it appears in the card of what is made from it.")
    stated: dict[str, Any] = {"origin": "a chat in the studio", **terms, "replaced": None}
    place = f"{IMPORTED}/{transcript.id.lower()}-{fingerprint([transcript.model_dump(), stated])[:6]}"
    store.write_json(f"{place}/{fingerprint(transcript.id)}.json", transcript)
    store.write_json(f"{place}.json", {"terms": stated, "transcripts": 1, "files": 1, "left_out": {}, "notes": {}, "unread": {}})
    return place


def _plain(player: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", player.lower()).strip("-")[:40]
    return plain if plain == player else f"{plain}-{fingerprint(player)[:6]}".strip("-")
