"""Decoding z -> crystal: the package against the literal estimation; and encoding."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

from nesf.bench.agreement import Agreement, agreement_of
from nesf.bench.effort import Effort
from nesf.bench.memory import MemoryGauge
from nesf.bench.peak import counted_flops
from nesf.bench.rate import Rate
from nesf.bench.timing import interleaved
from nesf.bench.workload import drawn, spread
from nesf.codec import Codec
from nesf.config import RELEASED
from nesf.crystal import Crystal


@dataclass(frozen=True)
class DecodingSpeed:
    """Throughput of encoding and decoding, end to end.

    Attributes:
        encode: crystals to latent vectors.
        decode: latent vectors to crystals, by the package.
        reference: the published estimation, literally: every particle, every iteration, one crystal after the other,
            with the parameters of preset ``released``; None for models of another architecture than the paper's, some
            of which take cells in whose box of training atoms these parameters would search for hours.
        literal: the same with the model's own parameters, whose particles start in the crystal's own cell only.
        flops_per_second: of all matrix products of decoding.
        flops_per_crystal: the same for one crystal.
        agreement: the package against its literal form on the crystals that both have decoded here.
        peak_bytes: memory of encoding and decoding.
    """

    encode: Rate
    decode: Rate
    reference: Rate | None
    literal: Rate
    flops_per_second: float
    flops_per_crystal: float
    agreement: Agreement
    peak_bytes: dict[str, int]


def decoding_speed(codec: Codec, crystals: Sequence[Crystal], effort: Effort, gauge: MemoryGauge) -> DecodingSpeed:
    """Measure with crystals that the model takes; the literal paths get few, which stand for all by their volumes."""
    many, few = drawn(crystals, effort.decode), spread(crystals, effort.literal)
    fast, literal = decoding(codec, many), decoding(codec, few, literal=True)
    peak_bytes = {"encode": gauge.peak_of(lambda: codec.encode(many)), "decode": gauge.peak_of(fast)}
    peak_bytes["decode_literal"] = gauge.peak_of(literal)
    jobs = {"fast": fast, "literal": literal}
    timings = interleaved(jobs, codec.device, least=effort.rounds, seconds=effort.seconds, warm_up=False)
    timings |= interleaved({"encode": lambda: codec.encode(many)}, codec.device, least=effort.rounds, seconds=0.5)
    flops = flops_per_crystal(codec, many[: effort.chunk])
    decode = Rate.of(len(many), timings["fast"])
    return DecodingSpeed(
        Rate.of(len(many), timings["encode"]),
        decode,
        _reference(codec, spread(crystals, effort.released), effort) if is_of_paper(codec) else None,
        Rate.of(len(few), timings["literal"]),
        flops * decode.per_second,
        flops,
        agreement_of(decoding(codec, few)(), literal()),
        peak_bytes,
    )


def _reference(codec: Codec, crystals: Sequence[Crystal], effort: Effort) -> Rate:
    job = decoding(with_estimation_of_released(codec), crystals, literal=True)
    timings = interleaved({"": job}, codec.device, least=effort.rounds, warm_up=effort.released > 1)
    return Rate.of(len(crystals), timings[""])


def is_of_paper(codec: Codec) -> bool:
    """Whether a model is of the paper's architecture, for which there are published algorithms to compare with."""
    return codec.card.config.network.architecture == "perceptrons"


def decoding(codec: Codec, crystals: Sequence[Crystal], *, literal: bool = False) -> Callable[[], list[object]]:
    """A job that decodes the latent vectors of crystals, which are encoded beforehand."""
    z, ids = codec.encode(crystals), [crystal.id for crystal in crystals]
    return lambda: codec.decode(z, ids, literal=literal)


def with_estimation_of_released(codec: Codec) -> Codec:
    """The same model, decoded with the parameters of the implementation released with the paper."""
    config = replace(codec.card.config, estimation=RELEASED.estimation)
    return Codec(codec.model, replace(codec.card, config=config))


def flops_per_crystal(codec: Codec, crystals: Sequence[Crystal]) -> float:
    """Operations of the matrix products of decoding, counted on the processor, where no graph can hide them."""
    on_cpu = Codec(deepcopy(codec.model), codec.card).to("cpu")
    return counted_flops(decoding(on_cpu, crystals)) / len(crystals)
