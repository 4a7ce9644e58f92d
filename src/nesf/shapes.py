"""Array shapes for annotations; checked at run time in the tests, where jaxtyping is installed.

The core must import on a machine that has nothing but torch, numpy, pyarrow and safetensors, so
without jaxtyping each name below accepts any shape and checks nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class _AnyShape:
            """``Float[Tensor, "n 3"]`` is then just ``Tensor``."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = _AnyShape

__all__ = ["Bool", "Float", "Int"]
