"""The report of the dress rehearsal: what each stage refused, repeated, lost and cost, the ledger compared with the server's counts, and all conversations."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from core.llm.bills import Bill, read_entries
from core.storage.store import Store

OWN = "openai-compatible/"
"""Prefix of the models behind the recording proxy. Calls of the product's own llama-server are only on the ledger."""


def write_report(data: Path, model: str, count: int) -> Path:
    """Write `report.md` from the files of the data root; return its path."""
    every = _lines(data / "stages.jsonl")
    stages = {line["stage"]: line for line in every}
    times, minutes = Counter(line["stage"] for line in every), {name: sum(line["seconds"] for line in every if line["stage"] == name) / 60 for name in stages}
    text = [
        f"# Dress rehearsal: {model} in every role, {count} personas",
        "",
        "## Stages",
        "",
        "| stage | runs | exit code | minutes | its last line |",
        "|---|---:|---:|---:|---|",
    ]
    text += [
        f"| {name} | {times[name]} | {line['code']} | {minutes[name]:.1f} | {_cell(line['lines'][-1] if line['lines'] else '')} |"
        for name, line in stages.items()
    ]
    for part in (_costs(data), _refusals(data), _losses(data), _verdicts(data), _results(stages), _conversations(data)):
        text += ["", *part]
    path = data / "report.md"
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def _costs(data: Path) -> Iterator[str]:
    """Yield calls, tokens and seconds by stage and role, and the server's totals compared with the ledger's."""
    yield from ("## Calls", "", "Asked again: calls whose answer could not be used. `in` includes tokens that were read from the cache.", "")
    yield from ("| stage | role | model | calls | asked again | in | cached | out | seconds | USD |", "|---|---|---|---:|---:|---:|---:|---:|---:|---:|")
    store, sums = Store(str(data)), Counter[str]()
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for folder in sorted(data.glob("ledger/*")):
        for entry in read_entries(store, folder.name):
            groups[folder.name.partition("-")[0], entry["role"], entry["model"]].append(entry)
            if entry["model"].startswith(OWN) and entry.get("request_id"):  # only calls that were answered
                sums.update({"calls": 1, "input": entry["input_tokens"], "cached": entry["cache_read_tokens"], "output": entry["output_tokens"]})
    for (stage, role, model), entries in sorted(groups.items()):
        bill, again = Bill(), Counter(entry["outcome"] for entry in entries if entry["outcome"] != "ok")
        for entry in entries:
            bill.add(entry)
        seconds = sum(entry.get("seconds") or 0 for entry in entries)
        refused = f"{again.total()} ({', '.join(f'{name} {number}' for name, number in again.most_common())})" if again else "0"
        yield (
            f"| {stage} | {role} | {model.rpartition('/')[2]} | {bill.calls} | {refused} | {bill.input_tokens:,} | {bill.cache_read_tokens:,} "
            f"| {bill.output_tokens:,} | {seconds:.0f} | {bill.usd:.2f} |"
        )
    counted = [line for line in _lines(data / "server.jsonl") if line["status"] == 200]
    server = {"calls": len(counted), **{name: sum(line[name] or 0 for line in counted) for name in ("input", "cached", "output")}}
    yield from ("", "| behind the proxy | calls | in | cached | out |", "|---|---:|---:|---:|---:|")
    for name, row in (("the server's `usage`", server), ("the ledger", sums)):
        yield f"| {name} | {row['calls']} | {row['input']:,} | {row['cached']:,} | {row['output']:,} |"


def _refusals(data: Path) -> Iterator[str]:
    """Yield the number of messages that each guard refused, with the first one as an example."""
    yield from ("## Refused by the guards", "", "| stage | side | guard | messages | for example |", "|---|---|---|---:|---|")
    messages: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for stage, refused in _rejections(data):
        messages[stage, refused["side"], refused["fault"]].append(refused["found"])
    for (stage, side, fault), shown in sorted(messages.items()):
        yield f"| {stage} | {side} | {fault.replace('_', ' ')} | {len(shown)} | {_cell(shown[0])[:120]} |"


def _losses(data: Path) -> Iterator[str]:
    """Yield the conversations that were left out, with the reasons."""
    yield from ("## Lost", "")
    for path in sorted(data.glob("batches/*.json")):
        batch = json.loads(path.read_text(encoding="utf-8"))
        for item in batch.get("left_out", []):
            yield f"- {path.stem.partition('-')[0]}: {item['name']}: {_cell(item['reason'])}"


def _verdicts(data: Path) -> Iterator[str]:
    """Yield the number of answers by judge, and the reasons of verdicts that are ERROR."""
    yield from ("## Verdicts", "", "| judge | conversations | YES | NO | NA | ERROR |", "|---|---:|---:|---:|---:|---:|")
    judges: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, item in _assessments(data):
        judges[item["judge"]].append(item)
    for judge, items in sorted(judges.items()):
        answers = Counter(verdict["answer"] for item in items for verdict in item["verdicts"])
        yield f"| {judge} | {len(items)} | {' | '.join(str(answers[name]) for name in ('YES', 'NO', 'NA', 'ERROR'))} |"
    reasons = Counter(
        verdict["reasoning"].partition(":")[0][:90]
        for items in judges.values()
        for item in items
        if " + " not in item["judge"]
        for verdict in item["verdicts"]
        if verdict["answer"] == "ERROR"
    )
    yield from ("", "Why a verdict is ERROR:", "", *(f"- {number} × {_cell(reason)}" for reason, number in reasons.most_common()))


def _results(stages: dict[str, Any]) -> Iterator[str]:
    """Yield the last lines of each stage."""
    yield "## What each stage said"
    for name, line in stages.items():
        yield from ("", f"### {name}", "", "```", *map(str, line["lines"]), "```")


def _conversations(data: Path) -> Iterator[str]:
    """Yield every conversation with the verdicts on it."""
    yield "## Conversations and verdicts"
    verdicts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, item in _assessments(data):
        verdicts[item["transcript_id"]].append(item)
    for path in _transcripts(data):
        item = json.loads(path.read_text(encoding="utf-8"))
        persona, refused = item.get("persona") or {}, item["provenance"].get("rejections", [])
        topics = ", ".join(topic["subtopic"] for topic in persona.get("topics", []))
        yield from ("", f"### {path.relative_to(data).parent} / {item['id']}", "", f"{persona.get('name')}: {topics}. {len(refused)} messages refused.", "")
        for exchange in item["exchanges"]:
            yield from (f"- **user {exchange['exchange_number']}**: {_cell(exchange['user'])}", f"- **assistant**: {_cell(exchange['assistant'])}")
        for judged in verdicts[item["id"]]:
            yield from ("", f"{judged['judge']}: {judged['score']['outcome']}", "")
            yield from (
                f"- {verdict['criterion']} {verdict['answer']} {verdict['cited'] or ''}: {_cell(verdict['reasoning'])}" for verdict in judged["verdicts"]
            )


def _rejections(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in _transcripts(data):
        item = json.loads(path.read_text(encoding="utf-8"))
        for refused in item["provenance"].get("rejections", []):
            yield str(path.relative_to(data).parts[0]), refused
    for path in sorted(data.rglob("turns/*.jsonl")):  # conversations that were not finished
        for line in _lines(path):
            if "fault" in line:
                yield "lost", line


def _transcripts(data: Path) -> Iterable[Path]:
    return sorted(path for path in data.rglob("*.json") if "transcripts" in path.parts and path.parent.name != "prefect")


def _assessments(data: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(path for path in data.rglob("*.json") if "assessments" in path.parts):
        item = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(item, dict) and "verdicts" in item:
            yield path, item


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
