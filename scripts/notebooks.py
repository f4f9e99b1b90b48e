"""Run notebooks from top to bottom in a fresh kernel and store their outputs, cleaned.

    python scripts/notebooks.py [nbs/01_matmul.ipynb ...]       all of them when none is named

Cells marked `#| eval: false`, and those under one of nbdev's `tst_flags`, keep the output they have.
"""
import re, sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent


def directives(source):
    "The `#|` lines at the head of a cell, without their marker."
    for line in source.splitlines():
        if not (found := re.match(r"\s*#\s*\|\s*(.+?)\s*$", line)): return
        yield found[1]


class Client(NotebookClient):
    "Leaves the cells alone that nbdev's tests leave alone."
    async def async_execute_cell(self, cell, cell_index, **kwargs):
        flags = get_config().tst_flags.split()
        if any(d.split()[0] in flags or re.match(r"eval:\s*false", d, re.I) for d in directives(cell.source)): return cell
        return await super().async_execute_cell(cell, cell_index, **kwargs)


def run(path):
    "Execute one notebook in its own folder; write it only when every cell has run."
    nb = nbformat.read(path, as_version=4)
    if nb.cells and nb.cells[0].cell_type == "raw" and re.search(r"skip_exec:\s*true", nb.cells[0].source): return
    Client(nb, timeout=600, kernel_name="python3", coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}).execute()
    nb.metadata.pop("widgets", None)               # widgets are dead without a kernel: keep what stands in for them
    for cell in nb.cells:
        if cell.cell_type != "code": continue
        widgets = [o for o in cell.outputs if o.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)]
        cell.outputs = [o for o in cell.outputs if o not in widgets or "text/html" in o.data]
    nbformat.write(nb, path)
    nbdev_clean.__wrapped__(str(path))
    print("ran", path.relative_to(ROOT))


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted((ROOT / "nbs").rglob("[!.]*.ipynb"))):
        if ".ipynb_checkpoints" not in path.parts: run(path.resolve())
