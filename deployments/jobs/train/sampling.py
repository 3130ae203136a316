"""The order of the rows: batches of about the same length, in the same order in a resumed run."""

from collections.abc import Iterator
from typing import Any


def grouped(lengths: list[int], batch: int, seed: int) -> Any:
    """Return a sampler that puts rows of about the same length into a batch, to avoid padding.

    Its order depends only on the seed and the epoch. That of transformers' own sampler depends on
    the state of PyTorch's generator, which is different in a resumed run.
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
