"""The networks: crystal encoder, lattice heads, field decoders."""

from nesf.model.autoencoder import Autoencoder, NeuralField
from nesf.model.settings import NetworkSettings

__all__ = ["Autoencoder", "NetworkSettings", "NeuralField"]
