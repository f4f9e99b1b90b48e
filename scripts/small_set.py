"""Build the small set in foundations/mnist/ from the original MNIST files.

    python scripts/small_set.py FOLDER        with train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz

FOLDER's files are refused unless their SHA-256 is the published one. The same input gives the same bytes on every run.
"""
import argparse, gzip, io, struct
from pathlib import Path

from foundations.data import FILES, _verified, read_idx

OUT = Path(__file__).resolve().parent.parent / "foundations" / "mnist"
ROWS = {"train": slice(0, 10_000), "valid": slice(50_000, 52_000)}       # of the 60,000 training images


def idx_bytes(array):
    "A uint8 array in the IDX format."
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def gzipped(data):
    "`data` compressed hard, with neither time nor name in the header, so that it is the same on every run."
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=9, mtime=0) as file: file.write(data)
    return out.getvalue()


def build(folder, out=OUT):
    "Read and check every original, then write the four files."
    originals = {name: _verified((Path(folder) / f"{name}.gz").read_bytes(), name) for name in FILES}
    arrays = {name: read_idx(data, name) for name, data in originals.items()}
    for part, rows in ROWS.items():
        for name, array in arrays.items():
            path = out / f"{name.replace('train', part)}.gz"
            path.write_bytes(gzipped(idx_bytes(array[rows])))
            print(f"{path.stat().st_size:9,} bytes  {path.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the small set from the original MNIST files.")
    parser.add_argument("folder", help="where train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz lie")
    build(parser.parse_args().folder)
