"""Published results are checked on each run, before a job is paid for, and published again where they are missing."""

import asyncio
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml
from huggingface_hub import HfApi
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import FlowRunSort

from core.errors import HubError, SettingsError, UnderstudyError
from core.records import ModelRef
from core.settings.pipeline import load_training
from core.storage.store import open_store
from flows.dataset import dataset
from flows.pipeline import pipeline
from flows.training import training
from tasks.jobs import run_script
from tasks.run import begin_run
from tasks.training import base_model
from tests.flows.conftest import write_settings
from tests.flows.test_dataset import write_elsewhere
from tests.hub_stub.client import start_hub
from tests.tiny import tiny_base

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's own client, when it uploads a file

TRAIN = {
    "base": {"model": "me/tiny", "revision": "main", "license": "mit"},
    "flavors": {"train": "a100-large", "convert": "cpu-xl"},
    "train": {"max-length": 1024},
    "convert": {},
    "quantisations": ["q4_k_m"],
}
REPO = "me/therapeutic-coaching"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with start_hub(tmp_path_factory.mktemp("one")) as one, start_hub(tmp_path_factory.mktemp("other")) as other:
        yield one, other


@pytest.fixture
def hub(servers, monkeypatch, tmp_path):
    for server in servers:
        server.reset()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    be_at(servers[0], monkeypatch)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    write_elsewhere(tmp_path)
    return servers[0]


def be_at(server, monkeypatch):
    """Make this server the Hub of the environment."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")


def api_of(server):
    return HfApi(endpoint=server.url, token="hf_write")


def on_the_hub(folder: Path, **changes: dict[str, object]) -> str:
    """Return settings that publish on the Hub and run jobs there."""
    given = {name: {"hub": "hf", "repo": "me/{domain}"} | changes.get(name, {}) for name in ("dataset", "export")}
    path = Path(write_settings(folder, **given, jobs={"where": "hf", "approve": "never", **changes.get("jobs", {})}))
    (folder / "train.yaml").write_text(yaml.safe_dump(TRAIN), encoding="utf-8")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text(encoding="utf-8")), "training": str(folder / "train.yaml")}), encoding="utf-8")
    return str(path)


async def made(folder, settings):
    return await dataset(checkpoints=str(folder / "old.jsonl"), transcripts=str(folder / "transcripts"), settings=settings)


async def test_the_missing_and_damaged_files_of_a_dataset_are_restored_here_and_on_its_hub(tmp_path, data_root):
    write_elsewhere(tmp_path)
    settings = write_settings(tmp_path)
    first = await made(tmp_path, settings)
    hub, own = Path(first.url), data_root / first.path
    tag = hub.parents[1] / f"refs/tags/run-{own.name}"
    files = {path: path.read_bytes() for folder in (hub, own) for path in folder.glob("*.parquet")}
    for spoil in (
        lambda: shutil.rmtree(data_root / "hub"),
        (hub / "train.parquet").unlink,
        lambda: tag.write_text("0" * 40 + "\n", encoding="utf-8"),
        (own / "train.parquet").unlink,
        lambda: (own / "validation.parquet").write_bytes(b"PAR1"),
        lambda: shutil.rmtree(own),
    ):
        spoil()
        assert await made(tmp_path, settings) == first
        assert {path: path.read_bytes() for path in files} == files
        assert tag.read_text(encoding="utf-8").strip() == first.commit


async def states(flow_name: str) -> dict[str, str]:
    """Return the final state of each task of the latest flow run by the task's name, once the server has recorded them all."""
    async with get_client() as client:
        (run,) = await client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        assert run.name.startswith(flow_name)
        ours = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        while True:
            runs = await client.read_task_runs(flow_run_filter=ours)
            if runs and all(one.state and one.state.is_final() for one in runs):
                return {one.name.partition(" ")[0]: str(one.state_name) for one in runs}
            await asyncio.sleep(0.2)


async def test_tasks_whose_results_existed_end_as_cached_and_others_as_completed(tmp_path, data_root):
    write_elsewhere(tmp_path)
    settings = write_settings(tmp_path)
    first = await made(tmp_path, settings)
    assert await states("dataset") == {"build": "Completed", "push": "Completed"}
    await made(tmp_path, settings)
    assert await states("dataset") == {"build": "Cached", "push": "Cached"}
    shutil.rmtree(first.url)
    await made(tmp_path, settings)
    assert await states("dataset") == {"build": "Cached", "push": "Completed"}


