"""Running a job script once: its output appears whole, under the name that its inputs give it, or not at all."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

from blocks.local_job import LocalJob
from core.errors import JobError
from core.fingerprint import fingerprint
from core.processes import is_running
from core.settings import Argument
from core.store import CHECKOUT, open_store

SCRIPTS = CHECKOUT / "deployments" / "jobs"
STEPS = 5
"""A job's progress is told about this often."""


def script_hash(script: str) -> str:
    """Return the hash of a script's text: a changed script makes its outputs anew."""
    return fingerprint((SCRIPTS / script).read_text(encoding="utf-8"))


async def run_job(script: str, output: str, finished: str, arguments: Mapping[str, Argument]) -> dict[str, Any]:
    """Run a job script, unless its output is there already.

    Args:
        script: file name below `deployments/jobs`.
        output: name of the output folder below the data root.
        finished: JSON file in it that the script writes last.
        arguments: passed as `--name value`; true as `--name` alone, false not at all, a list as several values.

    Returns:
        What the script wrote into its last file.

    Raises:
        JobError: it failed, or ended well without its last file.
    """
    folder = open_store().local(output)
    if not (folder / finished).is_file():
        part = folder.with_name(f".part-{folder.name}-{os.getpid()}")
        for abandoned in folder.parent.glob(f".part-{folder.name}-*"):
            if abandoned == part or not is_running(int(abandoned.name.rsplit("-", 1)[-1])):  # of a run that was killed; its job ended with it
                shutil.rmtree(abandoned, ignore_errors=True)
        flags = [word for name, value in {**arguments, "output": str(part)}.items() for word in _flag(name, value)]
        log = folder.with_name(f"{folder.name}.log")
        get_run_logger().info("%s runs; its log is %s", Path(script).stem, log)
        run = await LocalJob(script=SCRIPTS / script, arguments=flags, log=log).trigger(_teller(script))
        await run.wait_for_completion()
        if not (part / finished).is_file():
            raise JobError(f"The job {script} ended well but left no {finished} in {part}. Look at {folder.name}.log beside it and run again.")
        _take(part, folder)
    return json.loads((folder / finished).read_text(encoding="utf-8"))


def _flag(name: str, value: Argument) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    return [f"--{name}", *(value if isinstance(value, list) else [str(value)])]


def _take(part: Path, folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)  # an unfinished one of an older version
        part.rename(folder)
    except OSError as error:
        raise JobError(f"Cannot move {part} to {folder}: {error.strerror}. Move it by hand and run again.") from error


def _teller(script: str) -> Any:
    """Return a reporter that logs a few of a job's many progress lines."""
    logger, told = get_run_logger(), {"step": 0.0}

    def tell(event: dict[str, Any]) -> None:
        if event.get("event") == "progress" and event.get("of"):
            done = event["step"] / event["of"]
            if done - told["step"] >= 1 / STEPS or done < told["step"]:
                told["step"] = done
                loss = f", loss {event['loss']:.2f}" if isinstance(event.get("loss"), float) else ""
                logger.info("%s: step %d of %d%s, about %d s left.", Path(script).stem, event["step"], event["of"], loss, event.get("seconds_left") or 0)
        elif event.get("event") == "truncation":
            logger.info("%s: %s", Path(script).stem, _cut(event))

    return tell


def _cut(event: dict[str, Any]) -> str:
    """Say how many examples are longer than the training length."""
    parts = [f"{event[split]['truncated']} of {event[split]['examples']} {split} examples are cut" for split in ("train", "validation") if split in event]
    return f"{', '.join(parts)} at {event['max_length']} tokens."
