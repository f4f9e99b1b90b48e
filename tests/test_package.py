"""The package as a programmer gets it: the wheel, its data, and an import that does nothing."""
import builtins, configparser, dis, importlib, importlib.metadata, json, os, re, shutil, subprocess, sys, tarfile, tomllib, types, venv, zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import foundations

ROOT = Path(__file__).resolve().parent.parent
FILES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
         for p in sorted((ROOT / "foundations").rglob("*.py")) if p.stem == "__init__" or p.stem[0] != "_"}
MODULES = sorted(FILES.keys() - {"foundations"})
DIST = "foundations_from_scratch"                  # the name on the index; the import name is foundations
VERSION = (settings := configparser.ConfigParser(interpolation=None)).read(ROOT / "settings.ini") and settings["DEFAULT"]["version"]


LEFT = shutil.ignore_patterns(".*", "__pycache__", "_site", "build", "dist", "node_modules", "wheels", "_drafts", "*.egg-info")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "The archive of the source, and the wheel that is built from it, as `python -m build` makes them."
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "tree", ignore=LEFT)       # a copy: a build leaves files behind
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "tree"], check=True, capture_output=True)
    return *folder.glob("*.tar.gz"), *folder.glob("*.whl")


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    "The wheel, unpacked into an empty folder."
    _, wheel = built
    site = tmp_path_factory.mktemp("wheel") / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return wheel, site


def python(code, site):
    "What `code` prints (as JSON) in a fresh interpreter that finds the package in `site` before this tree."
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"], cwd=site, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_version_stands_in_one_place(installed):
    wheel, site = installed
    assert wheel.name.split("-")[1] == VERSION
    assert python("import json, foundations; print(json.dumps(foundations.__version__))", site) == VERSION


def test_wheel_carries_the_digits_and_reads_them(installed):
    _, site = installed
    assert sum(p.stat().st_size for p in (site / "foundations/mnist").iterdir()) < 2.5e6 and (site / "foundations/mnist/LICENSE.md").is_file()
    found = python("import json, foundations; from foundations.data import mnist; x, y, u, v = mnist()\n"
                   "print(json.dumps([foundations.__file__, x.shape, y[:10].tolist(), u.shape]))", site)
    assert found[0].startswith(str(site)) and found[1:] == [[10_000, 784], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [2_000, 784]]


def test_wheel_carries_the_names_and_where_they_come_from(installed):
    _, site = installed
    assert "Census Bureau" in (site / "foundations/names/SOURCE.md").read_text()
    found = python("import json, foundations; print(json.dumps([foundations.__file__, foundations.names()]))", site)
    assert found[0].startswith(str(site)) and len(set(found[1])) == 5163 and {"ada", "zelma"} < set(found[1])


def test_wheel_holds_the_package_and_nothing_else(installed):
    _, site = installed
    assert {p.name for p in site.iterdir()} == {"foundations", f"{DIST}-{VERSION}.dist-info"}
    for path in (*FILES.values(), ROOT / "foundations/py.typed"): assert (site / path.relative_to(ROOT)).is_file()


def test_the_index_gets_links_that_lead_somewhere(installed):
    "No relative link in the description; the addresses are those of settings.ini."
    about = message_from_string((installed[1] / f"{DIST}-{VERSION}.dist-info/METADATA").read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)]+)\)", about.get_payload())
    assert len(links) > 20 and [a for a in links if not a.startswith(("https:", "#"))] == []
    home = "{user}/{repo}".format(**settings["DEFAULT"])
    urls = dict(line.split(", ") for line in about.get_all("Project-URL"))
    assert urls["Source"] == f"https://github.com/{home}" and set(urls) == {"Site", "Source", "Issues", "Changelog"}
    assert urls["Site"] == "https://{user}.github.io/{repo}".format(**settings["DEFAULT"])
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(VERSION)} \(\d{{4}}-\d\d-\d\d\)$", changes, re.M)


