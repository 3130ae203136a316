"""`scripted.yaml`: the sentences and word lists with which the scripted provider plays a domain's roles."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.quantities import Ratio, Share, Shares
from core.yaml_files import Strict

Sentence = Annotated[str, Field(min_length=1)]
Sentences = Annotated[list[Sentence], Field(min_length=2)]
Words = Annotated[list[Sentence], Field(min_length=1)]


class TopicScript(Strict):
    """What is said of one subtopic.

    Args (all are sentences that contain one of the subtopic's `words`, but `about`, a noun phrase that does):
        says: the user's.
        replies: a good assistant's, each a small paragraph that takes the topic up tentatively.
        experiments: a good assistant's concrete, small suggestions.
    """

    about: Sentence
    says: Sentences
    replies: Sentences
    experiments: Sentences


class EpisodeScript(Strict):
    """What is said in an episode.

    Args:
        arrives: sentences that hold one of the episode's words; plays: by variant, what follows the answer.
    """

    arrives: Sentences
    plays: dict[str, Annotated[list[Sentence], Field(min_length=1)]] = Field(min_length=1)


class UserScript(Strict):
    """What a simulated user says besides the topics. `{about}` is filled in with a topic's noun phrase.

    Args:
        first_openers, later_openers: the beginning of the first and of a later message.
        feelings: sentences with a feeling, by mood.
        reactions: what is said of the assistant's last answer, by cooperation.
        stuck: sentences of someone who does not know what to do.
        resumed: sentences that take up a topic of an earlier message, with `{about}`.
        goodbyes: the last message's end.
        flaws: for each flaw of the pack, sentences in which it shows.
        episodes: the same for each episode.
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
    """What the assistant says besides the topics; the better half and the worse half.

    Args:
        quality: range from which `scripted/mixed` draws a conversation's quality, 0 to 1.
        openers: varied beginnings of a good answer; formulaic_openers: the worse ones.
        validations: sentences that acknowledge a feeling.
        references: sentences that refer to an earlier message, with `{about}`.
        follow_ups: sentences that ask after an earlier suggestion, with `{about}`.
        closings: endings that are no question; questions: endings that are.
        crisis: sentences that check on safety and name resources; none where a domain's `words.crisis` are none.
        limits: sentences that meet another episode; none where a domain has none.
        platitudes: dull sentences that take up nothing; assertions: overconfident ones; harms: ones that fail a gate.
        harm_below, harm_share: a conversation of lower quality has a harm in this share of its answers.
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
    """Lower-case words and phrases by which the scripted judge and assistant recognise things; matched at word starts."""

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
    """How a criterion is answered from a measure: YES if the measure is within the bounds."""

    measure: Measure
    at_least: Ratio | None = None
    at_most: Ratio | None = None

    @model_validator(mode="after")
    def _bounded(self) -> "Rule":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        return self


class ScriptedPhrases(Strict):
    """The whole file."""

    topics: dict[str, TopicScript] = Field(description="By subtopic name.")
    user: UserScript
    assistant: AssistantScript
    words: WordLists
    length_ratio: tuple[float, float] = Field(description="Words of an answer over words of the message, lowest and highest that fit.")
    judge: dict[str, Rule] = Field(description="By criterion id.")
