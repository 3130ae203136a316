"""A judge with a transcript, in the shortest form for a test."""

from typing import Any

from core.judging.judge_call import JudgeContext
from core.packs.pack import load_pack
from core.records import Exchange, Transcript
from core.settings.assessment import Judging

PACK = load_pack("therapeutic-coaching")


def talk(exchanges: int = 1, user: str = "hello", name: str = "t", **more: Any) -> Transcript:
    return Transcript(id=name, exchanges=[Exchange(exchange_number=n, user=user, assistant="good day") for n in range(1, exchanges + 1)], **more)


def judge_context(
    judge: Any, transcript: Transcript | None = None, mode: Any = "single", confirm: Any = "never", shuffle: bool = False, max_tokens: int = 1000, **more: Any
) -> JudgeContext:
    how = Judging(mode=mode, shuffle=shuffle, confirm_gates=confirm)
    return JudgeContext(PACK, judge, transcript or talk(), how, max_tokens, **more)
