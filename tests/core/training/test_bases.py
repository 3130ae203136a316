"""Base models: allowed settings, the fetching of a model in a wheel, and refusals."""

import asyncio
import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from core.errors import HubError, SettingsError
from core.settings.jobs import Base
from core.settings.pipeline import load_training
from core.training.bases import base_file, check_files, folder_hash
from tests.conftest import CHECKOUT

GGUF = b"GGUF not really"
SUM = hashlib.sha256(GGUF).hexdigest()
REST = {"train": {"max-length": 64}, "convert": {}, "quantisations": ["q4_k_m"]}
STATED = {"license": "mit", "origin": "Made here."}
IN_WHEEL = "wheel:small-model==1.2/small_model/a.gguf"


def training(folder: Path, **base: object) -> Base:
    (folder / "mine.yaml").write_text(yaml.safe_dump({"base": base, **REST}), encoding="utf-8")
    return load_training(str(folder / "mine.yaml")).base


def write_wheel(folder: Path, names: list[str], version: str = "1.2") -> None:
    """Put a wheel of the package small-model where pip finds it."""
    info = f"small_model-{version}.dist-info"
    with zipfile.ZipFile(folder / f"small_model-{version}-py3-none-any.whl", "w") as wheel:
        for name in names:
            wheel.writestr(name, GGUF)
        wheel.writestr("small_model/__init__.py", "raise RuntimeError('nothing of the package is to be imported')")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: small-model\nVersion: {version}\nRequires-Dist: not-there\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the package registry, and an empty cache."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "UNDERSTUDY_CACHE": str(tmp_path / "cache"), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    return folder


def fetch(model: str = IN_WHEEL, **more: str) -> tuple[Path, str]:
    return asyncio.run(base_file(Base.model_validate({"model": model, **STATED, **more})))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("Qwen/Qwen3-14B", "hub"),
        ("./model", "folder"),
        ("/srv/models/qwen", "folder"),
        ("~/qwen", "folder"),
        ("model.gguf", "gguf"),
        ("models/model.Q4_1.gguf", "gguf"),
        (IN_WHEEL, "wheel"),
    ],
)
def test_the_form_of_a_name_says_where_the_model_is(model, kind):
    assert Base.model_validate({"model": model, **STATED}).kind == kind


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ({"repo": "Qwen/Qwen3-14B", "license": "mit"}, "`repo`, which is now called `model`"),
        ({"model": "Qwen3-14B", **STATED}, "Allowed: a name on the Hub (Qwen/Qwen3-14B), a folder"),
        ({"model": "wheel:small-model/a.gguf", **STATED}, "For a wheel, give package, version and file"),
        ({"model": "wheel:small-model==1.2/../../a.gguf", **STATED}, "leads out of the wheel"),
        ({"model": "./model", **STATED, "revision": "main"}, "has a revision, but only a model on the Hub has one"),
        ({"model": "Qwen/Qwen3-14B", "license": "mit", "sha256": SUM}, "has sha256, the checksum of a GGUF file"),
        ({"model": "./model", "license": "mit"}, "needs origin"),
        ({"model": "./model", "origin": "Made here."}, "`base.license` is required"),
    ],
)
def test_contradictory_base_settings_are_refused(tmp_path, base, said):
    with pytest.raises(SettingsError) as refused:
        training(tmp_path, **base)
    assert said in str(refused.value)
    assert "mine.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_relative_path_starts_at_the_settings_file(tmp_path, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    assert training(tmp_path, model="./model", **STATED).model == str(tmp_path / "model")
    assert training(tmp_path, model="../x/model.gguf", **STATED).model == str(tmp_path.parent / "x/model.gguf")
    assert training(tmp_path, model="~/model", **STATED).model == str(Path("~/model").expanduser())
    assert training(tmp_path, model="Qwen/Qwen3-14B", **STATED).model == "Qwen/Qwen3-14B"


