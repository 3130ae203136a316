"""The trainer: it weights each learnt token as its example says, and measures the validation loss
by the position of the reply in its conversation."""

from collections import defaultdict
from importlib import import_module
from typing import Any

from .sampling import grouped


def trainer_of() -> Any:
    """Return the trainer's class: TRL's, with a weight for each token."""
    from trl import SFTTrainer

    class ConversationTrainer(SFTTrainer):
        # The loss is divided by the weight of all tokens of a step, not of each of its batches.
        loss_is_scaled_for_ga = True

        def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
            self.reply_losses: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
            self.counted_losses = [0.0, 0.0]
            output: Any = super().evaluation_loop(*args, **kwargs)
            # transformers averages the means of the batches. This depends on the batch size, and a
            # token of a short window would count more than one of a long conversation.
            loss, tokens = self.counted_losses
            output.metrics["eval_loss"] = loss / tokens
            return output

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            knobs: Any = self.args
            if knobs.train_batch_size == 1 or knobs.padding_free:
                return super()._get_train_sampler(train_dataset)
            rows: Any = train_dataset or self.train_dataset
            lengths = [len(ids) for ids in rows["input_ids"]]
            return grouped(lengths, knobs.train_batch_size, knobs.seed)

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            return sum(batch["times"][..., 1:].sum() for batch in batch_samples).to(device)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            # The first token is never predicted.
            times, replies = (inputs.pop(name)[..., 1:] for name in ("times", "replies"))

            trained: Any = self.model

            def weighted(*args: Any, **kwargs: Any) -> Any:
                outputs = model(*args, **kwargs)
                if not trained.training:
                    add_losses(self.reply_losses, replies, outputs.log_probs)
                outputs.log_probs = outputs.log_probs * times.to(outputs.log_probs.device)
                if not trained.training:
                    self.counted_losses[0] -= float(outputs.log_probs.double().sum())
                    self.counted_losses[1] += float(times.sum())
                return outputs

            counted = times.sum() if num_items_in_batch is None else num_items_in_batch
            return super().compute_loss(weighted, inputs, return_outputs, counted)

    return ConversationTrainer


class Collator:
    """Collates a batch with TRL's collator, and adds the columns that TRL does not know."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        torch = import_module("torch")
        batch = self.collator(examples)
        for name in ("times", "replies"):
            rows = [torch.as_tensor(example[name]) for example in examples]
            if len(batch["labels"]) == 1:  # without padding, all examples are in one row
                rows = [torch.cat(rows)]
            batch[name] = torch.zeros_like(batch["labels"])
            for place, row in enumerate(rows):
                batch[name][place, : len(row)] = row
        # The first token of each packed example is not predicted.
        batch["times"][batch["labels"] == -100] = 0
        return batch


def add_losses(totals: dict[int, list[float]], replies: Any, log_probs: Any) -> None:
    """Add the losses of a batch to the totals.

    Args:
        totals: reply number → sum and count of its tokens' losses.
        replies: for each token, the number of its reply; 0 if it is not learnt.
    """
    learnt = replies > 0
    numbers, losses = replies[learnt].tolist(), (-log_probs[learnt].float()).tolist()
    for number, loss in zip(numbers, losses, strict=True):
        totals[number][0] += loss
        totals[number][1] += 1


def by_reply(totals: dict[int, list[float]]) -> dict[str, float]:
    """Return the mean loss of the first reply, of the second and third, of the next four, ..."""
    groups: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for number, (loss, count) in totals.items():
        group = groups[number.bit_length()]
        group[0], group[1] = group[0] + loss, group[1] + count
    names = {bits: (2 ** (bits - 1), 2**bits - 1) for bits in groups}
    return {
        str(first) if first == last else f"{first}-{last}": round(
            groups[bits][0] / groups[bits][1], 4
        )
        for bits, (first, last) in sorted(names.items())
    }
