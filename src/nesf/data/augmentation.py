"""Changes to a batch that teach a model more crystals than there are."""

from dataclasses import replace

import torch

from nesf.crystal import CrystalBatch
from nesf.elements import Vocabulary


class ElementPermutation:
    """Exchange the elements of some crystals by a random permutation of the vocabulary.

    The encoder's input and the species target come from the same batch, so both see the exchange: the
    model learns to carry any element to any place instead of learning the usual ones by heart.

    Args:
        vocabulary: the elements that are permuted.
        share: probability that a crystal is changed.
    """

    def __init__(self, vocabulary: Vocabulary, share: float) -> None:
        self.vocabulary = vocabulary
        self.share = share

    def __call__(self, batch: CrystalBatch, generator: torch.Generator) -> CrystalBatch:
        """The batch with some crystals' elements exchanged; positions and cells stay."""
        if self.share == 0:
            return batch
        size = (len(batch), len(self.vocabulary))
        device = batch.device
        changed = torch.rand(len(batch), 1, generator=generator, device=device) < self.share
        shuffled = torch.rand(size, generator=generator, device=device).argsort(1)
        table = torch.where(changed, shuffled, torch.arange(size[1], device=device))
        classes = table[batch.owner, self.vocabulary.class_of(batch.numbers)]
        return replace(batch, numbers=self.vocabulary.number_of(classes))
