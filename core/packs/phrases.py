"""The schema of `scripted.yaml`: sentences and word lists with which the scripted provider plays a domain's roles."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.quantities import Ratio, Share, Shares
from core.yaml_files import Strict

Sentence = Annotated[str, Field(min_length=1)]
Sentences = Annotated[list[Sentence], Field(min_length=2)]
Words = Annotated[list[Sentence], Field(min_length=1)]


class TopicScript(Strict):
    """Sentences about one subtopic; each contains one of the subtopic's `words`.

    Args:
        about: a noun phrase for the subtopic, which also contains one of its words.
        says: sentences of the user.
        replies: short paragraphs of a good assistant that respond to the topic tentatively.
        experiments: small, concrete suggestions of a good assistant.
    """

    about: Sentence
    says: Sentences
    replies: Sentences
    experiments: Sentences


class EpisodeScript(Strict):
    """The user's sentences in an episode.

    Args:
        arrives: sentences that contain one of the episode's words.
        plays: sentences after the assistant's answer, by variant.
    """

    arrives: Sentences
    plays: dict[str, Annotated[list[Sentence], Field(min_length=1)]] = Field(min_length=1)


class UserScript(Strict):
    """A simulated user's sentences that do not belong to a topic; `{about}` is replaced by a topic's noun phrase.

    Args:
        first_openers, later_openers: beginnings of the first message and of later ones.
        feelings: sentences that express a feeling, by mood.
        reactions: sentences about the assistant's last answer, by cooperation.
        stuck: sentences of someone who does not know what to do.
        stuck_share: share of messages with such a sentence.
        resumed: sentences that return to a topic of an earlier message, with `{about}`.
        goodbyes: ends of the last message.
        flaws: sentences that show a flaw, for each flaw of the pack.
        episodes: sentences for each episode of the pack.
    """

    first_openers: Sentences
    later_openers: Sentences
    feelings: dict[str, Sentences]
    reactions: dict[Literal["engage", "partial", "push_back"], Sentences]
    stuck: Sentences
    stuck_share: Share
    resumed: Sentences
    goodbyes: Sentences
    flaws: dict[str, Sentences]
    episodes: dict[str, EpisodeScript] = Field(default_factory=dict)


class AssistantScript(Strict):
    """The assistant's sentences that do not belong to a topic, for good and for bad answers.

    Args:
        quality: range, within 0 to 1, from which `scripted/mixed` draws a conversation's quality.
        openers: varied beginnings of good answers.
        formulaic_openers: beginnings of bad answers.
        validations: sentences that acknowledge a feeling.
        references: sentences that refer to an earlier message, with `{about}`.
        follow_ups: sentences that ask about an earlier suggestion, with `{about}`.
        closings: endings without a question.
        questions: endings with a question.
        crisis: sentences that check the user's safety and name resources; empty if the domain's `words.crisis` is empty.
        limits: sentences that respond to other episodes; empty if the domain has no other episodes.
        platitudes: dull sentences that respond to nothing.
        assertions: overconfident sentences.
        harms: sentences that fail a gate.
        harm_below, harm_share: a conversation of quality below `harm_below` has a harm in this share of its answers.
    """

    quality: Shares
    openers: Sentences
    formulaic_openers: Sentences
    validations: Sentences
    references: Sentences
    follow_ups: Sentences
    closings: Sentences
    questions: Sentences
    crisis: list[Sentence] = Field(default_factory=list)
    limits: list[Sentence] = Field(default_factory=list)
    platitudes: Sentences
    assertions: Sentences
    harms: Sentences
    harm_below: Share
    harm_share: Share


class WordLists(Strict):
    """Lower-case words and phrases by which the scripted judge and assistant recognise the parts of a text; matched at word starts."""

    feeling: Words
    validation: Words
    hedge: Words
    assertion: Words
    suggestion: Words
    reference: Words
    follow_up: Words
    stuck: Words
    crisis: list[Sentence] = Field(default_factory=list)
    resource: list[Sentence] = Field(default_factory=list)
    harm: Words


Measure = Literal[
    "topics_covered",
    "words_echoed",
    "tentative",
    "validated",
    "explored_first",
    "length_fits",
    "openers_distinct",
    "question_endings",
    "traction",
    "depth_fits",
    "priority",
    "attributed",
    "referenced",
    "resumed",
    "followed_up",
    "harm",
    "crisis_met",
]


class Rule(Strict):
    """How a measure decides a criterion: YES if the measure is within the bound."""

    measure: Measure
    at_least: Ratio | None = None
    at_most: Ratio | None = None

    @model_validator(mode="after")
    def _bounded(self) -> "Rule":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        return self


class ScriptedPhrases(Strict):
    """`scripted.yaml`."""

    topics: dict[str, TopicScript] = Field(description="By subtopic name.")
    user: UserScript
    assistant: AssistantScript
    words: WordLists
    length_ratio: tuple[float, float] = Field(description="Lowest and highest fitting length of an answer, as a multiple of the message's.")
    judge: dict[str, Rule] = Field(description="By criterion id.")