@pytest.mark.parametrize("path", sorted((CHECKOUT / "config/training").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_base_can_be_named_on_a_card(path):
    base = load_training(path.stem).base
    assert base.license
    assert base.kind == "hub" or (base.origin and base.sha256)


def test_a_model_folder_is_identified_by_its_content(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").write_bytes(b"other weights")
    assert folder_hash(tmp_path / "a") != folder_hash(tmp_path / "b")


def test_a_path_without_a_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for model, said in (("./gone", "no such folder"), ("./gone.gguf", "no such file"), ("./empty", "has no config.json")):
        with pytest.raises(SettingsError, match=said) as refused:
            check_files(training(tmp_path, model=model, **STATED))
        assert str(tmp_path) in str(refused.value)


def test_a_folder_with_only_pickled_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(SettingsError, match=r"whose weights are pickles \(pytorch_model\.bin\)"):
        check_files(training(tmp_path, model=str(tmp_path), **STATED))
    (tmp_path / "model.safetensors").write_bytes(b"")
    check_files(training(tmp_path, model=str(tmp_path), **STATED))


def test_a_name_of_both_kinds_is_refused(tmp_path, monkeypatch):
    base = training(tmp_path, model="Qwen/Qwen3-14B", license="apache-2.0")
    monkeypatch.chdir(tmp_path)
    check_files(base)
    (tmp_path / "Qwen/Qwen3-14B").mkdir(parents=True)
    with pytest.raises(SettingsError, match="a name on the Hub and a folder here"):
        check_files(base)


@pytest.mark.slow
def test_a_file_in_a_wheel_is_fetched_once_and_kept(registry, tmp_path):
    write_wheel(registry, ["small_model/a.gguf", "small_model/more/b.gguf"])
    path, found = fetch(sha256=SUM)
    assert (path.read_bytes(), found) == (GGUF, SUM)
    for wheel in registry.iterdir():
        wheel.unlink()  # from here on without a network
    assert fetch() == (path, SUM)
    assert fetch("wheel:Small_Model==1.2/small_model/more/b.gguf")[0].name == "b.gguf"
    assert [item.name for item in (tmp_path / "cache/bases").iterdir()] == ["small-model-1.2"]
    assert not list((tmp_path / "cache").rglob("*.py"))


@pytest.mark.slow
async def test_concurrent_fetches_of_a_file_both_succeed(registry):
    write_wheel(registry, ["small_model/a.gguf"])
    call = "import asyncio, sys; from core.training.bases import base_file; from core.settings.jobs import Base; "
    call += "print(asyncio.run(base_file(Base(model=sys.argv[1], license='mit', origin='x')))[1])"
    both = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", call, IN_WHEEL, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        for _ in range(2)
    ]
    assert [(await process.communicate())[0].decode().strip() for process in both] == [SUM, SUM]


@pytest.mark.slow
def test_a_package_or_file_missing_in_the_registry_is_named(registry, tmp_path):
    write_wheel(registry, ["small_model/a.gguf", "small_model/b.gguf"])
    for model, said in (
        ("wheel:small-model==1.2/a.gguf", "Its GGUF files: small_model/a.gguf, small_model/b.gguf"),
        ("wheel:small-model==1.3/small_model/a.gguf", "no version 1.3 of small-model as a wheel. Allowed: 1.2"),
        ("wheel:no-such-model==1/a.gguf", "no package no-such-model"),
    ):
        with pytest.raises(SettingsError, match=said):
            fetch(model)
    assert not list((tmp_path / "cache/bases").glob(".part*"))


@pytest.mark.slow
def test_a_file_with_another_hash_than_the_settings_is_refused(registry, tmp_path):
    write_wheel(registry, ["small_model/a.gguf"])
    (tmp_path / "a.gguf").write_bytes(GGUF)
    for model in (IN_WHEEL, str(tmp_path / "a.gguf")):
        with pytest.raises(SettingsError, match="it is a different file") as refused:
            fetch(model, sha256="0" * 64)
        assert SUM in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../../a.gguf", "/tmp/a.gguf", "small_model\\..\\a.gguf"])
def test_a_wheel_with_paths_outside_it_is_not_unpacked(registry, tmp_path, name):
    write_wheel(registry, ["small_model/a.gguf", name])
    with pytest.raises((SettingsError, HubError), match=r"leads out of its folder"):
        fetch()
    assert not list(tmp_path.glob("cache/bases/*"))
    assert not (tmp_path / "cache/a.gguf").exists()


@pytest.mark.slow
def test_a_wheel_that_expands_without_end_is_not_unpacked(registry, tmp_path):
    write_wheel(registry, ["small_model/a.gguf"])
    (wheel,) = registry.iterdir()
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small_model/b.gguf", b"\0" * 70 * 2**20)
    with pytest.raises(SettingsError, match="expands to 70 MiB; 64 are allowed"):
        fetch()
    assert not list(tmp_path.glob("cache/bases/*"))


@pytest.mark.slow
@pytest.mark.parametrize(("place", "value"), [(8, 1), (10, 99)], ids=["encrypted", "an unknown compression"])
def test_a_wheel_with_a_file_that_cannot_be_unpacked_is_refused_in_a_sentence(registry, place, value):
    write_wheel(registry, ["small_model/a.gguf"])
    (wheel,) = registry.iterdir()
    data = bytearray(wheel.read_bytes())
    data[data.index(b"PK\x01\x02") + place] = value  # in the first file's entry of the directory
    wheel.write_bytes(data)
    with pytest.raises(HubError, match="is damaged"):
        fetch()


@pytest.mark.slow
def test_an_unreachable_registry_is_not_reported_as_a_missing_package(registry, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(HubError, match="registry cannot be reached for small-model"):
        fetch()
