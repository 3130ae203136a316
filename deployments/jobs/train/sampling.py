"""The order of the rows: batches of rows of about the same length, the same order in a resumed
run."""

from collections.abc import Iterator
from typing import Any


def grouped(lengths: list[int], batch: int, seed: int) -> Any:
    """Returns a sampler in which the rows of a batch are about equally long, so that little is
    padding.

    transformers' own takes its order from the state of PyTorch's generator, which a resumed run
    does not have at the beginning of an epoch.
    """
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    class Grouped(LengthGroupedSampler):
        epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            self.generator = torch.Generator().manual_seed(seed + self.epoch)
            return super().__iter__()

    return Grouped(batch, lengths=lengths)
