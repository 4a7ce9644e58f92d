"""Latent vectors in Parquet: one row a crystal, with the model they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nesf.errors import NesfError
from nesf.io.output import whole_file
from nesf.io.structures import one_line
from nesf.shapes import Float

_MODEL, _HASH = b"nesf.model", b"nesf.model_hash"


@dataclass(frozen=True, eq=False)
class Latents:
    """Latent vectors as read from a file.

    Attributes:
        ids: the crystals' ids, in order.
        z: (n, d) latent vectors, float32.
        model: name of the model that made them, empty where the file does not say.
        model_hash: hash of that model's weights, empty where the file does not say.
    """

    ids: tuple[str, ...]
    z: NDArray[np.float32]
    model: str
    model_hash: str


def write_latents(
    path: str | Path, ids: Sequence[str], z: Float[np.ndarray, "n d"], model_name: str, model_hash: str
) -> None:
    """Write latent vectors (n, d) with their ids (n); the model's name and hash go into the file's metadata."""
    if len(ids) != len(z):
        raise NesfError(f"{len(z)} latent vectors need as many ids, not {len(ids)}.")
    flat = pa.array(np.ascontiguousarray(z, dtype=np.float32).ravel())
    columns = {"material_id": pa.array(ids, pa.string()), "z": pa.FixedSizeListArray.from_arrays(flat, z.shape[1])}
    metadata = {_MODEL: model_name.encode(), _HASH: model_hash.encode()}
    with whole_file(path) as target:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), target, compression="zstd")


def read_latents(path: str | Path) -> Latents:
    """Read latent vectors.

    Raises:
        NesfError: where the file is missing, no Parquet, lacks a column or holds an incomplete or infinite vector.
    """
    if not Path(path).is_file():
        raise NesfError(f"File {path} does not exist.")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise NesfError(f"File {path} is no Parquet table: {one_line(error)}.") from None
    missing = [name for name in ("material_id", "z") if name not in table.column_names]
    if missing:
        raise NesfError(f"File {path} lacks the column {missing[0]}; latent vectors stand in material_id and z.")
    column = table["z"].combine_chunks()
    try:
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else len(column[0])
        column = column.cast(pa.list_(pa.float32(), width))
    except (pa.ArrowException, AttributeError, TypeError, IndexError):
        raise NesfError(f"File {path} has no latent vectors of one length in its column z.") from None
    ids = table["material_id"].cast(pa.string()).to_pylist()
    z = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)  # a null row vanishes, a null number is NaN
    if None in ids or len(z) != len(ids) or not np.isfinite(z).all():
        raise NesfError(f"File {path} has a row without an id or with a latent vector that is null or not finite.")
    metadata = table.schema.metadata or {}
    return Latents(
        tuple(ids),
        z.astype(np.float32, copy=False),
        metadata.get(_MODEL, b"").decode(),
        metadata.get(_HASH, b"").decode(),
    )
