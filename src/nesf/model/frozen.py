"""A trained network prepared for many queries: the same values, several times as fast, without gradients."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from nesf.elements import Vocabulary
from nesf.model.field_decoder import FieldDecoder, query_features, rounded_and_rest
from nesf.shapes import Float, Int

# Hidden features of so many queries stay in a processor's cache; a GPU wants larger products.
_AT_ONCE = {"cpu": 1 << 13, "cuda": 1 << 19}
_LEAST_FOR_CONVOLUTION = 256
_ROWS = 256


class FrozenDecoder:
    """A ``FieldDecoder`` in evaluation, as one matrix product a layer.

    Batch norm follows the ReLU, so its scale and shift go into the weights of the next layer. The query and a
    one for the bias stand beside the features in one array, which the product of the layer before is written
    into. In bfloat16 query and bias are sums of a rounded value and the rest (see ``encode_query``).

    Args:
        decoder: the decoder; copied, so later changes of it are not seen.
        dtype: float32 or bfloat16, of the products; what comes out is float32.
    """

    def __init__(self, decoder: FieldDecoder, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._encoding = decoder.query_encoding
        linears = [*decoder.linears, decoder.last]
        norms = [hidden[1] for hidden in decoder.hidden if isinstance(hidden, nn.Sequential)]
        first = linears[0]
        assert isinstance(first, nn.Linear)
        self._from_z, self._bias = first.weight[:, : decoder.latent].detach().clone(), first.bias.detach().clone()
        self._first = self._rows(first.weight[:, decoder.latent :], torch.zeros_like(first.bias))
        self._layers = []
        for norm, linear in zip(norms, linears[1:], strict=True):
            assert isinstance(norm, nn.BatchNorm1d)
            assert isinstance(linear, nn.Linear)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            shift = norm.bias - norm.running_mean * scale
            width = len(scale)
            features, query = linear.weight[:, :width], linear.weight[:, width:]
            if query.shape[1] == 0:  # a last layer that does not see the query
                query = query.new_zeros(len(query), self._query_width(decoder))
            rows = self._rows(query, linear.bias + features @ shift)
            self._layers.append(torch.cat(((features * scale).t().to(dtype), rows)).detach().contiguous())

    @staticmethod
    def _query_width(decoder: FieldDecoder) -> int:
        first = decoder.linears[0]
        assert isinstance(first, nn.Linear)
        return first.in_features - decoder.latent

    def _rows(self, query: Tensor, bias: Tensor) -> Tensor:
        """What the columns of ``_query`` are multiplied with: the query's weights, then the bias."""
        if self._dtype == torch.float32:
            return torch.cat((query.t(), bias.unsqueeze(0))).detach()
        bias_rounded, bias_rest = rounded_and_rest(bias.unsqueeze(0))
        weights = query.t().to(self._dtype)
        return torch.cat((weights, weights, bias_rounded, bias_rest)).detach()

    def _query(self, points: Tensor) -> Tensor:
        features = query_features(points, self._encoding)
        if self._dtype == torch.float32:
            return torch.cat((features, features.new_ones(len(features), 1)), 1)
        rounded, rest = rounded_and_rest(features)
        return torch.cat((rounded, rest, rounded.new_ones(len(features), 2)), 1)

    def latent_share(self, z: Float[Tensor, "n_crystals latent"]) -> Tensor:
        """What z adds to the first layer, (n_crystals, width), in the decoder's precision."""
        return nn.functional.linear(z, self._from_z, self._bias).to(self._dtype)

    def __call__(
        self, share: Tensor, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]
    ) -> Float[Tensor, "n outputs"]:
        """Field values at points (angstrom) of the crystals that they belong to, given the latent shares of those."""
        output = points.new_empty((len(points), self._layers[-1].shape[1]))
        size = _AT_ONCE.get(points.device.type, _AT_ONCE["cpu"])
        for start in range(0, len(points), size):
            part = slice(start, start + size)
            output[part] = self._some(share, *_filled_up(points[part], owner[part]))[: len(points[part])]
        return output

    def _some(self, share: Tensor, points: Tensor, owner: Tensor) -> Tensor:
        query = self._query(points)
        # Rows of the share are copied whole, which index_select does many times faster than share[owner].
        beside = self._beside(query, self._layers[0])
        torch.addmm(share.index_select(0, owner), query, self._first, out=beside[:, : share.shape[1]])
        _rectify(beside[:, : share.shape[1]])
        for weights, following in pairwise(self._layers):
            features, beside = beside, self._beside(query, following)
            _multiply(features, weights, beside[:, : weights.shape[1]])
            _rectify(beside[:, : weights.shape[1]])
        return beside @ self._layers[-1]

    @staticmethod
    def _beside(query: Tensor, weights: Tensor) -> Tensor:
        """An array to multiply with ``weights``, that has its place for features and the query beside them."""
        array = query.new_empty((len(query), len(weights)))
        array[:, -query.shape[1] :] = query
        return array


def _filled_up(points: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Some more points, so that there are few different numbers of them.

    The libraries behind matrix products prepare themselves for each new number of rows, and keep what they prepared.
    """
    more = -len(points) % _ROWS
    return nn.functional.pad(points, (0, 0, 0, more)), nn.functional.pad(owner, (0, more))


def _multiply(rows: Tensor, weights: Tensor, output: Tensor) -> None:
    """The product of two matrices, written into the third."""
    if rows.dtype == torch.float32 and rows.device.type == "cpu" and len(rows) >= _LEAST_FOR_CONVOLUTION:
        # A convolution over single points is the same product, by a library that is twice as fast at it on some CPUs.
        image = rows.view(1, len(rows), 1, -1).permute(0, 3, 1, 2)
        output.copy_(nn.functional.conv2d(image, weights.t()[:, :, None, None])[0, :, :, 0].t())
    else:
        torch.mm(rows, weights, out=output)


def _rectify(features: Tensor) -> None:
    """ReLU in place."""
    if features.dtype == torch.bfloat16:
        # The sign of a bfloat16 is the sign of its bits read as an integer, and integers are compared much faster.
        features.view(torch.int16).clamp_min_(0)
    else:
        features.clamp_min_(0)


class FrozenField:
    """The structure fields of latent vectors, by frozen decoders (a ``StructureField``).

    Args:
        position: position decoder.
        species: species decoder.
        z: latent vectors.
        cells: their lattice vectors as rows, angstrom.
        vocabulary: the elements behind the classes.
    """

    def __init__(
        self,
        position: FrozenDecoder,
        species: FrozenDecoder,
        z: Float[Tensor, "n_crystals latent"],
        cells: Float[Tensor, "n_crystals 3 3"],
        vocabulary: Vocabulary,
    ) -> None:
        self.vocabulary = vocabulary
        self.cells = cells
        self._position, self._species = position, species
        self._shares = position.latent_share(z), species.latent_share(z)

    def displacement(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """The position field f_p, angstrom."""
        return self._position(self._shares[0], points, owner)

    def species_logits(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """The species field f_s: class scores."""
        return self._species(self._shares[1], points, owner)
