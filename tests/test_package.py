"""The package as a programmer gets it: the wheel, its data, and an import that does nothing."""
import builtins, configparser, dis, importlib, json, shutil, subprocess, sys, types, zipfile
from pathlib import Path

import pytest

import foundations

ROOT = Path(__file__).resolve().parent.parent
FILES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
         for p in sorted((ROOT / "foundations").rglob("*.py")) if p.stem == "__init__" or p.stem[0] != "_"}
MODULES = sorted(FILES.keys() - {"foundations"})
VERSION = (settings := configparser.ConfigParser(interpolation=None)).read(ROOT / "settings.ini") and settings["DEFAULT"]["version"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    "The wheel, built from this tree and unpacked into an empty folder."
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"                       # a copy: a build leaves files behind
    shutil.copytree(ROOT / "foundations", source / "foundations", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"): shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source], check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    site = folder / "site"
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
    assert {p.name for p in site.iterdir()} == {"foundations", f"foundations-{VERSION}.dist-info"}
    for path in (*FILES.values(), ROOT / "foundations/py.typed"): assert (site / path.relative_to(ROOT)).is_file()


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
