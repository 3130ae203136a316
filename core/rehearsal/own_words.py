"""The writer's own words: a message without its code, its pasted terminal output and its quotations of others."""

import re
from functools import lru_cache

_FENCED = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?(?:\1[`~]*|\Z)", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"(?<!`)(`{1,3})(?!`)[^`\n]+\1(?!`)")

_KEYWORDS = r"(?:async |export |public |private |static )*(?:def|class|function|const|let|var|import|from|return|interface|struct|func|fn|package)\b"
_COMMANDS = r"(?:git|npm|npx|pip3?|python3?|node|cd|ls|mkdir|cp|mv|rm|cat|sudo|docker|curl|conda|brew|apt)"
_PASTED_LINE = re.compile(
    "|".join(
        [
            r"(?: {4,}|\t)\s*(?![-*•]\s|\d+[.)]\s)\S",  # indented, but not a list item
            r"\s*(?:>>>|\$|PS [A-Z]:\S*>|[A-Z]:\\\S*>)\s*\S*",  # a shell prompt
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
            r"(?=\D*\d)[-\d.,\s|]+$",  # a row of numbers; any other form takes hours for a line of 200,000 digits
        ]
    )
)
_BLOCKS = (
    (re.compile(r"\s*Traceback \(most recent call last\)"), re.compile(r"(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Warning|Interrupt|Exit|Iteration)\b")),
    (re.compile(r"\s*<<<<<<< "), re.compile(r"\s*>>>>>>> ")),
)
_SYMBOLS, _SHARE_OF_SYMBOLS, _MIN_SYMBOLS = frozenset("{}[]()=;"), 0.12, 3
"""A line with at least this share and this number of such symbols is code, in any language."""

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
"""Words before a verb of speech that do not name a speaker: sources that a leaked prompt quotes, and words before an imperative."""
_TITLES_OF_SPEECH = re.compile(
    r"\b(?:(?:[Ii]n )?[Yy]our words(?: were)?|[Ww]ord for word|[Hh]er text|[Hh]is text|[Mm]y boss wrote|on a mug)[^:\n]{0,20}:[^\n]*"
)


@lru_cache(maxsize=4096)  # each message is compared with all later ones
def own_words(text: str) -> str:
    """Return a message without code, pasted terminal output and quotations."""
    plain = _INLINE_CODE.sub('""', without_pasted(text)).replace("’", "'")
    return _TITLES_OF_SPEECH.sub('""', _QUOTED.sub('""', plain))


def without_code(text: str) -> str:
    """Return a message without what is marked as code; quotations stay. A message of marked code only is returned unchanged."""
    rest = _INLINE_CODE.sub('""', _FENCED.sub("\n", text))
    return rest if re.search(r"\w", rest) else text


def without_pasted(text: str) -> str:
    """Return a message without marked code and without lines pasted from an editor or a terminal."""
    lines = _FENCED.sub("\n", text).split("\n")
    return "\n".join("" if pasted else line for line, pasted in zip(lines, _pasted(lines), strict=True))


def is_pasted(line: str) -> bool:
    """Return whether a single line looks like code or a program's output."""
    if _PASTED_LINE.match(line):
        return True
    symbols = sum(map(line.count, _SYMBOLS))
    return symbols >= _MIN_SYMBOLS and symbols >= _SHARE_OF_SYMBOLS * len(line)


def _pasted(lines: list[str]) -> list[bool]:
    """Return for each line whether it was pasted, alone or within a block such as a traceback."""
    pasted, end = [], None
    for line in lines:
        if end is None:
            end = next((end for begin, end in _BLOCKS if begin.match(line)), None)
            pasted.append(end is not None or is_pasted(line))
        else:
            pasted.append(True)
            end = None if end.match(line) else end
    return pasted


def without_reports(own: str) -> str:
    """Return a user's own words without reports of what others said: "she said …", "you asked …".

    A report of what "you" said about "you" stays, because an assistant writes it: "last time you told me that your sister …".

    Args:
        own: a result of `own_words`.
    """

    def replacement(match: re.Match[str]) -> str:
        who = match["who"].lower()
        return match.group() if who in _NO_SPEAKERS or (who == "you" and _ABOUT_THE_OTHER.match(match["what"])) else '""'

    return _REPORTED.sub(replacement, own)


def ends_in_code(text: str) -> bool:
    """Return whether a message ends within marked code."""
    return len(re.findall(r"^[ \t]*(?:```|~~~)", text, re.MULTILINE)) % 2 == 1
