"""The tables and figures of the paper, and ours: one file each, from a model and data to an outcome."""

from nesf.studies.outcome import Outcome, Picture, Table
from nesf.studies.record import Record, describe_data, describe_model

__all__ = ["Outcome", "Picture", "Record", "Table", "describe_data", "describe_model"]
