"""z and a point -> the value of a field there."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nesf.model.layers import activated
from nesf.model.settings import NetworkSettings
from nesf.shapes import Float

FOURIER_OCTAVES = 10


def query_features(points: Float[Tensor, "n 3"], encoding: str) -> Float[Tensor, "n features"]:
    """The encoding of a query: the point itself, or sin and cos of 2^k pi p for k = 0 ... 9."""
    if encoding == "raw":
        return points
    scales = torch.pi * 2.0 ** torch.arange(FOURIER_OCTAVES, device=points.device, dtype=points.dtype)
    phases = (points.unsqueeze(-1) * scales).flatten(1)
    return torch.cat((phases.sin(), phases.cos()), -1)


def rounded_and_rest(values: Float[Tensor, "n features"]) -> tuple[Tensor, Tensor]:
    """Two bfloat16 arrays that add up to the values: rounded, and what rounding left out."""
    rounded = values.bfloat16()
    return rounded, (values - rounded.float()).bfloat16()


def encode_query(points: Float[Tensor, "n 3"], encoding: str) -> tuple[Float[Tensor, "n features"], int]:
    """The points as a network sees them, and how many terms add up to each feature.

    Where layers compute in bfloat16, whose spacing at 6 angstrom is 0.03 angstrom, each feature is given as the
    sum of its rounded value and the rest: two terms, which share one weight.
    """
    features = query_features(points, encoding)
    kind = points.device.type
    if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16:
        return torch.cat(rounded_and_rest(features), -1), 2
    return features, 1


class FieldDecoder(nn.Module):
    """A perceptron that sees the query again at every layer (paper, Supplementary Note 5).

    Args:
        settings: for the size of z, the query's encoding and whether the last layer sees the query.
        widths: hidden widths.
        outputs: width of the field's value.
    """

    def __init__(self, settings: NetworkSettings, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.latent = settings.latent
        self.query_at_last = settings.query_at_last
        self.query_encoding = settings.query_encoding
        query = 3 if settings.query_encoding == "raw" else 6 * FOURIER_OCTAVES
        fan_in = (settings.latent, *widths[:-1])
        linears = [nn.Linear(i + query, o) for i, o in zip(fan_in, widths, strict=True)]
        self.linears = nn.ModuleList(linears)
        self.hidden = nn.ModuleList(activated(width, norm=True) for width in widths)
        self.last = nn.Linear(widths[-1] + (query if settings.query_at_last else 0), outputs)

    def latent_share(self, z: Float[Tensor, "n_crystals latent"]) -> Float[Tensor, "n_crystals width"]:
        """What z adds to the first layer: the same for all queries of a crystal, so computed once."""
        first = self.linears[0]
        assert isinstance(first, nn.Linear)
        return nn.functional.linear(z, first.weight[:, : self.latent], first.bias)

    def forward(self, share: Float[Tensor, "n width"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n outputs"]:
        """Field values at points (angstrom), given z's share of the first layer for each of them."""
        query, copies = encode_query(points, self.query_encoding)
        first = self.linears[0]
        assert isinstance(first, nn.Linear)
        from_query = first.weight[:, self.latent :].repeat(1, copies)
        features = self.hidden[0](share + nn.functional.linear(query, from_query))
        for linear, hidden in zip(list(self.linears)[1:], list(self.hidden)[1:], strict=True):
            features = hidden(_linear_of_both(linear, features, query, copies))
        if self.query_at_last:
            return _linear_of_both(self.last, features, query, copies)
        return self.last(features)


def _linear_of_both(linear: nn.Module, features: Tensor, query: Tensor, copies: int) -> Tensor:
    """``linear`` of features and query side by side, without the cost of laying them side by side."""
    assert isinstance(linear, nn.Linear)
    width = features.shape[1]
    from_query = linear.weight[:, width:].repeat(1, copies)
    return torch.addmm(nn.functional.linear(query, from_query, linear.bias), features, linear.weight[:, :width].t())
