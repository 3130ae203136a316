"""Tokenizing conversations. A control token that a text quotes is tokenized as plain text.

A tokenizer reads `<|im_end|>` as one token wherever it occurs: a reply that quotes it would teach
the model to stop there, and a user's message could start another turn.
"""

import re
from importlib import import_module
from typing import Any, NamedTuple

from .dataset import Messages
from .events import JobError

Span = tuple[int, int]


class Encoded(NamedTuple):
    """A rendered conversation.

    Args:
        places: start and end of each token in `text`.
        learnt: for each token, whether the template marks it with {% generation %}.
    """

    text: str
    ids: list[int]
    places: list[Span]
    learnt: list[bool]


def encode_chat(
    tokenizer: Any, chat: Messages, template: str | None = None, prompt: bool = False
) -> Encoded:
    """Render and tokenize a conversation.

    Args:
        template: replaces the tokenizer's own chat template.
        prompt: whether to append the start of a reply.

    Raises:
        JobError: the tokenizer cannot read control tokens as text.
        jinja2.TemplateError: the template does not render it.
    """
    template = template or str(tokenizer.chat_template)
    controls = control_tokens(tokenizer)
    quoting = re.compile("|".join(map(re.escape, controls)) or r"(?!)")
    texts = "".join(message["content"] for message in chat)
    if not quoting.search(texts):
        text, spans = render_once(tokenizer, chat, template, prompt)
        options = {"add_special_tokens": False, "return_offsets_mapping": True}
        encoded = tokenizer(text, **options)
        ids, places = list(encoded["input_ids"]), list(encoded["offset_mapping"])
        return Encoded(text, ids, places, within(text, spans, places))
    # A private-use character within each quoted token keeps it from being read as one token.
    marker = next(chr(code) for code in range(0xE000, 0xF900) if chr(code) not in texts)
    hidden = [changed(quoting, lambda match: match[0][0] + marker + match[0][1:], m) for m in chat]
    marked, spans = render_once(tokenizer, hidden, template, prompt)
    ids, places = cut(tokenizer, marked, marker)
    plain = [changed(quoting, lambda match: "x" * len(match[0]), m) for m in chat]
    text, _ = render_once(tokenizer, plain, template, prompt)
    if cut(tokenizer, text, marker)[0] != tokenizer(text, add_special_tokens=False)["input_ids"]:
        quoted = sorted(set(quoting.findall(texts)))
        wrong = f"A text quotes the control tokens {', '.join(quoted)}, which this tokenizer cannot"
        raise JobError(f"{wrong} read as text; remove them from the conversations.")
    before = [0]
    for character in marked:
        before.append(before[-1] + (character != marker))
    unmarked = [(before[start], before[end]) for start, end in spans]
    text = marked.replace(marker, "")
    return Encoded(text, ids, places, within(text, unmarked, places))


def is_marked(template: str) -> bool:
    """Return whether a template marks the assistant's replies."""
    return bool(re.search(r"\{%-?\s*generation\s*-?%\}", template))


def control_tokens(tokenizer: Any) -> dict[str, str]:
    """Return the control tokens, longest first, each with the pattern that it matches in a text."""
    tokens = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
    blanks = {True: r"\s*", False: ""}
    return {
        token.content: blanks[token.lstrip] + re.escape(token.content) + blanks[token.rstrip]
        for token in sorted(tokens, key=lambda token: len(token.content), reverse=True)
        if token.content
    }


def changed(pattern: re.Pattern[str], change: Any, message: dict[str, str]) -> dict[str, str]:
    return {**message, "content": pattern.sub(change, message["content"])}


def render_once(
    tokenizer: Any, chat: Messages, template: str, prompt: bool
) -> tuple[str, list[Span]]:
    """Return the rendered text, and start and end of the parts that the template marks."""
    render: Any = import_module("transformers.utils.chat_template_utils").render_jinja_template
    rendered, spans = render(
        [chat],
        chat_template=template,
        return_assistant_tokens_mask=is_marked(template),
        add_generation_prompt=prompt,
        **tokenizer.special_tokens_map,
    )
    return rendered[0], spans[0] if spans else []


def cut(tokenizer: Any, marked: str, marker: str) -> tuple[list[int], list[Span]]:
    """Tokenize a rendered text in pieces: the template's control tokens, and the text between them.

    Returns:
        The tokens, and the start and end of each in the text without markers.
    """
    controls, ids, places, at, begin = control_tokens(tokenizer), [], list[Span](), 0, 0
    numbers = {token: tokenizer.convert_tokens_to_ids(token) for token in controls}
    options = {"add_special_tokens": False, "return_offsets_mapping": True}
    for match in [*re.finditer("|".join(controls.values()) or r"(?!)", marked), None]:
        piece = marked[begin : match.start() if match else None].replace(marker, "")
        if piece:
            encoded = tokenizer(piece, split_special_tokens=True, **options)
            ids += encoded["input_ids"]
            places += [(at + start, at + end) for start, end in encoded["offset_mapping"]]
            at += len(piece)
        if match:
            token = match[0] if match[0] in numbers else match[0].strip()
            ids.append(numbers[token])
            places.append((at, at + len(match[0])))
            at, begin = at + len(match[0]), match.end()
    return ids, places


def within(text: str, spans: list[Span], places: list[Span]) -> list[bool]:
    """Return for each token whether it overlaps a span, or lies between two tokens that do.

    Whitespace at the start of a span is excluded: no reply starts with any, but TRL's template for
    Qwen2.5 marks the line break that is part of the prompt in use.
    """
    marks = [False] * len(places)
    for begin, last in spans:
        first = last - len(text[begin:last].lstrip())
        touched = [n for n, (start, end) in enumerate(places) if start < last and first < end]
        if touched:
            marks[touched[0] : touched[-1] + 1] = [True] * (touched[-1] + 1 - touched[0])
    return marks
