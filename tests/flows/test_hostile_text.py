"""Text from strangers stays text in the Prefect UI, which renders descriptions, links, table cells and reports as Markdown."""

import json
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from core.storage.store import open_store
from flows.assessment import assessment
from tasks.artifacts import begin_progress, move_progress, publish_link, publish_report, publish_table
from tests.core.hostile import ALL, HOSTILE, active

OURS = ("https://hub.example/",)


async def artifacts(keys):
    async with get_client() as client:
        named = ArtifactFilter(key=ArtifactFilterKey(any_=sorted(keys)))
        found = await client.read_artifacts(artifact_filter=named, limit=200)
    assert {item.key for item in found} == set(keys)
    return found


def assert_quiet(item):
    assert not active(item.description or "", OURS), item.key
    if item.type == "table":
        for row in json.loads(item.data):
            for cell in (*row, *map(str, row.values())):
                assert not active(cell), item.key
    elif isinstance(item.data, str):
        assert not active(item.data, OURS), item.key


async def test_no_artifact_renders_a_text_as_markup():
    @flow
    async def publish() -> None:
        unescaped: Any = ALL
        await publish_report(unescaped, "hostile-report", ALL)
        await publish_table([{ALL: ALL, "n": 1}, {ALL: HOSTILE[4], "n": 2}], "hostile-table", ALL)
        await publish_link("https://hub.example/a b)<c>", "hostile-link", ALL, ALL)
        await publish_link("javascript:alert(1)", "hostile-address", ALL, ALL)
        await move_progress(await begin_progress("hostile-progress", ALL), 50.0, ALL)

    await publish()
    for item in await artifacts({f"hostile-{name}" for name in ("report", "table", "link", "address", "progress")}):
        assert_quiet(item)


async def test_hostile_transcripts_are_assessed_and_no_artifact_renders_their_markup(tmp_path, settings, data_root):
    folder = tmp_path / "talks"
    folder.mkdir()
    for number, text in enumerate(HOSTILE):
        exchanges = [{"user": f"{text} {number} {turn}", "assistant": ALL} for turn in range(3)]
        whole = {"exchanges": exchanges, "persona": {"name": text, text: [text], "flaws": text}, "provenance": {"caveat": text, text: text}}
        name = "".join(character for character in text if character not in "/\x00")[:40]
        (folder / f"{number}{name}.json").write_text(json.dumps(whole), encoding="utf-8")
        (folder / f"broken{number}{name}.json").write_text(json.dumps({text: {text: text}}), encoding="utf-8")
    batch = await assessment(transcripts=str(folder), settings=settings)
    (report,) = open_store().local("reports").glob(f"{batch.removeprefix('batches/').removesuffix('.json')}*/report.md")
    assert not active(report.read_text(encoding="utf-8"))
    for item in await artifacts({"assessment-therapeutic-coaching", "criteria-therapeutic-coaching"}):
        assert_quiet(item)
