"""The search for a better prompt: its budget, its personas, its choice and its continuation."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.authoring.prompt_search import MINIBATCH, Candidate, Played, PromptSearch, Proposal, better, front

REFLECTION, SELECTION = range(6), range(100, 106)
SCORES = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=3, max_size=3)


class Stage:
    """Conversations whose outcome depends on the prompt: each rule has a value, which may be negative."""

    def __init__(self, worth=None, harm=(), lost=()):
        self.worth, self.harm, self.lost = worth or {}, harm, lost
        self.conversations, self.reflected, self.stop_after = Counter(), [], None

    async def play(self, text, seeds):
        if self.stop_after is not None and self.conversations.total() + len(seeds) > self.stop_after:
            raise RuntimeError("the budget is spent")
        self.conversations.update((text, seed) for seed in seeds)
        return [self.outcome(text, seed) for seed in seeds]

    def outcome(self, text, seed):
        rules = text.split()[1:]
        if any(rule in self.lost for rule in rules):
            return Played(seed=seed)
        score = min(1.0, 0.2 + sum(self.worth.get(rule, 0) for rule in rules) + seed % 3 / 100)
        return Played(seed=seed, score=score, failed_gates=("G1",) if any(rule in self.harm for rule in rules) else ())

    async def propose(self, text, played, failed):
        self.reflected.append([one.seed for one in played])
        rules = ["a", "b", "harm", "c", "lost", "d"]
        return Proposal(text=f"{text} {rules[len(self.reflected) % len(rules)]}", changes=("one rule more",))


def search(stage, budget=90):
    return PromptSearch("start", REFLECTION, SELECTION, budget, stage.play, stage.propose)


async def test_the_search_finds_a_better_prompt():
    found = search(Stage({"a": 0.2, "b": 0.3}))
    await found.run()
    best = found.best()
    assert {"a", "b"} <= set(best.text.split())
    assert best.mean > 0.6 > found.candidates[0].mean
    assert found.candidates[best.parent].mean < best.mean


async def test_prompts_are_written_and_chosen_with_different_personas():
    stage = Stage({"a": 0.1, "b": 0.1})
    found = search(stage)
    await found.run()
    assert stage.reflected
    assert {seed for seeds in stage.reflected for seed in seeds} <= set(REFLECTION)
    assert all([one.seed for one in candidate.played] == list(SELECTION) for candidate in found.candidates)


@given(budget=st.integers(min_value=12, max_value=150), worth=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([-0.1, 0.0, 0.1, 0.3])))
async def test_the_search_keeps_its_budget_and_plays_no_conversation_twice(budget, worth):
    stage = Stage(worth)
    found = search(stage, budget)
    await found.run()
    assert found.spent == stage.conversations.total() <= budget
    assert set(stage.conversations.values()) == {1}
    assert len(found.steps) <= budget / MINIBATCH


async def test_a_good_prompt_that_fails_a_gate_or_loses_conversations_is_never_chosen():
    for bad in ({"harm": ["harm"]}, {"lost": ["lost"]}):
        found = search(Stage({"harm": 0.7, "lost": 0.7, "a": 0.1}, **bad), 150)
        await found.run()
        assert not set(bad) & set(found.best().text.split())
        assert "a" in found.best().text.split()


async def test_a_gate_failure_with_the_selection_personas_alone_is_noticed():
    stage = Stage({"a": 0.7})
    honest = stage.outcome
    stage.outcome = lambda text, seed: honest(text, seed).model_copy(update={"failed_gates": ("G1",) if "a" in text.split() and seed >= 100 else ()})
    found = search(stage)
    await found.run()
    assert any("a" in one.text.split() for one in found.candidates)
    assert "a" not in found.best().text.split()


async def test_without_a_better_prompt_the_starting_prompt_is_chosen():
    found = search(Stage())
    await found.run()
    assert found.best() is found.candidates[0]
    assert len(found.candidates) == 1


async def test_a_stopped_search_repeats_its_steps_and_continues():
    whole, cut = search(Stage({"a": 0.1, "b": 0.2, "d": 0.1})), Stage({"a": 0.1, "b": 0.2, "d": 0.1})
    await whole.run()
    cut.stop_after = 40
    stopped = search(cut)
    with pytest.raises(RuntimeError):
        await stopped.run()
    assert 0 < len(stopped.steps) < len(whole.steps)
    assert stopped.steps == whole.steps[: len(stopped.steps)]
    assert stopped.best() in whole.candidates  # the best candidate so far is available


def candidate(text, scores):
    return Candidate(text=text, parent=None, changes=(), played=[Played(seed=seed, score=score) for seed, score in enumerate(scores)], spent=0)


def test_a_prompt_is_kept_only_if_it_is_best_for_some_persona():
    everybody, nobody, special = candidate("a", [0.9, 0.9, 0.1]), candidate("b", [0.9, 0.5, 0.1]), candidate("c", [0.1, 0.1, 0.8])
    kept, weights = front([everybody, nobody, special])
    assert dict(zip([one.text for one in kept], weights, strict=True)) == {"a": 2, "c": 1}


@given(scores=st.lists(SCORES, min_size=1, max_size=5))
def test_a_search_always_has_parents_and_none_is_dominated(scores):
    every = [candidate(str(number), given) for number, given in enumerate(scores)]
    kept, weights = front(every)
    assert kept
    assert all(weight > 0 for weight in weights)
    for one in kept:
        for other in every:
            shared = one.scores.keys() | other.scores.keys()
            pairs = [(one.scores.get(seed, -1), other.scores.get(seed, -1)) for seed in shared]
            assert not (all(theirs >= own for own, theirs in pairs) and any(theirs > own for own, theirs in pairs))


@given(before=SCORES, after=SCORES)
def test_a_prompt_is_better_if_it_scores_higher_on_common_personas_and_loses_no_more(before, after):
    old, new = (candidate("x", given).played for given in (before, after))
    shared = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    assert better(old, new) == (sum(b - a for a, b in shared) > 0 and after.count(None) <= before.count(None))
    assert not better(old, old)


async def test_a_writer_sees_earlier_unsuccessful_revisions_of_a_prompt():
    stage, seen = Stage({"a": -0.1, "b": -0.1, "c": -0.1, "d": -0.1}), []
    honest = stage.propose

    async def propose(text, played, failed):
        seen.append([one.text for one in failed])
        return await honest(text, played, failed)

    stage.propose = propose
    await search(stage).run()
    assert seen[0] == []
    assert seen[3] == ["start b", "start harm", "start c"]
