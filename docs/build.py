"""The site, from the notebooks' stored outputs: `make book` writes _site/. Nothing is executed; nothing but npm's packages is fetched, once.

1. MathJax comes from npm, as docs/package-lock.json pins it.
2. build/book/ gets every page: the notebooks, the reference, the pages of docs/.
3. Sphinx makes HTML of them; a warning is an error.
4. llms.txt, and each chapter as Markdown.
5. With --lite (`make lite`): the notebooks as they run in a browser, and a button on each page that leads there.
"""
import json, shutil, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import api, landing, lite, pages
from fetch import MODULES, fetch
from place import NBS, REPOSITORY, ROOT, chapters, notebooks, write

import foundations

DOCS, STAGE, SITE = ROOT / "docs", ROOT / "build/book", ROOT / "_site"
MATHS = MODULES / "mathjax"


def toctree(entries, options=":hidden:\n"): return "```{toctree}\n" + options + "\n" + "\n".join(entries) + "\n```\n"


READ_ONLY = "{.read-only}\nThis page shows what the cells gave when they were last run; a click on “Show the code” opens what is folded. To write your own functions and have them checked, [run it yourself](run.md)."


def stage():
    "Every page, where Sphinx looks for it."
    shutil.rmtree(STAGE, ignore_errors=True)
    modules, known = list(api.modules()), {}
    for module in modules:
        for node in module.items:
            for part in api.whole(module, node): known.setdefault(module.cell(part), []).append((part.name, node.name, f"{module.name}.{node.name}"))
    for page in notebooks():
        nb = pages.staged(page, known)
        if page in chapters(): nb["cells"].insert(1, pages.markdown(READ_ONLY))
        if (NBS / page).with_suffix("").is_dir():            # draw.ipynb leads to draw/
            nb["cells"].append(pages.markdown(toctree([f"{page.stem}/*"], ":hidden:\n:glob:\n")))
        target = STAGE / ("readme.ipynb" if page.name == "index.ipynb" else page)
        write(target, json.dumps(nb))
    titles = {f"nbs/{page.as_posix()}": pages.title(page) for page in notebooks()}
    for module in modules: write(STAGE / f"api/{module.name}.md", api.page(module, titles.get(module.notebook)))
    write(STAGE / "api/index.md", "# Reference\n\nEach module is exported from the notebook that explains it.\n\n"
          + "\n".join(f"- [`{m.name}`]({m.name}.md): {m.says}" for m in modules)
          + "\n\n" + toctree([m.name for m in modules]))
    for path in DOCS.glob("*.md"): write(STAGE / path.name, path.read_text(encoding="utf-8").replace("{{repository}}", REPOSITORY))
    folders = sorted({p.parent for p in notebooks() if p.parts[0] == "tools" and not (NBS / f"{p.parent}.ipynb").exists()})
    text = (DOCS / "index.md").read_text(encoding="utf-8").replace("{{tools}}", "\n".join(f"{folder.as_posix()}/*" for folder in folders))
    write(STAGE / "index.md", landing.page(text))
    return modules


def html(options):
    "What Sphinx makes of them; 0 if nothing was wrong."
    from sphinx.cmd.build import main as sphinx
    return sphinx(["-q", "-W", "--keep-going", "-j", "auto", "-c", str(DOCS), "-d", str(ROOT / "build/doctrees"), *options, "-b", "html", str(STAGE), str(SITE)])


def vendored():
    "MathJax and its licence, beside the pages."
    to = SITE / "_static/mathjax"
    to.mkdir(parents=True, exist_ok=True)
    for name in ("es5/tex-svg.js", "LICENSE"): shutil.copy(MATHS / name, to)


def for_machines(modules):
    "llms.txt: every page in a line; and each chapter without its outputs, as Markdown."
    lines = ["# foundations", "", f"> {foundations.__doc__.splitlines()[0]}", "", "## Chapters", ""]
    for path in chapters():
        write(SITE / path.with_suffix(".md"), pages.as_markdown(path))
        lines += [f"- [{pages.title(path)}]({path.with_suffix('.md')}): {landing.given().get(path.stem, '')}"]
    lines += ["", "## Reference", ""]
    lines += [f"- [{m.name}](api/{m.name}.html): {m.says}" for m in modules]
    write(SITE / "llms.txt", "\n".join(lines) + "\n")


def main():
    fetch()
    shutil.rmtree(SITE, ignore_errors=True)
    modules = stage()
    failed = html(["-t", "lite"] if "--lite" in sys.argv else [])
    shutil.rmtree(ROOT / "jupyter_execute", ignore_errors=True)          # myst-nb's own copies
    if failed: return failed
    vendored()
    for_machines(modules)
    if "--lite" in sys.argv: lite.build(SITE / "lite")
    print(f"{SITE.name}/index.html: {len(list(SITE.rglob('*.html')))} pages")


if __name__ == "__main__": sys.exit(main())
