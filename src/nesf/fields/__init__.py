"""Structure fields, the true one, and where to query them."""

from nesf.fields.base import StructureField
from nesf.fields.true_field import TrueField

__all__ = ["StructureField", "TrueField"]
