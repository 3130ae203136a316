"""The training loop, with its events and checkpoints."""

import argparse
import time
from typing import Any

from ..common.events import emit
from ..common.files import write_json
from .checkpoints import COMPLETE, push_checkpoint, remove_checkpoints
from .soundness import check_step, check_weights
from .weighting import by_reply


def run(
    trainer: Any, arguments: argparse.Namespace, checkpoint: dict[str, Any] | None, identity: str
) -> dict[str, Any]:
    """Train, from a checkpoint if there is one; return speed, memory and the first loss."""
    import torch
    from transformers import TrainerState

    before, folder, state = 0, None, None
    kept: dict[str, Any] = {"identity": identity}
    report_progress(trainer, arguments, kept)
    if checkpoint:
        emit("resumed", step=checkpoint["step"])
        first = kept["validation_loss_first"] = checkpoint["validation_loss_first"]
        folder = arguments.output / f"checkpoint-{checkpoint['step']}"
        state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        # TRL would count from zero.
        before = max((entry.get("num_tokens", 0) for entry in state.log_history), default=0)
        trainer._total_train_tokens = before
    else:
        # Kept here, since train() starts a new log.
        first = kept["validation_loss_first"] = trainer.evaluate()["eval_loss"]
    started = time.monotonic()
    if state and state.global_step >= state.max_steps:
        # All steps are done; train() would add one if the last epoch is incomplete.
        trainer.state = state
        trainer._load_from_checkpoint(str(folder))
    else:
        trainer.train(resume_from_checkpoint=str(folder) if folder else None)
    seconds, tokens = time.monotonic() - started, trainer._total_train_tokens - before
    if arguments.evaluate == "end":
        trainer.evaluate()
    peak = None if trainer.args.use_cpu else torch.cuda.max_memory_allocated()
    if peak:
        emit("memory", peak_bytes=peak)
    return {
        "tokens_per_second": round(tokens / seconds, 1) if tokens else None,
        "peak_memory_bytes": peak,
        "resumed_from": checkpoint["step"] if checkpoint else None,
        "validation_loss_first": round(first, 4),
    }


def report_progress(trainer: Any, arguments: argparse.Namespace, kept: dict[str, Any]) -> None:
    """Replace transformers' output with one JSON line per step, and handle the checkpoints.

    Args:
        kept: facts that are written into each checkpoint; the caller may add more later.
    """
    from transformers import TrainerCallback

    class Lines(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started, self.first = time.monotonic(), state.global_step

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any
        ) -> None:
            step, of = state.global_step, state.max_steps
            first, rate = kept.get("validation_loss_first"), arguments.learning_rate
            check_step(logs, state.log_history, step, first, rate)
            if "loss" in logs:
                left = (time.monotonic() - self.started) / (step - self.first) * (of - step)
                figures = {
                    "loss": round(logs["loss"], 4),
                    "learning_rate": logs["learning_rate"],
                    "tokens": int(logs["num_tokens"]),
                }
                emit("progress", step=step, of=of, **figures, seconds_left=round(left, 1))
            elif "eval_loss" in logs:
                parts = by_reply(trainer.reply_losses)
                state.log_history[-1]["by_reply"] = parts
                emit("validation", step=step, loss=round(logs["eval_loss"], 4), by_reply=parts)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # At the end of an epoch, validate first, so that the checkpoint's log includes it.
            last = control.should_training_stop or float(state.epoch).is_integer()
            self.late = control.should_save and last
            control.should_save = control.should_save and not self.late
            if control.should_save or self.late:
                check_weights(trainer.model.named_parameters(), arguments, state.global_step)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_save = control.should_save or self.late

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            folder = arguments.output / f"checkpoint-{state.global_step}"
            write_json(folder / COMPLETE, {"step": state.global_step, **kept})
            remove_checkpoints(arguments, but=folder)
            emit("checkpoint", step=state.global_step, where=str(folder))
            if arguments.push_to:
                push_checkpoint(arguments, folder, state.global_step)

    trainer.add_callback(Lines())
