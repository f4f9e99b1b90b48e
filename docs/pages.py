"""A notebook as a page of the site: its directives become what they ask for, its exports lead to the reference."""
import json, posixpath, re
from pathlib import PurePosixPath

from place import NBS, ROOT, blob, notebooks

DIRECTIVE = re.compile(r"\s*#\s*\|\s*(.+?)\s*$")
TAGS = {"hide_input": "remove-input", "hide_output": "remove-output", "echo: false": "remove-input",
        "output: false": "remove-output", "code-fold": "hide-input", "collapse_input": "hide-input",
        "collapse_output": "hide-output"}
LEFT_OUT = {"hide", "default_exp", "exporti", "include: false"}
SOUGHT = {                                           # words that a learner looks for, where the page has other words or another spelling
    "01_matmul": "multiplication linear algebra", "02_broadcasting": "NumPy view", "03_forward": "initialization normalization vanishing exploding neural network",
    "04_backward": "backpropagation backprop derivative numerical gradient", "05_layers": "backpropagation neural network",
    "06_engine": "backpropagation backprop automatic differentiation autodiff computational", "07_nn": "neural network",
    "08_training": "descent optimizer regularization minibatch", "09_language": "transformer tokenizer LLM", "10_compiling": "JIT tracing fusion",
    "11_scaling": "distributed parallelism DDP", "12_convolution": "CNN ConvNet"}
LINK = re.compile(r"(?<!!)\[([^]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")


def cells(page):
    "The cells of a notebook, each with its source as one text."
    return notebook(page)["cells"]


def notebook(page):
    "A notebook as it lies in its file. (nbformat, with all that it imports, takes longer than the rest.)"
    nb = json.loads((NBS / page).read_text(encoding="utf-8"))
    for cell in nb["cells"]: cell["source"] = "".join(cell["source"])
    return nb


def title(page):
    "The heading of a notebook."
    return next(re.match(r"# (.+)", c["source"])[1] for c in cells(page) if c["cell_type"] == "markdown")


def navigation(modules):
    "The column at the left: captions, their pages with titles, and whether they are folded."
    named = {p.with_suffix("").as_posix(): title(p).replace("`", "") for p in notebooks() if p.name != "index.ipynb"}
    pick = lambda wanted: {page: name for page, name in named.items() if wanted(page)}
    about = {"run": "Run it yourself", "making": "How the series is made", "readme": "Read me: set-up"}
    reference = {"api/index": "All modules", **{f"api/{m}": m.removeprefix("foundations.") for m in modules}}
    return [("Chapters", pick(lambda page: page[0].isdigit()), False), ("About", about, False),
            ("Tools", pick(lambda page: not page[0].isdigit()), True), ("Reference", reference, True)]


def directives(source):
    "The `#|` lines at the head of a cell, and what is left below them."
    lines, found = source.split("\n"), []
    while lines and (line := DIRECTIVE.match(lines[0])):
        found.append(line[1])
        lines.pop(0)
    return found, "\n".join(lines).lstrip("\n")


def tags(cell, found):
    "What is folded or left out: as a directive asks, or as JupyterLab folds it."
    asked = {TAGS[k] for d in found for k in (d, d.split(":")[0].split()[0]) if k in TAGS}
    folded = cell["metadata"].get("jupyter", {})
    source, outputs = (folded.get(f"{what}_hidden") for what in ("source", "outputs"))
    if source: asked.add("hide-cell" if outputs else "hide-input")
    elif outputs: asked.add("hide-output")
    return sorted(asked)


def relinked(text, page):
    "Links to what is no page of the site lead to the repository."
    def one(link):
        path = posixpath.normpath(posixpath.join("nbs", page.parent.as_posix(), link[2]))
        if PurePosixPath(path.removeprefix("nbs/")) in map(PurePosixPath, notebooks()): return link[0]
        if not (ROOT / path).exists(): raise FileNotFoundError(f"{page}: no file {path}")
        return f"[{link[1]}]({blob(path)})"
    return LINK.sub(one, text)


def staged(page, known):
    """The notebook that Sphinx reads. `known`: id of a cell -> the names it defines, each with the name of which it is a part, and the place of that in the reference."""
    nb, shown = notebook(page), []
    for cell in nb["cells"]:
        if cell["cell_type"] == "raw": continue
        if cell["cell_type"] == "markdown":
            shown.append(cell | {"source": relinked(cell["source"], page)})
            continue
        found, source = directives(cell["source"])
        if LEFT_OUT & {d if d in LEFT_OUT else d.split()[0] for d in found}: continue
        source = re.sub(r" *# noqa\b.*", "", source)
        names = known.get(cell["id"], [])
        if names: shown.append(markdown("".join(f'<span class="place" id="def-{name}"></span>' for name, *_ in names)))
        shown.append(cell | {"source": source, "metadata": cell["metadata"] | {"tags": tags(cell, found)}})
        if names: shown.append(markdown("{.in-reference}\nIn the reference: " + ", ".join(f"{{py:obj}}`{name} <{full}>`" for _, name, full in names)))
    for i, cell in enumerate(shown): cell["id"] = f"cell-{i}"
    nb["metadata"].setdefault("language_info", {"name": "python", "pygments_lexer": "ipython3"})
    if page.stem in SOUGHT: nb["metadata"]["myst"] = {"html_meta": {"keywords": SOUGHT[page.stem].replace(" ", ", ")}}
    return nb | {"cells": shown}


def as_markdown(page):
    "The text and the code of a notebook, without outputs."
    parts = [c["source"] if c["cell_type"] == "markdown" else f"```python\n{c['source']}\n```" for c in staged(page, {})["cells"]]
    return "\n\n".join(parts) + "\n"


def markdown(text): return {"cell_type": "markdown", "id": "", "metadata": {}, "source": text}
