"""Losses, learning-rate schedules and the training loop."""

from nesf.training.loop import DivergenceError, EpochReport, Trainer
from nesf.training.settings import LossSettings, SamplingSettings, TrainingSettings

__all__ = ["DivergenceError", "EpochReport", "LossSettings", "SamplingSettings", "Trainer", "TrainingSettings"]
