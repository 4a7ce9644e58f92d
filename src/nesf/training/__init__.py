"""Losses, learning-rate schedules and the training loop."""

from nesf.training.loop import Diverged, EpochReport, Trainer
from nesf.training.settings import LossSettings, SamplingSettings, TrainingSettings

__all__ = ["Diverged", "EpochReport", "LossSettings", "SamplingSettings", "Trainer", "TrainingSettings"]
