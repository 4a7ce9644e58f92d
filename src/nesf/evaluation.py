"""How well a model gives crystals back."""

from collections.abc import Callable, Iterable
from typing import Any

from nesf import jobs
from nesf.codec import Codec
from nesf.crystal import Crystal
from nesf.metrics import Score, Tally

PROTOCOL = (
    "Each crystal is encoded to its latent vector and decoded from that alone; number of atoms, species, "
    "positions and lattice are all predicted. A crystal that the model refuses or does not find counts as failed."
)


def evaluate(
    model: Codec,
    crystals: Iterable[Crystal],
    *,
    literal: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Score:
    """Reconstruct crystals and score them by the metrics of the paper.

    Args:
        model: the model.
        crystals: the true crystals, of which only a chunk is held at a time.
        literal: decode by the slow reference path.
        progress: called with the number of crystals done since its last call.
    """
    tally = Tally()
    for chunk in jobs.chunks(crystals, jobs.CHUNK):
        found = model.reconstruct(chunk, literal=literal, progress=progress)
        for true, one in zip(chunk, found, strict=True):
            tally.add(true, one)
    return tally.score()


def report(model: Codec, result: Score, data: dict[str, Any]) -> dict[str, Any]:
    """The score with what was measured on what: the content of ``evaluate --json``."""
    return {**result.to_dict(), "model": model.card.name, "data": data, "protocol": PROTOCOL}
