"""What the writer of a message says itself: a message without the code, the screens and the words of others that stand in it."""

import re
from functools import lru_cache

_FENCED = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?(?:\1[`~]*|\Z)", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"(?<!`)(`{1,3})(?!`)[^`\n]+\1(?!`)")

_KEYWORDS = r"(?:async |export |public |private |static )*(?:def|class|function|const|let|var|import|from|return|interface|struct|func|fn|package)\b"
_COMMANDS = r"(?:git|npm|npx|pip3?|python3?|node|cd|ls|mkdir|cp|mv|rm|cat|sudo|docker|curl|conda|brew|apt)"
_PASTED_LINE = re.compile(
    "|".join(
        [
            r"(?: {4,}|\t)\s*(?![-*•]\s|\d+[.)]\s)\S",  # indented, but no item of a list
            r"\s*(?:>>>|\$|PS [A-Z]:\S*>|[A-Z]:\\\S*>)\s*\S*",  # a prompt of a shell
            rf"\s*{_KEYWORDS}[^.?!]*(?:[:;{{}}()\[\]=\\]|import \S+|^\s*import \S+|return \S+)\s*$",
            rf"\s*{_KEYWORDS}.*[({{=].*$",
            r"\s*import [\w.]+(?: as \w+)?\s*$|\s*return [\w.]+;?\s*$",
            r"\s*(?:for .+ in|while|if|elif|with|except|try|else)\b[^?!]*:\s*(?:#.*)?$",
            r"\s*for \w+ in [\w.()\[\]]+\s*$",
            r"\s*(?:for|if|while|switch|catch)\s*\(.*[{;)]\s*$|\s*[})\]]+.*[;{]?\s*$",
            r"\s*[A-Za-z_][\w.\[\]'\"]*\s*(?:=|\+=|-=|\*=|:=|=>)\s*\S",  # an assignment
            r"\s*(?:await )?[A-Za-z_][\w.]*\(.*\)\s*;?\s*$",  # a call
            rf"\s*{_COMMANDS}(?: [\w./~:@=*-]+){{1,6}}\s*$",
            r"\s*\[(?:[\d\s.,+*/e-]*|[^\]]*(?:'[^\]]*'|\"[^\]]*\"|=|_)[^\]]*)\]\s*,?\s*$",  # a list
            r"\s*\{.*[:\d'\"].*\}\s*,?\s*$|\s*(?:\[\]|\{\}|\(\))\s*$",  # a record
            r"\s*(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Warning|Interrupt)\b",
            r"\s*(?:Uncaught |npm ERR!|(?:error|fatal|warning|hint|CONFLICT)\b[^.?!\n]{0,30}[:\[(])",
            r"\s*File \".*\", line \d+|\s*at .+:\d+(?::\d+)?\)?\s*$|\s*\^+\s*$",
            r"\s*[!+*-] \[|\s*\[(?:INFO|DEBUG|WARN|WARNING|ERROR)\]",
            r"\s*</?(?!think|s>)[a-z][^>]*>.*$|\s*<!--.*$",  # markup
            r"\s*(?:#|//|--) ?\w.*$",  # a comment
            r"\s*[-\d.,\s|]*\d[-\d.,\s|]*$",  # a row of numbers
        ]
    )
)
_BLOCKS = (
    (re.compile(r"\s*Traceback \(most recent call last\)"), re.compile(r"(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Warning|Interrupt|Exit|Iteration)\b")),
    (re.compile(r"\s*<<<<<<< "), re.compile(r"\s*>>>>>>> ")),
)
_SYMBOLS, _SHARE_OF_SYMBOLS, _LEAST_SYMBOLS = frozenset("{}[]()=;"), 0.12, 3
"""A line of which so much is brackets and signs is code, whatever its language."""

_QUOTED = re.compile(
    r'"[^"\n]{1,600}"'
    r"|“[^”]{1,1500}”|„[^“”]{1,1500}[“”]|«[^»]{1,1500}»"
    r"|(?<!\w)[‘'](?:[^'’‘\n]|(?<=\w)['’](?=\w)){10,600}['’](?!\w)"
    r"|(?<!\*)\*(?=[A-Z])[^*\n]{25,600}\*"
    r"|^[ \t]*>(?!>>)[^\n]*$",
    re.MULTILINE,
)
_SAY = r"says?|said|writes?|wrote|asks?|asked|tells?|told|texted|replied|answered|goes|went|reads?"
_REPORTED = re.compile(
    rf"(?<![\w'])(?P<who>\w+) (?:just |always |even |keep |kept )?(?:{_SAY}|saying|asking)\b(?: (?:me|him|her|us|them|my \w+))?[ ,:]*(?P<what>[^.?!\n]*[.?!]?)",
    re.IGNORECASE,
)
_ABOUT_THE_OTHER = re.compile(r"(?:that |about |me )?(?:you|your)\b(?! (?:are not sure|aren't sure|do not|don't|can't|cannot|would|will|might))", re.IGNORECASE)
_NO_SPEAKERS = frozenset({"user", "note", "notes", "prompt", "persona", "instructions", "guidelines", "brief", "and", "then", "please", "to", "would"})
"""What a leak quotes, which is no report of a person's, and what stands before an imperative."""
_TITLES_OF_SPEECH = re.compile(
    r"\b(?:(?:[Ii]n )?[Yy]our words(?: were)?|[Ww]ord for word|[Hh]er text|[Hh]is text|[Mm]y boss wrote|on a mug)[^:\n]{0,20}:[^\n]*"
)


@lru_cache(maxsize=4096)  # each message is compared with all that follow it
def own_words(text: str) -> str:
    """Return a message without code, pasted screens and quotations."""
    plain = _INLINE_CODE.sub('""', without_pasted(text)).replace("’", "'")
    return _TITLES_OF_SPEECH.sub('""', _QUOTED.sub('""', plain))


def without_code(text: str) -> str:
    """Return a message without what is marked as code; quotations stay. A message that is nothing but marked code stays, too."""
    rest = _INLINE_CODE.sub('""', _FENCED.sub("\n", text))
    return rest if re.search(r"\w", rest) else text


def without_pasted(text: str) -> str:
    """Return a message without marked code and without the lines that were pasted from an editor or a terminal."""
    lines = _FENCED.sub("\n", text).split("\n")
    return "\n".join("" if pasted else line for line, pasted in zip(lines, _pasted(lines), strict=True))


def is_pasted(line: str) -> bool:
    """Say whether a line by itself looks like code or a program's output."""
    if _PASTED_LINE.match(line):
        return True
    symbols = sum(map(line.count, _SYMBOLS))
    return symbols >= _LEAST_SYMBOLS and symbols >= _SHARE_OF_SYMBOLS * len(line)


def _pasted(lines: list[str]) -> list[bool]:
    found, end = [], None
    for line in lines:
        if end is None:
            end = next((end for begin, end in _BLOCKS if begin.match(line)), None)
            found.append(end is not None or is_pasted(line))
        else:
            found.append(True)
            end = None if end.match(line) else end
    return found


def without_reports(own: str) -> str:
    """Return a user's own words without what it reports of others: "she said …", "you asked …".

    What somebody said about a "you" stays if that was said by "you": "last time you told me that your sister …" is what an assistant writes.

    Args:
        own: as `own_words` returns it.
    """

    def left(match: re.Match[str]) -> str:
        who = match["who"].lower()
        return match.group() if who in _NO_SPEAKERS or (who == "you" and _ABOUT_THE_OTHER.match(match["what"])) else '""'

    return _REPORTED.sub(left, own)


def ends_in_code(text: str) -> bool:
    """Say whether a message breaks off within marked code."""
    return len(re.findall(r"^[ \t]*(?:```|~~~)", text, re.MULTILINE)) % 2 == 1
