"""Data sets by name, their selection rules and splits, and augmentation."""

from nesf.data.datasets import EMBEDDED, Dataset, DataStream, load_dataset, open_dataset

__all__ = ["EMBEDDED", "DataStream", "Dataset", "load_dataset", "open_dataset"]
