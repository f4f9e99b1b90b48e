"""What editors and type checkers see in a program that nobody has run."""
import ast, inspect, json, re, subprocess, sys, types
from importlib import import_module
from pathlib import Path

import jedi
import pytest

from foundations.autograd import Tensor

ROOT = Path(__file__).resolve().parent.parent
MODULES = [p for p in sorted((ROOT / "foundations").rglob("*.py")) if p.name != "_modidx.py"]

ORDINARY = '''
from typing import assert_type

import numpy as np

import foundations
from foundations import nn
from foundations.autograd import Tensor, no_grad
from foundations.data import mnist
from foundations.nn import functional as F
from foundations.training import SGD, DataLoader, Dataset, History, evaluate, fit

t = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
w = Tensor(np.ones((2, 5)), requires_grad=True)
assert_type(2 * t + 1, Tensor)
assert_type(1 - t / 2, Tensor)
assert_type(-t ** 2, Tensor)
assert_type(t @ w, Tensor)
assert_type(t[0], Tensor)
assert_type(t.relu().sum(), Tensor)
assert_type(t.mean(0), Tensor)
assert_type(t.reshape(4, 1), Tensor)
assert_type(t.T, Tensor)
assert_type(t.shape, tuple[int, ...])
assert_type(t.sum().item(), float)
small, large = t < 1, t >= 1
loss = ((t @ w).relu() ** 2).mean()
loss.backward()
if t.grad is not None: print(t.grad.shape, small, large)

model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))
for p in model.parameters(): print(p.shape, p.requires_grad)
for name, p in model.named_parameters(): print(name, p.data.dtype)
optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
out = model(t)
loss = F.mse_loss(out, Tensor([[1.0], [0.0]]))
assert_type(loss, Tensor)
optimizer.zero_grad()
loss.backward()
optimizer.step()
with no_grad(): print(F.softmax(model.eval()(t), dim=1), model.state_dict().keys())

x_train, y_train, x_valid, y_valid = mnist()
train = DataLoader(Dataset(x_train, y_train), batch_size=64, shuffle=True)
for x, y in train: print(x.shape, y.dtype, len(train))
history = fit(nn.Sequential(nn.Linear(784, 10)), optimizer, train, valid=None, epochs=2)
assert_type(history, History)
print(history.losses[-1], evaluate(model, train)[1])
assert_type(foundations.Tensor([1.0]), Tensor)
print(foundations.nn.Linear(2, 5), foundations.draw, foundations.fit, foundations.gradcheck)
'''

WRONG = ["t.rleu()", "nn.Linear(2)", "SGD([t], speed=1)", "foundations.Tenser"]


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    "What pyright says of the ordinary program, with the wrong lines after it: (line, message)."
    folder, code = tmp_path_factory.mktemp("pyright"), ORDINARY + "\n".join(WRONG)
    settings = dict(typeCheckingMode="standard", pythonVersion="3.11", extraPaths=[str(ROOT)])
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    (folder / "program.py").write_text(code)
    options = ["--outputjson", "--pythonpath", sys.executable, "-p", folder]
    done = subprocess.run([sys.executable, "-m", "pyright", *options], stdout=subprocess.PIPE)
    at = lambda d: code.splitlines()[d["range"]["start"]["line"]]
    said = json.loads(done.stdout)["generalDiagnostics"]
    return [(at(d), d["message"]) for d in said if d["severity"] == "error"]


def test_pyright_finds_no_error_in_ordinary_use(errors):
    found = [f"{line}  # {message}" for line, message in errors if line not in WRONG]
    if found: pytest.fail("\n".join(found))


@pytest.mark.parametrize("line", WRONG)
def test_pyright_finds_what_is_wrong(errors, line): assert line in [line for line, _ in errors]


TENSOR = "from foundations.autograd import Tensor\nt = Tensor([1.0])\n"
MODEL = "from foundations import nn\nmodel = nn.Sequential(nn.Linear(2, 5), nn.ReLU())\n"

@pytest.mark.parametrize("code, names", [
    (f"{TENSOR}t.", "relu sum backward reshape"),
    (f"{TENSOR}s = t * 2\ns.", "relu sum backward reshape"),
    (f"{MODEL}model.", "parameters named_parameters train"),
    (f"{MODEL}model.state_dict().", "keys items"),
    ("import foundations\nfoundations.", "Tensor nn draw mnist fit"),
], ids=["tensor", "result", "model", "state", "map"])
def test_jedi_completes(code, names):
    project = jedi.Project(ROOT, sys_path=[str(ROOT), *sys.path])
    offered = {c.name for c in jedi.Script(code, project=project).complete()}
    assert set(names.split()) - offered == set()


METHODS = "backward __add__ __radd__ __matmul__ relu sum reshape item"

@pytest.mark.parametrize("name", METHODS.split())
def test_source_of_a_tensor_shows_its_methods(name):
    "In the class, or in a base: `Tensor??` leads there."
    assert "class Tensor" in inspect.getsource(Tensor)
    owner = next(c for c in Tensor.__mro__ if name in vars(c))
    if f"def {name}(" not in inspect.getsource(owner): pytest.fail(f"{owner} does not show {name}")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_each_module_says_what_it_is_for(path):
    if not ast.get_docstring(ast.parse(path.read_text())): pytest.fail("write it below the title of its page, as `> ...`")


def silent(path):
    "Public functions, classes and methods without a docstring; what a base class says of a method holds for it."
    module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for name in getattr(module, "__all__", ()):
        x = getattr(module, name)
        if getattr(x, "__module__", None) != module.__name__ or not (inspect.isclass(x) or inspect.isfunction(x)): continue
        if not x.__doc__: yield name
        methods = {n: f for n, f in vars(x).items() if n[0] != "_" and (inspect.isroutine(f) or isinstance(f, property))} if inspect.isclass(x) else {}
        yield from (f"{name}.{n}" for n in methods if not any(getattr(vars(c).get(n), "__doc__", None) for c in x.__mro__))


@pytest.mark.parametrize("path", [p for p in MODULES if not re.fullmatch(r"chapter.*|__main__", p.stem)], ids=lambda p: p.stem)
def test_each_public_name_says_what_it_is(path):
    "`help(Tensor.exp)` says more than how it is called. (A chapter's exercises are asked for by `check`.)"
    if found := list(silent(path)): pytest.fail(f"no docstring: {', '.join(found)}", pytrace=False)


def test_every_page_that_exports_is_in_the_index():
    "nbdev passes over a notebook with `auto` in its name, and links nothing to what it exports."
    from foundations._modidx import d
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in MODULES if p.stem[0] != "_"}
    assert {name for name, found in d["syms"].items() if found} == modules


def test_no_module_pretends_to_be_another():
    for path in (ROOT / "foundations").rglob("*.py"):
        if "sys.modules[" in path.read_text(): pytest.fail(f"{path.name} writes into sys.modules")
    import_module("foundations.training")
    for name, module in list(sys.modules.items()):
        if name.startswith("foundations."): assert type(module) is types.ModuleType, name
