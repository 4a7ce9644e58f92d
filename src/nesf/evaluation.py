"""How well a model gives crystals back."""

from collections.abc import Callable, Iterable
from typing import Any

from nesf import jobs
from nesf.codec import Codec
from nesf.crystal import Crystal
from nesf.match import PROTOCOL as MATCH_PROTOCOL
from nesf.metrics import MatchScore, Score, Tally

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


def report(
    model: Codec,
    result: Score,
    data: dict[str, Any],
    match: MatchScore | None = None,
    match_settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The score with what was measured on what: the content of ``evaluate --json``.

    Args:
        model: the model.
        result: its score.
        data: what it was measured on.
        match: the score of the found crystals as structures, if they were judged.
        match_settings: what that was judged with.
    """
    values = {**result.to_dict(), "model": model.card.name, "data": data, "protocol": PROTOCOL}
    if match is not None:
        values |= match.to_dict()
        values["match"] |= {"settings": match_settings, "protocol": MATCH_PROTOCOL}
    return values
