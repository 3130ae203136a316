"""The review of a pack: the shipped ones lack nothing, and each thing that is taken away is named with its file."""

import pytest

from core.authoring.pack_check import rendered_prompts, review_pack
from core.errors import PackError
from core.packs.pack import load_pack
from flows.terminal.domain_packs import check_domain
from tests.conftest import CHECKOUT

SHIPPED = sorted(path.name for path in (CHECKOUT / "config/domains").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_packs_lack_nothing_and_their_prompts_render(name):
    pack = load_pack(name, CHECKOUT)
    assert review_pack(pack) == []
    for prompt, text in rendered_prompts(pack).items():
        assert text, prompt
        assert "{{" not in text


def spoil(root, file, change):
    path = root / file
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    return review_pack(load_pack("therapeutic-coaching", root))


@pytest.mark.slow
def test_a_criterion_without_an_example_that_fails_is_named(pack_copy):
    file = "prompts/therapeutic-coaching/criteria/MT7-follow-up.md"
    found = spoil(pack_copy, file, lambda text: "\n".join(line for line in text.splitlines() if not (line.startswith("- ") and "NO" in line)))
    assert any("Criterion MT7 has no example that fails" in item for item in found)


@pytest.mark.slow
def test_na_without_a_rule_is_named(pack_copy):
    found = spoil(pack_copy, "prompts/therapeutic-coaching/criteria/MT7-follow-up.md", lambda text: text.replace("**NA**", "Otherwise"))
    assert any("Criterion MT7 allows NA and does not say when" in item for item in found)


@pytest.mark.slow
def test_a_prompt_that_leaves_out_what_it_needs_is_named(pack_copy):
    def change(text):
        head, _, body = text.partition("\n---\n")
        declared = head.replace("flaws, ", "")
        start, _, rest = body.partition("{% if flaws %}")
        return f"{declared}\n---\n{start}{rest.partition('{% endif %}')[2]}"

    found = spoil(pack_copy, "prompts/therapeutic-coaching/user_steering.md", change)
    assert any("user_steering.md does not use flaws" in item for item in found)


@pytest.mark.slow
def test_a_prompt_that_does_not_use_what_a_file_of_the_pack_is_for_is_named(pack_copy):
    file = pack_copy / "prompts/therapeutic-coaching/user_steering.md"
    file.write_text(file.read_text(encoding="utf-8").replace("episode", "event").replace("event, event", "event"), encoding="utf-8")
    found = spoil(pack_copy, "prompts/therapeutic-coaching/system.md", lambda _: "---\ninputs: []\n---\nYou are a coach.\n")
    assert any("user_steering.md does not use episode" in item for item in found)
    assert any("system.md does not use services" in item for item in found)


@pytest.mark.slow
def test_a_prompt_that_names_services_of_a_pack_without_them_is_named(pack_copy):
    (pack_copy / "config/domains/therapeutic-coaching/services.yaml").unlink()
    found = review_pack(load_pack("therapeutic-coaching", pack_copy))
    assert [item.split()[0] for item in found if "nothing stands in that place" in item] == [
        f"prompts/therapeutic-coaching/{name}.md" for name in ("assistant", "system")
    ]


@pytest.mark.slow
def test_a_figure_of_speech_that_every_message_has_is_named(pack_copy):
    found = spoil(
        pack_copy,
        "config/domains/therapeutic-coaching/tics.yaml",
        lambda _: "figures: [{name: any, example: So., pattern: '[a-z]', answers: 0.1, transcripts: 0.1}]",
    )
    assert any("pattern of any in tics.yaml finds 100 %" in item for item in found)


@pytest.mark.slow
def test_the_command_tells_by_its_exit_code(monkeypatch):
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
