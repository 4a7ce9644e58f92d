"""Latent vectors in Parquet: one row a crystal, with the model they belong to."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nesf.errors import NesfError
from nesf.io.structures import one_line
from nesf.output import whole_file
from nesf.shapes import Float

_MODEL, _HASH = b"nesf.model", b"nesf.model_hash"
_NO_VECTORS = "has no latent vectors of one length in its column z"


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


@dataclass(frozen=True)
class LatentsFile:
    """A file of latent vectors of any length, checked to its last row; see ``Latents`` for the attributes.

    Attributes:
        path: where it lies.
        n: rows.
        width: numbers of a vector.
        model: name of the model that made them, empty where the file does not say.
        model_hash: hash of that model's weights, empty where the file does not say.
    """

    path: Path
    n: int
    width: int
    model: str
    model_hash: str

    def batches(self, size: int, skip: int = 0) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Ids and vectors of at most ``size`` rows at a time, where ``skip`` rows are passed over.

        Raises:
            NesfError: where a row holds no id or an incomplete or infinite vector.
        """
        begin = 0
        with _opened(self.path) as file:
            for batch in _batches(file, self.path, size, ["material_id", "z"]):
                left = batch.slice(min(max(skip - begin, 0), batch.num_rows))
                begin += batch.num_rows
                if left.num_rows:
                    yield _vectors(left, self.width, self.path)


def open_latents(path: str | Path) -> LatentsFile:
    """A file of latent vectors, to be read piece by piece.

    Raises:
        NesfError: where the file is missing, no Parquet, lacks a column or holds an incomplete or infinite vector.
    """
    path = Path(path)
    with _opened(path) as file:
        names = file.schema_arrow.names
        missing = [name for name in ("material_id", "z") if name not in names]
        if missing:
            raise NesfError(f"File {path} lacks the column {missing[0]}; latent vectors stand in material_id and z.")
        metadata = file.schema_arrow.metadata or {}
        model, model_hash = (metadata.get(key, b"").decode(errors="replace") for key in (_MODEL, _HASH))
        found = LatentsFile(path, file.metadata.num_rows, _width(file, path), model, model_hash)
    for _ in found.batches(1024):  # a broken row is to be found before the hours of decoding, not after them
        pass
    return found


def read_latents(path: str | Path) -> Latents:
    """Read latent vectors, all at once; raises as ``open_latents``."""
    file = open_latents(path)
    ids: list[str] = []
    vectors = [np.empty((0, file.width), np.float32)]
    for names, z in file.batches(1024):
        ids += names
        vectors.append(z)
    return Latents(tuple(ids), np.concatenate(vectors), file.model, file.model_hash)


def write_latents(
    path: str | Path, ids: Sequence[str], z: Float[np.ndarray, "n d"], model_name: str, model_hash: str
) -> None:
    """Write latent vectors (n, d) with their ids (n); the model's name and hash go into the file's metadata."""
    write_latent_batches(path, [(ids, z)], z.shape[1], model_name, model_hash)


def write_latent_batches(
    path: str | Path,
    batches: Iterable[tuple[Sequence[str], Float[np.ndarray, "_ d"]]],
    width: int,
    model_name: str,
    model_hash: str,
) -> None:
    """Write latent vectors of ``width`` numbers piece by piece; see ``write_latents``."""
    columns = {"material_id": pa.string(), "z": pa.list_(pa.float32(), width)}
    schema = pa.schema(columns, metadata={_MODEL: model_name.encode(), _HASH: model_hash.encode()})
    with whole_file(path) as target, pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for ids, z in batches:
            if len(ids) != len(z):
                raise NesfError(f"{len(z)} latent vectors need as many ids, not {len(ids)}.")
            flat = pa.array(np.ascontiguousarray(z, dtype=np.float32).ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, width)
            writer.write_table(pa.Table.from_arrays([pa.array(ids, pa.string()), vectors], schema=schema))


def _opened(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise NesfError(f"File {path} does not exist.")
    try:
        return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise NesfError(f"File {path} is no Parquet table: {one_line(error)}.") from None


def _batches(file: pq.ParquetFile, path: Path, size: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(size, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise NesfError(f"File {path} is damaged: {one_line(error)}; make it again.") from None


def _width(file: pq.ParquetFile, path: Path) -> int:
    kind = file.schema_arrow.field("z").type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    first = next(_batches(file, path, 1, ["z"]), None)
    try:
        return len(first.column("z")[0])  # type: ignore[union-attr]
    except (AttributeError, TypeError, IndexError):
        raise NesfError(f"File {path} {_NO_VECTORS}.") from None


def _vectors(batch: pa.RecordBatch, width: int, path: Path) -> tuple[list[str], NDArray[np.float32]]:
    try:
        column = batch.column("z").cast(pa.list_(pa.float32(), width))
    except pa.ArrowException:
        raise NesfError(f"File {path} {_NO_VECTORS}.") from None
    try:
        ids = batch.column("material_id").cast(pa.string()).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError):
        raise NesfError(f"File {path} has ids that are no texts; make it again.") from None
    z = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)  # a null row vanishes, a null number is NaN
    if None in ids or len(z) != len(ids) or not np.isfinite(z).all():
        raise NesfError(f"File {path} has a row without an id or with a latent vector that is null or not finite.")
    return ids, z.astype(np.float32, copy=False)
