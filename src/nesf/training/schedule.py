"""Learning rates over time."""

import math

from nesf.training.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0.

    >>> paper = TrainingSettings()
    >>> [learning_rate(paper, epoch * 43, 43) for epoch in (0, 639, 640, 1280)]
    [0.001, 0.001, 0.0005, 0.00025]
    """
    if settings.schedule == "step":
        epoch = step // steps_per_epoch
        return settings.learning_rate * settings.step_factor ** (epoch // settings.step_epochs)
    total = settings.epochs * steps_per_epoch
    rise = max(1, round(settings.warmup * total))
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    progress = (step - rise) / max(1, total - rise)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
