"""What the demo's tiny base model is pre-trained on.

Dull conversations, so that there is a manner to learn, and plain text about the topics, so that their words are known.
"""

import json
import random

from core.fingerprint import seed_of
from core.job_settings import TinyBase
from core.pack import Pack
from core.personas import sample_batch
from core.rehearsal import rehearse
from core.scripted.chat import ScriptedChat
from core.scripted.phrases import ScriptedPhrases
from core.settings import Generation
from core.slicing import chat
from core.turns import Cast, Player


async def dull_conversations(pack: Pack, settings: TinyBase, generation: Generation) -> str:
    """Return the conversations as JSON lines with `messages`, the same for the same settings.

    Args:
        generation: lengths and limits of a conversation.
    """
    user, assistant = (Player(ScriptedChat(name, pack), generation.max_tokens, generation.most_tokens, guards=()) for name in ("user", "0"))
    cast = Cast(user, assistant, pack.prompts["assistant"].render(), generation.minimum_exchanges)
    system = pack.prompts["system"].render()
    lines = []
    for persona in sample_batch(pack, settings.first_seed, settings.conversations, generation.exchanges):
        transcript = await rehearse(pack, persona, cast, persona.id)
        messages = chat(system, transcript.exchanges)
        keeps_system = random.Random(seed_of("system", persona.seed)).random() < settings.system_share
        lines.append(json.dumps({"messages": messages if keeps_system else messages[1:]}, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def topic_texts(phrases: ScriptedPhrases, settings: TinyBase) -> str:
    """Return plain text: for each topic what is said of it, in shuffled order, several times over."""
    draw = random.Random(seed_of("topic texts"))
    script = phrases.assistant
    general = [*script.validations, *script.references, *script.follow_ups, *script.openers, *script.closings, *script.questions]
    paragraphs = []
    for _ in range(settings.topic_texts):
        names = list(phrases.topics)
        draw.shuffle(names)
        for name in names:
            topic = phrases.topics[name]
            parts = [*topic.says, *topic.replies, *topic.experiments, *(text.format(about=topic.about) for text in draw.sample(general, 4))]
            draw.shuffle(parts)
            paragraphs.append(" ".join(parts))
    return "\n\n".join(paragraphs) + "\n"
