"""Three plain methods to predict numbers from latent vectors, as in Note 4 of the paper."""

import math
import warnings
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nesf.shapes import Float

METHODS = MappingProxyType({"mean": "mean of training", "svr": "SVR", "knn": "kNN", "mlp": "MLP"})
"""What predicts: the mean of the training values, which is no method, and the three of the paper."""
HIDDEN, BATCH, EPOCHS, NEIGHBOURS = (128, 128, 64), 200, 1000, 5


@dataclass(frozen=True)
class Prediction:
    """One property of the test crystals, predicted by one method.

    Attributes:
        method: key of ``METHODS``.
        true: true values.
        predicted: (runs, n) predicted values, one row for each seed.
        epochs: of each training, where there is one.
        unfinished: runs that had not converged after the last epoch.
    """

    method: str
    true: Float[NDArray[np.float64], " n"]
    predicted: Float[NDArray[np.float64], "runs n"]
    epochs: tuple[int, ...] = ()
    unfinished: int = 0

    @property
    def r2(self) -> list[float]:
        """Coefficient of determination of each run; NaN where all true values are equal."""
        spread = float(((self.true - self.true.mean()) ** 2).sum())
        missed = ((self.predicted - self.true) ** 2).sum(1).tolist()
        return [1 - one / spread if spread else math.nan for one in missed]

    @property
    def mae(self) -> list[float]:
        """Mean absolute error of each run."""
        return [float(one) for one in abs(self.predicted - self.true).mean(1)]


def predict(
    method: str,
    train: tuple[NDArray[np.float32], NDArray[np.float64]],
    test: tuple[NDArray[np.float32], NDArray[np.float64]],
    seeds: int = 1,
) -> Prediction:
    """Fit one method to latent vectors and values, and predict the values of others.

    Args:
        method: key of ``METHODS``.
        train: latent vectors (n, latent) and values (n,).
        test: the same to be predicted.
        seeds: runs of a method that depends on chance; the others are run once.
    """
    (z, y), (z_test, y_test) = train, test
    if method == "mean":
        return Prediction(method, y_test, np.full((1, len(y_test)), y.mean()))
    runs, epochs, unfinished = [], [], 0
    for seed in range(seeds if method == "mlp" else 1):
        regressor = _regressor(method, seed, len(y))
        unfinished += _fit(regressor, z, y)
        runs.append(np.asarray(regressor.predict(z_test), dtype=np.float64))
        epochs += [int(regressor.n_iter_)] if method == "mlp" else []
    return Prediction(method, y_test, np.stack(runs), tuple(epochs), unfinished)


def _regressor(method: str, seed: int, count: int) -> Any:
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.svm import SVR

    if method == "svr":
        return SVR(kernel="rbf", C=1.0, epsilon=0.1)
    if method == "knn":
        # The paper's training errors are exactly zero, so its neighbours were weighted by distance.
        return KNeighborsRegressor(NEIGHBOURS, weights="distance")
    return MLPRegressor(
        hidden_layer_sizes=HIDDEN,
        solver="adam",
        learning_rate_init=1e-3,
        batch_size=min(BATCH, count),
        max_iter=EPOCHS,
        random_state=seed,
    )


def _fit(regressor: Any, z: NDArray[np.float32], y: NDArray[np.float64]) -> bool:
    """Fit; returns whether the last epoch came before convergence."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regressor.fit(z, y)
    return any(issubclass(one.category, ConvergenceWarning) for one in caught)