SCRIPT = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--output", type=pathlib.Path)
output = parser.parse_args().output
output.mkdir(parents=True)
(output / "weights").write_text("weights")
(output / "done.json").write_text(json.dumps({"files": {"weights": {"bytes": 7}}}))
"""


async def test_a_job_whose_result_lost_a_file_or_part_of_one_runs_again(tmp_path, data_root, monkeypatch):
    monkeypatch.setattr("tasks.jobs.SCRIPTS", tmp_path)
    (tmp_path / "make.py").write_text(SCRIPT, encoding="utf-8")

    @flow
    async def make() -> None:
        await run_script(open_store(), "make.py", "models/x", "done.json", {})

    await make()
    weights, began = data_root / "models/x/weights", (data_root / "models/x/done.json").stat().st_ino
    await make()
    assert (data_root / "models/x/done.json").stat().st_ino == began
    for spoil in (weights.unlink, lambda: weights.write_text("wei", encoding="utf-8"), (data_root / "models/x/done.json").unlink):
        spoil()
        await make()
        assert weights.read_text(encoding="utf-8") == "weights"


async def test_a_dataset_that_was_deleted_on_the_hub_is_published_again(hub, tmp_path, data_root):
    settings, api = on_the_hub(tmp_path), api_of(hub)
    first = await made(tmp_path, settings)
    (tag,) = api.list_repo_refs(REPO, repo_type="dataset").tags
    assert tag.target_commit == first.commit
    api.delete_repo(REPO, repo_type="dataset")
    again = await made(tmp_path, settings)
    assert api.repo_info(REPO, repo_type="dataset", revision=tag.name).sha == again.commit
    assert "train.parquet" in api.list_repo_files(REPO, repo_type="dataset", revision=again.commit)
    api.delete_tag(REPO, tag=tag.name, repo_type="dataset")
    assert await made(tmp_path, settings) == again
    assert api.repo_info(REPO, repo_type="dataset", revision=tag.name).sha == again.commit


async def test_a_dataset_is_also_published_on_a_second_hub(hub, servers, tmp_path, data_root, monkeypatch):
    settings = on_the_hub(tmp_path)
    await made(tmp_path, settings)
    be_at(servers[1], monkeypatch)
    again = await made(tmp_path, settings)
    assert again.url.startswith(servers[1].url)
    assert api_of(servers[1]).repo_info(REPO, repo_type="dataset").sha == again.commit


async def test_a_training_on_a_dataset_that_was_deleted_submits_no_job(hub, tmp_path, data_root):
    settings, api = on_the_hub(tmp_path), api_of(hub)
    api.create_repo("me/tiny")
    api.upload_folder(repo_id="me/tiny", folder_path=tiny_base())
    found = await made(tmp_path, settings)
    api.delete_repo(REPO, repo_type="dataset")
    with pytest.raises(HubError, match=f"The dataset {REPO} at {found.commit[:12]} does not exist .* Run the dataset flow again"):
        await training(settings=settings)
    assert hub.jobs() == []


@flow
async def find(settings: str) -> ModelRef:
    run = await begin_run("training", "therapeutic-coaching", settings)
    return await base_model(run, load_training(run.settings.training))


async def test_a_base_on_the_hub_is_its_latest_commit_and_a_deleted_one_is_reported(hub, tmp_path, data_root):
    settings, api = on_the_hub(tmp_path), api_of(hub)
    api.create_repo("me/tiny")
    api.upload_folder(repo_id="me/tiny", folder_path=tiny_base())
    first = await find(settings)
    assert first.commit == api.repo_info("me/tiny").sha
    api.upload_file(repo_id="me/tiny", path_or_fileobj=b"more", path_in_repo="notes.txt")
    assert (await find(settings)).commit == api.repo_info("me/tiny").sha != first.commit
    api.delete_repo("me/tiny")
    with pytest.raises(HubError, match="has no model me/tiny"):
        await find(settings)


async def test_everything_that_forbids_a_pipeline_is_reported_at_once_before_anything_is_made(hub, tmp_path, data_root):
    settings, api = on_the_hub(tmp_path, dataset={"license": "my-own"}, export={"repo": "you/{domain}"}, jobs={"namespace": "me"}), api_of(hub)
    api.create_repo(REPO, repo_type="dataset", private=False)
    api.create_repo("me/understudy-jobs", repo_type="dataset", private=False)
    with pytest.raises(UnderstudyError) as refused:
        await pipeline(settings=settings)
    for reason in (
        f"dataset repository {REPO} is public",
        "'you/therapeutic-coaching-adapter' is in 'you'",
        "'you/therapeutic-coaching-base-gguf' is in 'you'",
        "'you/therapeutic-coaching-gguf' is in 'you'",
        "does not know the licence 'my-own' (dataset.license)",
        "has no model me/tiny",
        "dataset repository me/understudy-jobs is public",
    ):
        assert reason in str(refused.value)
    assert str(refused.value).startswith("7 things must be corrected first:")
    assert not list(data_root.glob("transcripts/*/*"))
    assert hub.jobs() == []


async def test_a_machine_that_the_service_does_not_offer_is_reported_before_anything_is_made(hub, tmp_path, data_root):
    api = api_of(hub)
    api.create_repo("me/tiny")
    settings = on_the_hub(tmp_path)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**TRAIN, "flavors": {"train": "l4x1", "convert": "rtx-pro-6000"}}), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"flavors.convert .* is 'rtx-pro-6000'. The service offers: .*cpu-xl"):
        await pipeline(settings=settings)
