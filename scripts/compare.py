"""What a run of the notebooks changed in their stored outputs, other than numbers.

    python scripts/compare.py [COMMIT]      the notebooks here with those of a commit, HEAD when none is named
"""
import difflib, json, re, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(r"[-−+]?\d[\d,.]*(e[-+]?\d+)?|\bnan\b|\binf\b")


def lines(cell):
    "The lines of all outputs, with # for each number; of a picture, what it says in words."
    for out in cell.get("outputs", []):
        kinds = {out.get("name", "text"): out.get("text", ""), **out.get("data", {}), "error": out.get("ename", "")}
        for kind, text in kinds.items():
            if kind.startswith("image/"): text = out["metadata"].get(kind, {}).get("alt", "")
            text = re.sub(r"base64,[^\"']+", "base64,", "".join(text)).replace("><", ">\n<")
            yield from (re.sub(r" +", " ", NUMBER.sub("#", line)) for line in text.splitlines())


def changed(before, after):
    "The lines that differ, each with a sign, by the number of the cell; cells that are new have nothing to differ from."
    olds = {cell["id"]: cell for cell in before["cells"]}
    for i, new in enumerate(after["cells"]):
        found = [d for d in difflib.unified_diff([*lines(olds.get(new["id"], new))], [*lines(new)], lineterm="", n=0) if d[:2] not in ("--", "++", "@@")]
        if found: yield i, found


def main(commit="HEAD"):
    for page in sorted((ROOT / "nbs").rglob("[!.]*.ipynb")):
        path = page.relative_to(ROOT).as_posix()
        old = subprocess.run(["git", "show", f"{commit}:{path}"], cwd=ROOT, capture_output=True, encoding="utf-8")
        if old.returncode or ".ipynb_checkpoints" in path or old.stdout == (now := page.read_text(encoding="utf-8")): continue
        for i, found in changed(json.loads(old.stdout), json.loads(now)): print(f"{path}, cell {i}:", *found, sep="\n    ")


if __name__ == "__main__": main(*sys.argv[1:])
