"""The networks: crystal -> z -> fields and lattice, in two architectures."""

from nesf.model.architectures import Architecture, autoencoder
from nesf.model.autoencoder import Autoencoder, NeuralField
from nesf.model.settings import AnchorSettings, NetworkSettings

__all__ = ["AnchorSettings", "Architecture", "Autoencoder", "NetworkSettings", "NeuralField", "autoencoder"]
