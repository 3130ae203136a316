"""An arm is a model under a prompt: its notation, its identity and its deployment conditions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import EvaluationError, PackError, SettingsError
from core.evaluation.arms import Arm, by_model, check_apart, prompted, wanted_arms
from core.evaluation.schedule import plan_parts
from core.llm.ledger import Ledger
from core.llm.run import Run
from core.packs.pack import load_pack
from core.records import DatasetRef, ModelChoice, ModelRef
from core.rehearsal.personas import sample_batch
from core.settings.arms import ArmWords, read_arm
from core.settings.pipeline import load_settings
from core.storage.store import Store
from core.training.latest import Exported
from tests.core.rehearsal.test_conversation import Mortal

PACK = load_pack("therapeutic-coaching")
SETTINGS = load_settings("config/pipeline.yaml")
PERSONAS = sample_batch(PACK, 9000, 4, (3, 3))
MODELS = {"base": "openai-compatible/small", "understudy": "openai-compatible/tuned"}
NOTHING_UNCOMMON = "---\ninputs: [services]\n---\nYou listen. Help: {{ services }}."


def run_with(tmp_path, **evaluation):
    settings = SETTINGS.model_copy(update={"evaluation": SETTINGS.evaluation.model_copy(update=evaluation)})
    store, user = Store(str(tmp_path)), ModelChoice(reference="scripted/user")
    return Run("run", PACK, settings, store, {"user_simulator": [user]}, Ledger(store, "run", settings.budget))


def arms_of(run, named):
    return [one.arm(name, ModelChoice(reference=one.reference)) for name, one in wanted_arms(run, None, named).items()]


def plans(run, arms):
    return {(part.arm, part.plan.persona.seed, part.plan.trial): part.plan for part in plan_parts(run, PERSONAS, arms)}


MODEL = st.from_regex(r"[a-z-]{1,12}/[a-z0-9./_-]{1,30}", fullmatch=True) | st.sampled_from(["base", "understudy", "teacher", "my-block"])
PROMPT = st.sampled_from(["system", "assistant"]) | st.from_regex(r"[a-z ]{0,9}/[a-z][a-z ]{0,9}\.md", fullmatch=True).map(str.strip)


@given(MODEL, PROMPT)
def test_an_arm_is_a_model_or_a_model_under_a_prompt(model, prompt):
    assert read_arm("mine", model) == ArmWords(model, "system")
    assert read_arm("mine", f"{model} under {prompt}") == ArmWords(model, prompt)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rich", "", "Allowed: MODEL or MODEL under PROMPT"),
        ("rich", "base under ", "Allowed: MODEL or MODEL under PROMPT"),
        ("rich", " under assistant", "Allowed: MODEL or MODEL under PROMPT"),
        ("rich", "base unter assistant", "Allowed: MODEL or MODEL under PROMPT"),
        ("rich", "base under asistant", "Did you mean 'assistant'"),
        ("rich", "base under notes.txt", "a prompt file that ends in .md"),
        ("", "base", "'' is not a valid arm name"),
    ],
)
def test_an_invalid_arm_is_refused_in_settings_and_commands_alike(tmp_path, name, text, said):
    run = run_with(tmp_path)
    with pytest.raises(SettingsError, match=f"(?i){said}"):
        wanted_arms(run, None, {**MODELS, name: text})
    with pytest.raises(ValueError, match=said):
        type(SETTINGS.evaluation).model_validate(SETTINGS.evaluation.model_dump() | {"arms": {name: text}})


def test_by_default_the_base_also_plays_under_the_detailed_prompt(tmp_path):
    run = run_with(tmp_path)
    arms = arms_of(run, MODELS)
    assert [(arm.name, arm.choice.reference, arm.prompt) for arm in arms] == [
        ("base", "openai-compatible/small", "system"),
        ("understudy", "openai-compatible/tuned", "system"),
        ("prompted base", "openai-compatible/small", "assistant"),
    ]
    assert prompted(arms) == ["prompted base"]
    assert [[arm.name for arm in same] for arm, same in zip("ab", by_model(arms), strict=True)] == [["base", "prompted base"], ["understudy"]]
    found = plans(run, arms)
    for persona in PERSONAS:
        texts = {arm.name: found[arm.name, persona.seed, 0].guidance_text for arm in arms}
        assert texts["base"] == texts["understudy"] == PACK.system(persona.country)
        assert texts["prompted base"] == PACK.instructions("assistant", persona.country)


def test_an_arm_of_a_command_replaces_the_arm_of_the_same_name_in_the_settings(tmp_path):
    run = run_with(tmp_path, arms={"prompted base": "base under assistant", "other": "openai-compatible/other"})
    arms = {arm.name: arm for arm in arms_of(run, {**MODELS, "other": "teacher", "prompted base": "understudy under assistant"})}
    assert arms["other"].choice.reference == SETTINGS.roles.assistant
    assert arms["prompted base"].choice.reference == "openai-compatible/tuned"


def test_two_arms_with_the_same_model_and_prompt_are_refused(tmp_path):
    run, copy = run_with(tmp_path, arms={}), tmp_path / "copy.md"
    copy.write_text("---\ninputs: [services]\n---\n" + PACK.prompts["system"].text, encoding="utf-8")
    check_apart(run, arms_of(run, {**MODELS, "rich": "base under assistant"}))
    for twin in ("base", "openai-compatible/small", f"base under {copy}"):
        with pytest.raises(EvaluationError, match=r"base and twin are the same model .* under the same prompt"):
            check_apart(run, arms_of(run, {**MODELS, "twin": twin}))


def test_a_prompt_file_is_identified_by_its_content_and_not_by_its_path(tmp_path):
    run, first, moved = run_with(tmp_path, arms={}), tmp_path / "mine.md", tmp_path / "moved.md"
    first.write_text(NOTHING_UNCOMMON, encoding="utf-8")
    moved.write_text(NOTHING_UNCOMMON, encoding="utf-8")

    def names(path):
        found = plans(run, arms_of(run, {**MODELS, "mine": f"base under {path}"}))
        return {key: plan.name for key, plan in found.items() if key[0] == "mine"}, {key: plan.name for key, plan in found.items() if key[0] != "mine"}

    before, others = names(first)
    assert names(moved) == (before, others)
    first.write_text(NOTHING_UNCOMMON.replace("listen", "wait"), encoding="utf-8")
    changed, same = names(first)
    assert same == others
    assert not set(changed.values()) & set(before.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "mine.md"), ("No front matter.", "no front matter"), ("---\ninputs: [persona]\n---\nYou know {{ persona }}.", "unknown template variables")],
)
def test_the_error_for_an_unusable_prompt_file_names_it(tmp_path, text, said):
    path = tmp_path / "mine.md"
    if text:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=said):
        arms_of(run_with(tmp_path), {**MODELS, "mine": f"base under {path}"})


def test_arms_are_played_without_notes_and_guards_and_the_teacher_with_them(tmp_path):
    """A deployed model receives no notes and is not asked again after a faulty answer."""
    run = run_with(tmp_path)
    found = plans(run, arms_of(run, {**MODELS, "teacher": "teacher under assistant", "api": f"{SETTINGS.roles.assistant} under assistant"}))
    casts = {arm: found[arm, 9000, 0].cast(Mortal("u"), Mortal("a")) for arm in ("base", "prompted base", "api", "teacher")}
    assert {arm: cast.noted for arm, cast in casts.items()} == {"base": False, "prompted base": False, "api": False, "teacher": True}
    assert {arm: bool(cast.assistant.guards) for arm, cast in casts.items()} == {"base": False, "prompted base": False, "api": False, "teacher": True}


def test_a_new_arm_does_not_rename_existing_conversations(tmp_path):
    alone, beside = run_with(tmp_path, arms={}), run_with(tmp_path)
    before = {key: plan.name for key, plan in plans(alone, arms_of(alone, MODELS)).items()}
    after = {key: plan.name for key, plan in plans(beside, arms_of(beside, MODELS)).items()}
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)


def test_the_description_of_an_arm_names_its_prompt_and_no_local_path():
    choice = ModelChoice(reference="llama-server//home/me/base-Q4.gguf")
    known = {"name": "mine", "choice": choice, "heldout": {"loss": None}}
    assert Arm.model_validate(known).shown == "llama-server/base-Q4.gguf"
    assert Arm.model_validate({**known, "prompt": "assistant"}).shown == "llama-server/base-Q4.gguf under assistant.md"
    mine, other = (Arm.model_validate({**known, "prompt": "mine.md", "template": text}) for text in ("a", "b"))
    assert mine.shown != other.shown
    assert "/home/me" not in mine.shown


def test_an_existing_preferred_understudy_is_an_additional_arm(tmp_path):
    run = run_with(tmp_path, arms={})
    made = {name: ModelRef(path=f"models/gguf/{name}", name=name) for name in ("base", "understudy", "preferred")}
    for name, model in made.items():
        file = f"{name}-q4_k_m.gguf"
        run.store.write_json(f"{model.path}/export.json", {"base": "b", "base_revision": "1", "files": {file: {"bytes": 1, "sha256": "0"}}})
    dataset = DatasetRef(path="d", repo="me/d", commit="c", url="", examples=1, validation_examples=1, transcripts=1)
    exported = Exported(base=made["base"], understudy=made["understudy"], dataset=dataset)
    assert list(wanted_arms(run, exported, {})) == ["base", "understudy"]
    both = wanted_arms(run, exported.model_copy(update={"preferred": made["preferred"]}), {})
    assert list(both) == ["base", "understudy", "preferred"]
    assert both["preferred"].reference.endswith("models/gguf/preferred/preferred-q4_k_m.gguf")
