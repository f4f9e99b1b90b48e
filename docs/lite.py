"""The notebooks in a browser that runs them by itself: JupyterLab and Python beside the site, in _site/lite/ (`make lite`).

1. Python for the browser, Pyodide, comes from npm, as docs/package-lock.json pins it; what its kernel is made of, from the package index. Both are fetched once.
2. Pyodide's own list says where each package lies: these and ours beside it; NumPy, and what else is compiled, where Pyodide publishes it.
   PYODIDE_URL names another place: the address of the same files, or a folder with a whole Pyodide, of which what is needed is copied.
3. `jupyter lite build` puts JupyterLab and the notebooks around it.
"""
import hashlib, json, os, re, shutil, subprocess, sys
from importlib.metadata import version
from pathlib import Path

from fetch import MODULES, fetch, give_up
from pages import notebook
from place import NBS, ROOT, notebooks, write

STAGE, FROM_NPM = ROOT / "build/lite", MODULES / "pyodide"
EXTENSIONS = Path(sys.prefix) / "share/jupyter/labextensions"
PUBLISHED = "https://cdn.jsdelivr.net/pyodide/v{}/full/"
KERNEL = ["micropip", "piplite", "ipykernel", "comm", "pyodide-kernel", "jedi", "ipython"]      # what it loads when it starts
ADDED = {                                                                                       # what Pyodide does not have, and what that asks for
    "comm": [], "array-api-compat": [], "ipywidgets": ["comm", "ipython", "traitlets"],         # in the version that is installed here
    "piplite": ["micropip"], "ipykernel": [], "pyodide-kernel": ["comm", "ipython"],            # made for it by the kernel's authors
    "foundations-from-scratch": ["numpy", "matplotlib", "array-api-compat", "tqdm", "ipywidgets"],  # not pooch: what it fetches, a page may not
}


def run(*command, **options): subprocess.run(list(map(str, command)), check=True, **options)
def canonical(name): return re.sub(r"[-_.]+", "-", name).lower()


def below(names, packages):
    "These packages, and all that they ask for."
    found, asked = [], list(names)
    while asked:
        if (name := canonical(asked.pop())) in found: continue
        found.append(name)
        asked += packages[name]["depends"]
    return found


def fetched(releases):
    "Wheels of plain Python, by name and version; what an earlier run has fetched is not asked for again."
    folder = STAGE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    find = lambda name: next(folder.glob(f"{name.replace('-', '_')}-{releases[name]}-*.whl"), None)
    if missing := [f"{name}=={releases[name]}" for name in releases if not find(name)]:
        try: run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version=3.14", "-d", folder, *missing)
        except subprocess.CalledProcessError: give_up(f"{', '.join(missing)}: not here, and pip could not fetch them")
    return list(map(find, releases))


def our_wheel():
    "The package, made from a copy: a build leaves files behind."
    tree = STAGE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT / "foundations", tree / "foundations", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "settings.ini", "README.md", "LICENSE"): shutil.copy(ROOT / name, tree)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tree, tree)
    return next(tree.glob("*.whl"))


def entry(wheel):
    "What Pyodide's list says of a wheel that we add."
    name, release = wheel.name.split("-")[:2]
    depends = ADDED[canonical(name)]
    return {"name": canonical(name), "version": release, "file_name": wheel.name, "install_dir": "site", "package_type": "package", "unvendored_tests": False,
            "imports": [name.removesuffix("_from_scratch")], "depends": depends}


def python(out):
    "Pyodide and its packages, in a folder."
    out.mkdir(parents=True)
    place = os.environ.get("PYODIDE_URL") or PUBLISHED.format(json.loads((FROM_NPM / "package.json").read_text())["version"])
    home = Path(place) if Path(place).is_dir() else FROM_NPM
    for pattern in ("pyodide.mjs", "pyodide.asm.*", "python_stdlib.zip"):
        for path in home.glob(pattern): shutil.copy(path, out)
    lock = json.loads((home / "pyodide-lock.json").read_text(encoding="utf-8"))
    packages = lock["packages"]
    own = [*(EXTENSIONS / "@jupyterlite/pyodide-kernel-extension/static/pypi").glob("[!w]*.whl"), our_wheel(),
           *fetched({name: version(name) for name in ("comm", "array-api-compat", "ipywidgets")})]
    packages |= {(e := entry(wheel))["name"]: e for wheel in own}
    if home == FROM_NPM: own += fetched({name: packages[name]["version"] for name in below(KERNEL, packages) if name not in ADDED})
    else: own += [home / packages[name]["file_name"] for name in below([*KERNEL, *ADDED], packages) if name not in ADDED]
    for wheel in own: shutil.copy(wheel, out)
    for package in packages.values():
        if (file := out / package["file_name"]).exists(): package["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        else: package["file_name"] = place.rstrip("/") + "/" + package["file_name"]
    (out / "pyodide-lock.json").write_text(json.dumps(lock), encoding="utf-8")


def build(out):
    "JupyterLab with the notebooks, their pictures and a kernel."
    home, ready = STAGE / "lab", STAGE / "pyodide"
    for folder in (home, ready, out): shutil.rmtree(folder, ignore_errors=True)
    python(ready)                                                        # first: it is what may need a network
    shutil.copytree(NBS / "images", home / "files/images")
    for page in notebooks():
        nb = notebook(page)
        nb["metadata"]["kernelspec"] |= {"name": "python"}               # as the kernel is called here: nobody is asked for it
        write(home / "files" / page, json.dumps(nb))
    settings = {"pyodideUrl": "./static/pyodide/pyodide.mjs", "disablePyPIFallback": True, "loadPyodideOptions": {"packages": KERNEL}}
    write(home / "jupyter-lite.json", json.dumps({"jupyter-lite-schema-version": 0, "jupyter-config-data": {
        "appName": "foundations", "litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": settings}}}))
    run(sys.executable, "-m", "jupyterlite_core", "build", "--lite-dir", home, "--output-dir", out, "--apps=lab",
        "--contents", home / "files", "--no-sourcemaps", "--no-unused-shared-packages", cwd=home, stdout=subprocess.DEVNULL)
    shutil.copytree(ready, out / "static/pyodide")


if __name__ == "__main__":
    fetch()
    build(Path(sys.argv[1]).resolve())
