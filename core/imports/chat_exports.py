"""Reads conversations that chat programs export and vendors' interfaces log, as lists of messages in order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import TranscriptError
from core.imports.message_shapes import HIDDEN, Message, read_message

BRANCHES = "messages of other branches (edited or asked again) left out"
"""Note for the report of an import; a transcript stores it with the number of such messages."""


def chatgpt(data: Mapping[str, Any]) -> tuple[list[Message], Counter[str]]:
    """Read a conversation of ChatGPT's export: a tree of messages (`mapping`), of which the branch that was shown last (`current_node`) is used.

    Returns:
        The messages, and the notes on what was left out with their numbers.

    Raises:
        TranscriptError: the tree has a cycle.
    """
    nodes = {str(name): node for name, node in data["mapping"].items() if isinstance(node, Mapping)}
    parents = {name: node.get("parent") for name, node in nodes.items()}
    leaf = _name(data.get("current_node"))
    branch = _branch(parents, leaf if leaf in nodes else next(reversed(nodes), None))
    used = set(branch)
    with_message = [(name, node["message"]) for name, node in nodes.items() if isinstance(node.get("message"), Mapping)]
    messages, notes = [], Counter({BRANCHES: sum(name not in used and _shown(message) for name, message in with_message)})
    for number, name in enumerate(branch, 1):
        message = nodes[name].get("message")
        if not isinstance(message, Mapping):
            continue
        if not _shown(message):
            notes[HIDDEN] += _has_words(message)
            continue
        read = read_message(message, number)
        if message.get("recipient", "all") != "all":  # a message from the assistant to a tool
            read.role = "tool"
        messages.append(read)
    return messages, notes


def claude(data: Mapping[str, Any]) -> tuple[list[Message], Counter[str]]:
    """Read a conversation of Claude's export (`chat_messages`); if messages name their parents, only the last branch is used."""
    items = [item for item in data["chat_messages"] if isinstance(item, Mapping)]
    parents = {str(item.get("uuid")): _name(item.get("parent_message_uuid")) for item in items}
    if len(parents) < len(items) or not any(parent in parents for parent in parents.values()):
        return [read_message(item, number) for number, item in enumerate(items, 1)], Counter()
    leaf = _name(data.get("current_leaf_message_uuid"))
    branch = set(_branch(parents, leaf if leaf in parents else str(items[-1].get("uuid"))))
    used = [item for item in items if str(item.get("uuid")) in branch]
    return [read_message(item, number) for number, item in enumerate(used, 1)], Counter({BRANCHES: len(items) - len(used)})


def gemini(data: Mapping[str, Any]) -> tuple[list[Message], Counter[str]]:
    """Read a request to Gemini: `contents` with `parts`, and `systemInstruction`. A content without a role is a message of the user."""
    instruction = data.get("systemInstruction") or data.get("system_instruction")
    system = [{"role": "system", "content": instruction}] if instruction else []
    contents: Sequence[Any] = data["contents"]
    items = [{"role": "user", **item} if isinstance(item, Mapping) and not item.get("role") else item for item in contents]
    return [read_message(item, number) for number, item in enumerate([*system, *items], 1)], Counter()


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _branch(parents: Mapping[str, Any], leaf: str | None) -> list[str]:
    """Return the names of the nodes from the root to a leaf."""
    branch: list[str] = []
    seen = set[str]()
    while isinstance(leaf, str) and leaf in parents:
        if leaf in seen:
            raise TranscriptError("messages that follow each other in a circle. Remove it.")
        seen.add(leaf)
        branch.append(leaf)
        leaf = parents[leaf]
    return branch[::-1]


def _shown(message: Mapping[str, Any]) -> bool:
    metadata, content = message.get("metadata"), message.get("content")
    author = message.get("author")
    role = author.get("role") if isinstance(author, Mapping) else None
    hidden = isinstance(metadata, Mapping) and metadata.get("is_visually_hidden_from_conversation")
    context = isinstance(content, Mapping) and content.get("content_type") in ("user_editable_context", "model_editable_context")
    return not hidden and not context and not (role == "system" and not _has_words(message))


def _has_words(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if not isinstance(content, Mapping):
        return bool(content)
    return any(part for part in content.get("parts") or [] if part != "") or bool(content.get("text") or content.get("user_instructions"))
