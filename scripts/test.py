"""The whole test, as `make test` runs it. Ends with a line that counts: N passed, N failed.

1. The package is what the notebooks export, the notebooks are clean, README.md is what its notebook says.
2. ruff and pyright find nothing.
3. nbdev_test runs every notebook from top to bottom, each in a process of its own (scripts/nbdev_test.py).
4. pytest runs tests/, in two processes, a file in one of them.
"""
import os, re, shutil, subprocess, sys, tempfile
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
BY_HAND = "foundations/__init__.py"
NOTEBOOK_SECONDS = 1200                              # nbdev_test has no time limit of its own
ONE_CORE = {f"{name}_THREADS": "1" for name in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "VECLIB_MAXIMUM")}   # each worker has one


def notebooks(root):
    "All notebooks under `root`/nbs that nbdev looks at: not those whose name, or folder's name, begins with _ or a dot."
    return sorted(p for p in (root / "nbs").rglob("*.ipynb") if not any(part[0] in "_." for part in p.relative_to(root).parts))


def differing(files, ours, theirs):
    "The names of the files that are not byte for byte the same in both folders."
    return [str(f) for f in files if not ((ours / f).is_file() and (theirs / f).is_file()
                                          and (ours / f).read_bytes() == (theirs / f).read_bytes())]


def check_sync():
    "Export and clean a copy of the project; what changes there was out of sync here."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "foundations"
        copy.mkdir()
        for name in ("settings.ini", "pyproject.toml"): shutil.copy(ROOT / name, copy)
        shutil.copytree(ROOT / "nbs", copy / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        (copy / "foundations").mkdir()
        shutil.copy(ROOT / BY_HAND, copy / BY_HAND)          # only its version is exported
        for command in ("nbdev_export", "nbdev_clean"):
            done = subprocess.run([BIN / command], cwd=copy, stderr=subprocess.PIPE, text=True)
            if done.returncode: yield command, [done.stderr]
        modules = {p.relative_to(root) for root in (ROOT, copy) for p in (root / "foundations").rglob("*.py")}
        pages = [p.relative_to(ROOT) for p in notebooks(ROOT)]
        yield "the package is what the notebooks export (nbdev_export)", differing(sorted(modules), ROOT, copy)
        yield "the notebooks are clean (nbdev_clean)", differing(pages, ROOT, copy)
    stale = subprocess.run([sys.executable, "scripts/readme.py", "--check"], cwd=ROOT).returncode
    yield "README.md is made from nbs/index.ipynb (scripts/readme.py)", ["README.md"] if stale else []


def check_lint():
    "What ruff and pyright find, as `make lint` asks them; each prints its own list."
    for name, *options in (("ruff", "check"), ("pyright", "--pythonpath", sys.executable)):
        done = subprocess.run([BIN / name, *options], cwd=ROOT, env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})
        yield f"{name} finds nothing (make lint)", [name] if done.returncode else []


def run_notebooks():
    "Run every notebook under nbdev_test; yields a name and whether it passed."
    pages = notebooks(ROOT)
    try:
        done = subprocess.run([sys.executable, "scripts/nbdev_test.py", "--n_workers", "2"], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=NOTEBOOK_SECONDS,
                              env=os.environ | ONE_CORE)
        errors, code = done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        errors, code = f"{(late.stderr or b'').decode()}\nnbdev_test: stopped after {NOTEBOOK_SECONDS} s", 1
    sys.stderr.write(errors)
    listed = set(re.findall(r"^\t(.+\.ipynb)$", errors.partition("On The Following Notebooks:")[2], re.M))
    for page in pages: yield str(page.relative_to(ROOT)), not code or (bool(listed) and page.name not in listed)


def run_pytest():
    "Run tests/ in two processes; the counts of passed, failed and skipped."
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-rs", f"--junitxml={report}", "-n2", "--dist=loadfile", "--no-loadscope-reorder"]
        subprocess.run(command, cwd=ROOT, env=os.environ | ONE_CORE)
        if not report.exists(): return 0, 1, 0
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failed, skipped = (sum(int(s.get(key)) for s in suites for key in keys) for keys in (["tests"], ["failures", "errors"], ["skipped"]))
    return (total - failed - skipped, failed, skipped) if total else (0, 1, 0)


def main():
    passed = failed = 0
    with ThreadPoolExecutor() as both: sync, lint = both.map(lambda check: list(check()), (check_sync, check_lint))      # a core for each
    for what, wrong in (*sync, *lint):
        print("ok    " if not wrong else "FAILED", what, *wrong, flush=True)
        passed, failed = passed + (not wrong), failed + bool(wrong)
    for name, good in run_notebooks():
        print("ok    " if good else "FAILED", name, flush=True)
        passed, failed = passed + good, failed + (not good)
    more, bad, skipped = run_pytest()
    print(f"{passed + more} passed, {failed + bad} failed" + (f", {skipped} skipped" if skipped else ""))
    return bool(failed + bad)


if __name__ == "__main__": sys.exit(main())
