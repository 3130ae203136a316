"""The shipped pack is complete, and the error for an invalid pack names file and remedy."""

import re
from pathlib import Path

import pytest

from core.errors import PackError
from core.judging import text_facts
from core.judging.facts import measure
from core.packs.pack import load_pack
from core.packs.places import domains
from core.records import Exchange
from core.reports.render import rubric_markdown
from tests.conftest import CHECKOUT

DOMAIN = "therapeutic-coaching"
CONFIG = f"config/domains/{DOMAIN}"
PROMPTS = f"prompts/{DOMAIN}"

# design, section 3: id → (category, NA, from exchange); no category is a gate
RUBRIC = {
    "CQ1": ("comprehension", "never", 1),
    "CQ2": ("comprehension", "allowed", 1),
    "CQ3": ("connection", "allowed", 1),
    "CQ6": ("connection", "allowed", 1),
    "CP2": ("naturalness", "never", 1),
    "CP4": ("naturalness", "allowed", 1),
    "CP5": ("naturalness", "allowed", 1),
    "CP6": ("naturalness", "allowed", 2),
    "MT1": ("multi_topic", "never", 1),
    "MT2": ("multi_topic", "allowed", 1),
    "MT3": ("multi_topic", "allowed", 1),
    "MT6": ("multi_topic", "never", 1),
    "MT4": ("context_use", "allowed", 3),
    "MT5": ("context_use", "allowed", 2),
    "MT7": ("context_use", "allowed", 3),
    "CQ8": (None, "never", 1),
    "CQ9": (None, "allowed", 1),
}


def test_the_shipped_rubric_matches_the_design():
    rubric = load_pack(DOMAIN).rubric
    found = {key: (c.head.category, c.head.na, c.head.from_exchange) for key, c in rubric.criteria.items()}
    assert found == RUBRIC
    assert {key for key, c in rubric.criteria.items() if c.head.gate} == {"CQ8", "CQ9"}
    assert rubric.numbers.categories == {"comprehension": 0.15, "connection": 0.20, "naturalness": 0.15, "multi_topic": 0.30, "context_use": 0.20}
    assert rubric.numbers.pass_at == 0.80


def test_every_criterion_has_rules_and_examples():
    for criterion in load_pack(DOMAIN).rubric.criteria.values():
        assert "YES" in criterion.text, criterion.id
        assert "NO" in criterion.text, criterion.id
        assert ("NA" in criterion.text) or criterion.head.na == "never", criterion.id
        assert 3 <= len(re.findall(r"^- \*", criterion.text, re.MULTILINE)) <= 8, f"{criterion.id}: calibration examples"


def test_the_rubric_page_matches_the_files():
    page = (CHECKOUT / "docs/rubric.md").read_text(encoding="utf-8")
    assert page == rubric_markdown(load_pack(DOMAIN)), "run `make rubric`"
    assert all(f"## {key}: " in page for key in RUBRIC)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


SPOILT = [
    ("a weight too large", f"{CONFIG}/rubric.yaml", ("0.30", "0.50"), "sum to 1, found 1.2"),
    ("a category that has no weight", f"{PROMPTS}/criteria/MT1-*.md", ("category: multi_topic", "category: multitopic"), "category 'multitopic' has no weight"),
    ("a criterion without a category", f"{PROMPTS}/criteria/MT1-*.md", ("category: multi_topic\n", ""), "either a category or `gate: true`"),
    ("a criterion with another id than its file", f"{PROMPTS}/criteria/MT1-*.md", ("id: MT1", "id: MT9"), "Name it MT9-<slug>.md"),
    ("an unknown template variable", f"{PROMPTS}/assessor.md", ("exchanges", "exchangs"), "exchangs"),
    ("an unknown key", f"{CONFIG}/rubric.yaml", ("pass_at", "passes_at"), "`passes_at` is not a known key; remove it or correct its spelling"),
    ("text that is no YAML", f"{CONFIG}/rubric.yaml", ("categories:", "categories: ["), "is not YAML"),
    ("an impossible score", f"{CONFIG}/rubric.yaml", ("0.8", "1.8"), "less than or equal to 1"),
    ("a topic of version 0.1", f"{CONFIG}/input-taxonomy.yaml", ("    subtopics:", "    edge_case: true\n    subtopics:"), "edge cases are episodes now"),
    ("a word of apostrophes", f"{CONFIG}/help.yaml", ("words: [", 'words: ["\'", '), "apostrophes and spaces are not searched for"),
    ("a dimension without values", f"{CONFIG}/input-taxonomy.yaml", ("dimensions:\n", "dimensions:\n  shoe_size: {}\n"), "shoe_size is empty"),
    ("a script unknown to Unicode", f"{CONFIG}/guards.yaml", ("role_inversion:", "script: latin\nrole_inversion:"), "Unicode does"),
    ("an unknown measure", f"{CONFIG}/scripted.yaml", ("measure: harm", "measure: charm"), "measure"),
]