def test_the_index_will_take_it(installed):
    "What twine and check-wheel-contents say of it."
    for command in (["twine", "check", "--strict"], ["check_wheel_contents"]):
        done = subprocess.run([sys.executable, "-m", *command, installed[0]], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    licences = [p for p in installed[1].rglob("*") if "Attribution-ShareAlike" in p.name or p.name.startswith("LICENSE")]
    assert len(licences) == len({p.read_bytes() for p in licences}) == 2       # the code's and the digits', once each


def needed(requirements, found):
    "The distributions that these requirements ask for, and those ask for in turn."
    for line in requirements:
        asked = Requirement(line)
        if asked.name in found or (asked.marker and not asked.marker.evaluate({"extra": ""})): continue
        found[asked.name] = dist = importlib.metadata.distribution(asked.name)
        needed(dist.requires or [], found)
    return found


@pytest.fixture(scope="module")
def bare(installed, tmp_path_factory):
    "An empty environment with the wheel and what its metadata asks for, and nothing more."
    _, site = installed
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False)
    [packages] = [home / "Lib/site-packages"] if os.name == "nt" else home.glob("lib/python*/site-packages")
    about = message_from_string((site / f"{DIST}-{VERSION}.dist-info/METADATA").read_text(encoding="utf-8"))
    dists = needed(about.get_all("Requires-Dist"), {})
    assert "numpy" in dists and not {"torch", "numba", "ipython", "nbdev"} & set(dists)
    for top in {Path(dist.locate_file(f.parts[0])) for dist in dists.values() for f in dist.files if f.parts[0] not in ("..", "__pycache__")}:
        try: (packages / top.name).symlink_to(top)
        except OSError: (shutil.copytree if top.is_dir() else shutil.copy)(top, packages / top.name)
    for top in site.iterdir(): shutil.copytree(top, packages / top.name)
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def test_the_wheel_alone_imports_loads_and_trains(bare, tmp_path):
    "Every module, the digits and the names, and a network that learns: without PyTorch and Jupyter."
    code = f"""
import importlib, importlib.util, json
for module in {MODULES}: importlib.import_module(module)
from numpy.random import default_rng
from foundations import DataLoader, Dataset, SGD, fit, mnist, names, nn
x, y, u, v = mnist()
model = nn.Sequential(nn.Linear(784, 10, generator=default_rng(0)))
history = fit(model, SGD(model.parameters(), lr=0.1), DataLoader(Dataset(x, y), 100), DataLoader(Dataset(u, v), 500), epochs=1, show=False)
absent = [m for m in ("torch", "numba", "IPython", "nbdev", "pip") if importlib.util.find_spec(m)]
print(json.dumps([importlib.import_module("foundations").__file__, len(names()), absent, str(history)]))"""
    done = subprocess.run([bare, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"MPLCONFIGDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    where, n, absent, history = json.loads(done.stdout)
    assert str(bare.parent.parent) in where and n == 5163 and absent == []
    assert float(re.search(r"accuracy ([\d.]+)%", history)[1]) > 80


def test_the_archive_holds_what_its_tests_read(built, tmp_path):
    "Notebooks, settings and tests; some of these pass there, from nothing but the archive."
    archive, _ = built
    with tarfile.open(archive) as file: file.extractall(tmp_path, filter="data")
    home = tmp_path / archive.name.removesuffix(".tar.gz")
    for name in ("settings.ini", "setup.py", "CHANGELOG.md", "nbs/index.ipynb", "nbs/01_matmul.ipynb", "docs/build.py", "scripts/test.py"): assert (home / name).is_file(), name
    assert {p.name for p in (home / "tests").glob("*.py")} == {p.name for p in (ROOT / "tests").glob("*.py")}
    env = os.environ | {"PYTHONPATH": str(home), "WITHOUT": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_chapters.py", "tests/test_pages.py", "-k", "not long and not draw"], cwd=home, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(".") > 200, done.stdout[-2000:]


def test_extras_name_the_distribution_itself():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = [line for extra in project["optional-dependencies"].values() for line in extra if line.startswith("foundations")]
    assert own and all(line.startswith(project["name"] + "[") for line in own)


@pytest.mark.parametrize("module", FILES)
def test_import_does_nothing(installed, module):
    "No output, no heavy library, and no file but Python's own."
    opened, loaded = python(f"""
import json, numpy, array_api_compat, timeit
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" and isinstance(args[0], str) else None)
import {module}
heavy = {{"torch", "numba", "matplotlib", "pooch", "requests", "tqdm", "ipywidgets", "IPython"}}
print(json.dumps([[f for f in opened if not f.endswith((".py", ".pyc")) and ".pyc." not in f], sorted(heavy & set(sys.modules))]))""", installed[1])
    assert opened == [] and loaded == []


def test_the_map_leads_to_every_module_and_name():
    "The docstring of the package has a line for each module; each name that it offers is there."
    modules = {m.split(".")[1] for m in MODULES}
    assert {line.split()[0] for line in foundations.__doc__.splitlines() if line[:4] == "    "} == modules
    assert modules <= set(foundations.__all__) <= set(dir(foundations))
    for name in foundations.__all__: assert getattr(foundations, name)


@pytest.mark.parametrize("module", FILES)
def test_no_function_uses_a_name_that_its_module_lacks(module):
    "A notebook runs its own cells, so it does not notice when an exported function needs what a cell that is not exported imports."
    scope, asked = vars(importlib.import_module(module)), set()
    tree = [compile(FILES[module].read_text(), module, "exec")]
    while tree:
        code = tree.pop()
        asked |= {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
        tree += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    assert [name for name in asked if name not in scope and not hasattr(builtins, name)] == []
