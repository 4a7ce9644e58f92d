"""Field -> atoms. Knows fields, never networks."""

from nesf.decoding.estimate import estimate
from nesf.decoding.settings import EstimationSettings

__all__ = ["EstimationSettings", "estimate"]