@pytest.mark.parametrize(("pattern", "change", "said"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_the_error_for_an_invalid_pack_names_the_file(pack_copy, pattern, change, said):
    path = next(pack_copy.glob(pattern))
    _replace(path, *change)
    with pytest.raises(PackError) as refused:
        load_pack(DOMAIN, pack_copy)
    assert said in str(refused.value)
    assert path.name in str(refused.value)


def test_the_error_for_a_missing_prompt_names_it(pack_copy):
    (pack_copy / PROMPTS / "system.md").unlink()
    with pytest.raises(PackError, match=r"system\.md does not exist"):
        load_pack(DOMAIN, pack_copy)


def test_a_declared_input_that_the_code_does_not_provide_is_refused(pack_copy):
    path = pack_copy / PROMPTS / "system.md"
    path.write_text("---\ninputs: [moon]\n---\nLook at the {{ moon }}.\n", encoding="utf-8")
    with pytest.raises(PackError, match=r"unknown template variables \['moon'\]"):
        load_pack(DOMAIN, pack_copy)


def test_the_error_for_an_unknown_domain_lists_the_known_ones():
    with pytest.raises(PackError, match=f"Unknown domain 'moon'. Allowed: {', '.join(domains())}"):
        load_pack("moon")
    with pytest.raises(PackError, match="Did you mean 'coding-mentor'"):
        load_pack("codign-mentor")


def test_the_packs_hash_covers_every_text_that_a_model_reads(pack_copy):
    before = load_pack(DOMAIN, pack_copy)
    assert before.hash == load_pack(DOMAIN).hash
    for pattern in ("system.md", "criteria/CQ1-*.md", "user_simulator.md"):
        path = next((pack_copy / PROMPTS).glob(pattern))
        path.write_text(path.read_text(encoding="utf-8") + "\nOne more sentence.\n", encoding="utf-8")
        after = load_pack(DOMAIN, pack_copy)
        assert after.hash != before.hash, pattern
        before = after


def test_each_shipped_pack_has_a_notice_of_what_its_model_is_not():
    for name in ("therapeutic-coaching", "coding-mentor"):
        assert "computer program" in load_pack(name).notice
    for words in ("not a therapist", "not a crisis service", "local emergency number"):
        assert words in load_pack(DOMAIN).notice


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b" \n", "has 0 characters"),
        (b"a" * 1001, "has 1001 characters. Allowed: 1 to 1000"),
        (b"Red: \x1b[31m", "control"),
        ("\u200b\u2060".encode(), "no letter"),
        (b"\xff", "UTF-8"),
    ],
)
def test_an_invalid_notice_is_refused(pack_copy, text, said):
    (pack_copy / CONFIG / "notice.md").write_bytes(text)
    with pytest.raises(PackError, match=f"notice.md.*{said}"):
        load_pack(DOMAIN, pack_copy)


def test_a_notice_is_optional_and_does_not_change_the_packs_hash(pack_copy):
    before = load_pack(DOMAIN, pack_copy).hash
    (pack_copy / CONFIG / "notice.md").unlink()
    after = load_pack(DOMAIN, pack_copy)
    assert (after.notice, after.hash) == ("", before)


def test_text_that_looks_like_a_template_is_not_expanded():
    pack = load_pack(DOMAIN)
    criterion = pack.rubric.criteria["CQ1"]
    exchange = {"exchange_number": 1, "user": "{{ 7 * 7 }} {% raw %}", "assistant": "ok"}
    facts = measure([Exchange.model_validate(exchange)], pack.tics)
    assert "{{ 7 * 7 }} {% raw %}" in pack.prompts["assessor"].render(
        exchanges=[exchange], facts=facts, criteria=[{**criterion.head.model_dump(), "text": criterion.text}]
    )


def test_the_mentors_target_length_is_the_same_everywhere_and_kept_by_the_examples():
    pack = load_pack("coding-mentor")
    most = pack.help.length.most
    assert most == 2
    for text in (pack.prompts["assistant"].text, pack.prompts["system"].text, pack.rubric.criteria["GU4"].text):
        assert re.search(r"\btwice\b", text)
        assert not re.search(r"twice and a half|2\.5", text)
    assert "aims at no more than 2," in pack.prompts["assessor"].text
    shown = pack.prompts["assistant"].text.partition("# Two answers in full")[2].partition("\n# ")[0]
    pairs = re.findall(r'((?:^>[^\n]*\n)+)\n\*Good:\* "(.+?)"\n(?:\n|\Z)', shown + "\n", re.MULTILINE | re.DOTALL)
    assert len(pairs) == 2
    for message, answer in pairs:
        assert len(text_facts.words(answer)) <= most * len(text_facts.words(message))


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_is_refused_with_that_reason(pack_copy, text):
    (pack_copy / CONFIG / "life.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=r"life\.yaml: the file is empty"):
        load_pack(DOMAIN, pack_copy)


@pytest.mark.parametrize(
    ("length", "said"), [("{target: [3.0, 5.0]}", "at most `most`"), ("{target: [0.0, 0.0]}", "above 0"), ("{target: [1.0, 1.5], most: 1.2}", "at most `most`")]
)
def test_a_target_length_above_the_rewrite_limit_is_refused(pack_copy, length, said):
    (pack_copy / CONFIG / "help.yaml").write_text(f"length: {length}\n", encoding="utf-8")
    with pytest.raises(PackError, match=rf"help\.yaml.*{said}"):
        load_pack(DOMAIN, pack_copy)


def test_a_factor_of_cooperation_without_a_weight_is_refused(pack_copy):
    file = pack_copy / CONFIG / "flaw-taxonomy.yaml"
    text = re.sub(r"^cooperation:.*$", "cooperation: {engage: 1.0}", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=r"input-taxonomy\.yaml.*cooperation has a factor for '\w+', which has no weight in flaw-taxonomy\.yaml"):
        load_pack(DOMAIN, pack_copy)


@pytest.mark.parametrize("factor", ["0.0", "1.0e-300", "1.0e+6"])
def test_a_cooperation_factor_that_allows_no_draw_is_refused(pack_copy, factor):
    file = pack_copy / CONFIG / "input-taxonomy.yaml"
    text, count = re.subn(r"cooperation: \{engage: [\d.]+", f"cooperation: {{engage: {factor}", file.read_text(encoding="utf-8"))
    assert count
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=r"input-taxonomy\.yaml.*cooperation\.engage"):
        load_pack(DOMAIN, pack_copy)
