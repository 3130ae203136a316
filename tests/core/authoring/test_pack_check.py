"""The pack check: shipped packs are complete, and each missing part is reported with its file."""

import re

import pytest

from core.authoring.pack_check import rendered_prompts, review_pack
from core.errors import PackError
from core.packs.pack import load_pack
from flows.terminal.domain_packs import check_domain
from tests.conftest import CHECKOUT

SHIPPED = sorted(path.name for path in (CHECKOUT / "config/domains").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_packs_are_complete_and_their_prompts_render(name):
    pack = load_pack(name, CHECKOUT)
    assert review_pack(pack) == []
    for prompt, text in rendered_prompts(pack).items():
        assert text, prompt
        assert "{{" not in text


def spoil(root, file, change):
    path = root / file
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.slow
def test_each_missing_part_of_a_pack_is_reported_with_its_file(pack_copy):
    prompts = "prompts/therapeutic-coaching"
    mt7, tics = f"{prompts}/criteria/MT7-follow-up.md", "config/domains/therapeutic-coaching/tics.yaml"

    def without_examples_that_fail(text):
        return "\n".join(line for line in text.splitlines() if not (line.startswith("- ") and "NO" in line)).replace("**NA**", "Otherwise")

    def without_flaws_and_episodes(text):
        head, _, body = text.partition("\n---\n")
        start, _, rest = body.partition("{% if flaws %}")
        text = f"{head.replace('flaws, ', '')}\n---\n{start}{rest.partition('{% endif %}')[2]}"
        return text.replace("episode", "event").replace("event, event", "event")

    spoil(pack_copy, mt7, without_examples_that_fail)
    spoil(pack_copy, f"{prompts}/user_steering.md", without_flaws_and_episodes)
    spoil(pack_copy, f"{prompts}/system.md", lambda _: "---\ninputs: []\n---\nYou are a coach.\n")
    spoil(pack_copy, tics, lambda _: "figures: [{name: any, example: So., pattern: '[a-z]', answers: 0.1, transcripts: 0.1}]")
    spoil(pack_copy, "config/domains/therapeutic-coaching/episodes.yaml", lambda text: re.sub(r"(?m)^share: .*$", "share: 0.001", text))
    found = review_pack(load_pack("therapeutic-coaching", pack_copy))
    for said in (
        "occurs for none of 2,000 personas",
        "Criterion MT7 has no example that fails",
        "Criterion MT7 allows NA and does not say when",
        "user_steering.md does not use episode, flaws",
        "system.md does not use services",
        "pattern of any in tics.yaml finds 100 %",
    ):
        assert any(said in item for item in found), said


@pytest.mark.slow
def test_a_prompt_that_names_crisis_services_in_a_pack_without_them_is_reported(pack_copy):
    (pack_copy / "config/domains/therapeutic-coaching/services.yaml").unlink()
    found = review_pack(load_pack("therapeutic-coaching", pack_copy))
    assert [item.split()[0] for item in found if "their place in the prompt stays empty" in item] == [
        f"prompts/therapeutic-coaching/{name}.md" for name in ("assistant", "system")
    ]


@pytest.mark.slow
def test_the_exit_code_of_the_pack_check_says_whether_the_pack_is_complete(monkeypatch):
    found = check_domain("coding-mentor")
    assert found.code == 0
    assert "14 criteria, 2 of them gates" in found.text
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(CHECKOUT / "tests/packs"))
    found = check_domain("bicycle-workshop", prompts=True)
    assert found.code == 1
    assert "repair.md does not exist" in found.text
    assert "===== assessor =====" in found.text
    with pytest.raises(PackError) as refused:
        check_domain("nowhere")
    assert refused.value.exit_code == 2
