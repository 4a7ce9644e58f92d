"""The architectures by name; what they share is that both encode crystals and decode fields."""

from nesf.elements import Vocabulary
from nesf.model.autoencoder import Autoencoder
from nesf.model.set_autoencoder import SetAutoencoder
from nesf.model.settings import NetworkSettings

Architecture = Autoencoder | SetAutoencoder


def autoencoder(settings: NetworkSettings, vocabulary: Vocabulary) -> Architecture:
    """A new network of the architecture that the settings name, with random weights from PyTorch's generator."""
    if settings.architecture == "anchors":
        return SetAutoencoder(settings, vocabulary)
    return Autoencoder(settings, vocabulary)
