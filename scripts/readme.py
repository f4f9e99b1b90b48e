"""README.md from nbs/index.ipynb: its text, its code and its stored outputs.

    python scripts/readme.py            write it
    python scripts/readme.py --check    fail when it is out of date
"""
import posixpath, re, sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made from nbs/index.ipynb by scripts/readme.py: change that one. -->"


def render():
    "The README as text, and its images by path."
    nb = nbformat.read(ROOT / "nbs/index.ipynb", as_version=4)
    nb.metadata["language_info"] = {"name": "python"}           # so that code is marked as Python
    nb.cells = [c for c in nb.cells if not re.match(r"#\s*\|\s*hide\b", c.source)]
    for cell in nb.cells:                            # a picture's alt text is its plain-text form
        for out in cell.get("outputs", []):
            if "image/png" not in out.get("data", {}): continue
            cell.metadata["alt"] = out.data.get("text/plain", "").strip()
            out.data.pop("text/html", None)          # the same picture, for JupyterLab
    body, resources = MarkdownExporter().from_notebook_node(nb)
    images = {}
    for cell in (c for c in nb.cells if c.metadata.get("alt")):
        body = re.sub(r"!\[(?:png|svg)\]\((output_[^)]+)\)", lambda m: f"![{cell.metadata['alt']}](nbs/images/{m[1]})", body, count=1)
    for name, data in resources.get("outputs", {}).items(): images[ROOT / "nbs/images" / name] = data
    body = re.sub(r"(?<!!)\[([^]]*)\]\((?!https?:|#)([^)]+)\)", lambda m: f"[{m[1]}]({posixpath.normpath(f'nbs/{m[2]}')})", body)
    return f"{NOTE}\n\n" + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n", images


def main():
    text, images = render()
    readme = ROOT / "README.md"
    if "--check" in sys.argv:
        return readme.read_text() != text or any(not p.is_file() or p.read_bytes() != data for p, data in images.items())
    readme.write_text(text)
    for path, data in images.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__": sys.exit(main())
