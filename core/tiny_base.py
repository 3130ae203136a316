"""The text that the demo's tiny base model is pre-trained on: conversations with a dull assistant, so that there is something to learn."""

import json

from core.pack import Pack
from core.personas import sample_batch
from core.rehearsal import Cast, rehearse
from core.scripted.chat import ScriptedChat
from core.settings import Generation, TinyBase
from core.slicing import chat


async def dull_conversations(pack: Pack, settings: TinyBase, generation: Generation) -> str:
    """Return the conversations as JSON lines with `messages`, the same for the same settings.

    Args:
        generation: lengths and limits of a conversation.
    """
    cast = Cast(
        user_simulator=ScriptedChat("user", pack),
        assistant=ScriptedChat("0", pack),
        guidance=pack.prompts["assistant"].render(),
        max_tokens=generation.max_tokens,
        minimum=generation.minimum_exchanges,
    )
    system = pack.prompts["system"].render()
    lines = []
    for persona in sample_batch(pack, settings.first_seed, settings.conversations, generation.exchanges):
        transcript = await rehearse(pack, persona, cast, persona.id)
        lines.append(json.dumps({"messages": chat(system, transcript.exchanges)}, ensure_ascii=False))
    return "\n".join(lines) + "\n"
