"""Data sets by name, their selection rules and splits, and augmentation."""

from nesf.data.datasets import EMBEDDED, Dataset, load_dataset

__all__ = ["EMBEDDED", "Dataset", "load_dataset"]
