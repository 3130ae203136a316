"""Comparison of the measured figures with the tolerances."""

import argparse
import math
from typing import Any

from ..common.events import JobError, emit
from .checks import passed
from .losses import Losses, compare, interval, mean

TOLERANCES = ("loss_tolerance", "logit_tolerance", "min_agreement", "min_greedy_agreement")
TOLERANCES += ("quantisation_tolerance", "reply_tokens")
BY_FILE = ("heldout_loss", "heldout_loss_difference", "heldout_loss_interval", "kl_divergences")
BY_FILE += ("kl_intervals", "replies", "samples")
LOGITS = ("positions_compared", "logit_difference", "kl_divergence", "argmax_agreement")
GREEDY = ("greedy_tokens_compared", "greedy_agreement", "greedy_near_ties")


def judge(measured: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare the measured figures with the tolerances.

    Returns:
        All figures, for export.json.

    Raises:
        JobError: a tolerance is exceeded. The message names the option and states when a larger
            value is safe.
    """
    f16, losses = f"{arguments.name}-f16.gguf", measured["losses"]
    checks: dict[str, Any] = measured["checks"] | {name: {} for name in BY_FILE}
    checks |= {name: getattr(arguments, name) for name in TOLERANCES}
    checks["merged_loss"] = mean(losses["merged"])
    if "adapter" in losses:
        judge_merge(losses, checks, arguments)
    passed("logits", **{name: checks[name] for name in LOGITS})
    judge_logits("The f16 GGUF", checks, arguments)
    passed("greedy replies", **{name: checks[name] for name in GREEDY})
    judge_greedy("The f16 GGUF", checks, arguments)
    checks["lora"] = judge_adapter(measured["checks"].get("lora"), losses["merged"], arguments)
    for file in (f16, *(f"{arguments.name}-{kind}.gguf" for kind in arguments.quantisations)):
        judge_file(file, f16, measured, checks, arguments)
    return checks


def judge_merge(
    losses: dict[str, Losses], checks: dict[str, Any], arguments: argparse.Namespace
) -> None:
    these, those = ("the merged model", losses["merged"]), losses["adapter"]
    apart = ("base and adapter, not merged,", those)
    difference, _ = check_loss(these, apart, "--loss-tolerance", arguments)
    checks["adapter_loss"] = mean(those)
    both = {name: checks[name] for name in ("adapter_loss", "merged_loss")}
    checks |= passed("merge", **both, merged_loss_difference=difference)


def judge_adapter(
    figures: dict[str, Any] | None, merged: Losses, arguments: argparse.Namespace
) -> dict[str, Any] | None:
    """Return the figures of the adapter's own file; None, with a warning, if a check failed."""
    if figures is None:
        return None
    what = "the base with the adapter's GGUF"
    try:
        if why := figures.get("why"):
            raise JobError(why)
        judge_logits(what, figures, arguments)
        judge_greedy(what, figures, arguments)
        theirs = ("the merged model", merged)
        difference, _ = check_loss((what, figures["losses"]), theirs, "--loss-tolerance", arguments)
    except JobError as error:
        text = f"The adapter gets no separate GGUF file for --lora: {error}"
        emit("warning", text=text)
        return None
    shown = {name: figures[name] for name in (*LOGITS, "max_logit_difference", *GREEDY)}
    shown |= {"heldout_loss": mean(figures["losses"]), "heldout_loss_difference": difference}
    return passed("adapter", **shown)


def judge_logits(what: str, checks: dict[str, Any], arguments: argparse.Namespace) -> None:
    difference, alike = checks["logit_difference"], checks["argmax_agreement"]
    tolerance, minimum = arguments.logit_tolerance, arguments.min_agreement
    if not (difference <= tolerance and alike >= minimum):
        figures = f"logits differ by {difference:.3g} of their spread, and the likeliest token is"
        figures = f"{figures} the same at {alike:.3f} of the positions"
        allowed = f"allowed are --logit-tolerance {tolerance:g} and --min-agreement {minimum:g}"
        safe = "raise the first only for a reference in 16-bit arithmetic, since rounding in 32"
        wrong = f"{what} does not compute the same as the merged model"
        raise JobError(f"{wrong}: {figures}; {allowed}; {safe} bits stays below 0.02.")


def judge_greedy(what: str, checks: dict[str, Any], arguments: argparse.Namespace) -> None:
    alike, minimum = checks["greedy_agreement"], arguments.min_greedy_agreement
    if alike < minimum:
        wrong = f"{what} does not write the same replies as the merged model"
        figures = f"{alike:.3f} of {checks['greedy_tokens_compared']} greedy tokens agree"
        safe = "a lower value is safe only if the logits agree and the replies are short"
        raise JobError(f"{wrong}: {figures}; --min-greedy-agreement is {minimum:g}, and {safe}.")


def judge_file(
    file: str,
    f16: str,
    measured: dict[str, Any],
    checks: dict[str, Any],
    arguments: argparse.Namespace,
) -> None:
    """Add the loss and the reply of a GGUF file to the checks, if they are acceptable."""
    losses, reply = measured["losses"], measured["replies"][file]
    ours = (file, losses[file])
    if file == f16:
        theirs, option = ("the merged model", losses["merged"]), "--loss-tolerance"
        difference, half = check_loss(ours, theirs, option, arguments)
    else:
        theirs, option = ("the f16 GGUF", losses[f16]), "--quantisation-tolerance"
        lenient = {"rise": True, "warn": not arguments.adapter}
        difference, half = check_loss(ours, theirs, option, arguments, **lenient)
        kl, either = interval(measured["kl"][file])
        checks["kl_divergences"][file], checks["kl_intervals"][file] = kl, either
        checks["samples"][file] = measured["samples"][file]
    figures = {"loss": mean(losses[file]), "difference": difference, "interval": half}
    against, tolerance = theirs[0], tolerance_of(option, arguments)
    passed("loss", file=file, **figures, against=against, tolerance=tolerance)
    checks["heldout_loss"][file] = figures["loss"]
    checks["heldout_loss_difference"][file] = difference
    checks["heldout_loss_interval"][file] = half
    checks["replies"][file] = passed("reply", file=file, **reply)
    if arguments.adapter and not reply["reply"]:
        wrong = f"{file} gives an empty reply to {reply['prompt']!r}"
        raise JobError(f"{wrong}; train more, or try another of --quantisations.")
    if arguments.adapter and not reply["ended_by_itself"] and not arguments.allow_endless:
        wrong = f"{file} does not end its reply within --reply-tokens {arguments.reply_tokens}"
        remedy = "train more, give more tokens, or allow it with --allow-endless, which is safe"
        raise JobError(f"{wrong}: {reply['reply'][-60:]!r}; {remedy} if replies may be cut.")


def tolerance_of(option: str, arguments: argparse.Namespace) -> float:
    return getattr(arguments, option[2:].replace("-", "_"))


def check_loss(
    ours: tuple[str, Losses],
    theirs: tuple[str, Losses],
    option: str,
    arguments: argparse.Namespace,
    rise: bool = False,
    warn: bool = False,
) -> tuple[float, float]:
    """Compare two losses; fail if all of the 95 % interval of the difference is too high.

    Args:
        ours, theirs: a name for each side, and its losses.
        option: the command-line option with the tolerance.
        rise: only a higher loss fails.
        warn: emit a warning instead of failing.

    Returns:
        Their mean difference, and half the width of its interval.
    """
    (this, these), (that, those) = ours, theirs
    (difference, half), tolerance = compare(these, those), tolerance_of(option, arguments)
    if not (difference if rise else abs(difference)) - half <= tolerance:
        tokens = sum(map(len, these))
        wrong = f"On {tokens:,} held-out tokens the mean loss of {this} is {mean(these):.4f} and"
        wrong = f"{wrong} that of {that} {mean(those):.4f}, {difference:+.3g} ± {half:.2g}"
        safe = "a larger value is not safe: the file would be a different model"
        if rise:
            safe = "a larger value is safe if the replies in the log read well"
        text = f"{wrong}; {option} is {tolerance:g}, and {safe}."
        if not warn or math.isnan(difference):
            raise JobError(text)
        emit("warning", text=text)
    return difference, half
