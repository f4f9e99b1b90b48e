"""Each exercise that `check` knows: right answers are solved, known mistakes named, nonsense is refused; the pages; a class."""
import ast, contextlib, csv, functools, inspect, json, math, os, re, signal, subprocess, sys, threading, time
from importlib import import_module
from pathlib import Path

import nbformat
import numpy as np
import pytest

from foundations.exercises import check, hint, progress, running, session
from foundations.exercises.classroom import checked, collect, hand_out, plain_python, unpacked
from foundations.exercises.compare import same
from foundations.exercises.diagnosis import diagnose
from foundations.exercises.differences import difference
from foundations.exercises.reports import can_be_shown
from foundations.exercises.tasks import exercise, known, load

ROOT = Path(__file__).resolve().parent.parent
KNOWN = load()
named = pytest.mark.parametrize("ex", KNOWN.values(), ids=KNOWN)


def each(kind):
    "For every exercise, everything of one kind that belongs to it."
    pairs = [(ex, thing) for ex in KNOWN.values() for thing in getattr(ex, kind)]
    return pytest.mark.parametrize("ex, thing", pairs, ids=[f"{ex.name}-{getattr(thing, 'id', i)}" for i, (ex, thing) in enumerate(pairs)])


# What the entries promise

@named
def test_solution_is_solved_in_time(ex):
    ex.outcomes(ex.solve, ex.trials())                       # what is made at first use, such as compiled loops
    start = time.perf_counter()
    report = diagnose(ex, ex.solve)
    assert report.status == "solved", report
    assert time.perf_counter() - start < 2 * running.patience()


@each("right")
def test_unusual_answer_is_solved(ex, thing):
    report = diagnose(ex, thing)
    assert report.status == "solved", report


@each("conventions")
def test_convention_is_solved_and_named(ex, thing):
    report = diagnose(ex, thing.fn)
    assert (report.status, report.text) == ("solved", thing.text), report


@each("mistakes")
def test_mistake_is_named_as_itself(ex, thing):
    report = diagnose(ex, thing.fn)
    assert (report.status, report.mistake) == ("wrong", thing.id), report
    assert thing.what in report.text and thing.look in report.text


@named
def test_entry_is_whole(ex):
    texts = {m.id: (m.what, m.look) for m in ex.mistakes}                       # one mistake may be written in two ways
    assert all(texts[m.id] == (m.what, m.look) and m.id and m.what and m.look for m in ex.mistakes)
    assert not any(m.what == m.look or not m.what.endswith((".", "?")) for m in ex.mistakes)
    assert len(ex.hints) in (3, 4), f"{ex.name}: {len(ex.hints)} hints; expected three or four"
    assert ex.task and ex.level in ("easy", "middle", "hard")
    stub = type(ex.name, (), {"go": lambda self: ...}) if isinstance(ex.solve, type) else lambda *_, **__: ...
    assert diagnose(ex, stub).status == "not started"


def twisted(value, f):
    "A result with its numbers changed."
    if isinstance(value, (tuple, list)): return type(value)(twisted(v, f) for v in value)
    if isinstance(value, dict): return {k: twisted(v, f) for k, v in value.items()}
    if hasattr(value, "__next__"): return [twisted(v, f) for v in value]
    if isinstance(value, (bool, np.bool_)): return not value
    if isinstance(value, (int, float, np.ndarray, np.generic)) and np.asarray(value).dtype.kind in "fiu": return f(value)
    return value


def nonsense(ex):
    "Wrong functions, each with a name: constants, the inputs, right answers permuted, scaled, shifted, noisy."
    wrap = lambda v: (v,) * len(ex.returns) if ex.returns else v
    for value in (0.0, 1, "text", (), True): yield f"always {value!r}", lambda *_, value=value, **__: wrap(value)
    if isinstance(ex.solve, type): return
    by, rng = (1.1 if ex.rtol <= 1e-4 else 3.0), np.random.default_rng(1)
    for name, f in dict(scaled=lambda v: v * by + (by > 2), shifted=lambda v: v + by, nothing=lambda v: v * 0, backwards=lambda v: np.flip(v),
                        noisy=lambda v: v + (by - 1) * rng.normal(size=np.shape(v)), minus=lambda v: -v - (by > 2)).items():
        yield name, lambda *args, f=f, **more: twisted(ex.solve(*args, **more), f)
    for i in range(max(len(t.args) for t in ex.trials())): yield f"input {i}", lambda *args, i=i, **__: wrap(args[min(i, len(args) - 1)])


@named
def test_nonsense_is_never_solved(ex):
    trials = ex.trials()
    right = ex.outcomes(ex.solve, trials)
    for name, fn in nonsense(ex):
        runs = ex.outcomes(fn, trials)
        shows = lambda run: [*run.values, ("", run.failure and run.failure.name)]
        if all(same([v for _, v in shows(a)], [v for _, v in shows(b)]) for a, b in zip(runs, right)): continue      # no other answer
        if any(difference(ex, *three) for three in zip(trials, runs, right)): continue
        pytest.fail(f"{ex.name}: {name} is solved")


# What a learner's function cannot do

@pytest.fixture
def double():
    "An exercise of two inputs, known for one test."
    @exercise(chapter=0, hints=["a", "b", "c"])
    def double(x):
        "Twice x."
        return 2 * x

    @double.inputs
    def _(rng):
        yield "a row", dict(x=rng.normal(size=3))
        yield "a table", dict(x=rng.normal(size=(2, 4)))

    yield double
    known.pop("double")
    session.pop("double", None)


class Doubles:
    def __call__(self, x): return x + x
    def method(self, x): return 2 * x


def test_all_kinds_of_callables_are_answers(double):
    nested = (lambda: lambda x: 2 * x)()
    for fn in (nested, Doubles(), Doubles().method, functools.partial(np.multiply, 2), functools.partial(lambda by, x: by * x, 2),
               functools.wraps(nested)(lambda *a: nested(*a)), lambda x: [[2 * v for v in row] for row in x] if x.ndim > 1 else [2 * v for v in x],
               lambda x: (2 * v for v in x), lambda x: 2 * x.astype("f4")):
        assert check("double", fn).status == "solved", fn


def endless(x):
    while True: np.sort(np.arange(1 << 22)[::-1])

def deeper(x): return deeper(x)
def grows(x): return [np.empty(1 << 24) for _ in range(1 << 20)]    # not filled: some machines need seconds for a gigabyte
def leaves(x): os._exit(0)
def exits(x): sys.exit()
def closes(x): sys.stdout.close(); os.closerange(0, 3); return x
def talks(x): print("na" * 5_000_000); return x
def starts(x): threading.Thread(target=time.sleep, args=[9]).start(); return x
def replaces(x): np.multiply = np.array = None; return x
def interrupts(x): raise KeyboardInterrupt
def forks(x):
    if not os.fork(): time.sleep(9)
    return x

HARMFUL = {endless: "time", deeper: "raises", grows: "memory", leaves: "died", exits: "raises", closes: "the-input", talks: "the-input", starts: "the-input",
           replaces: "the-input", interrupts: "died", forks: "the-input"}


def children(): return subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True).stdout.replace("ps", "").split("\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("fn", HARMFUL, ids=lambda fn: fn.__name__)
def test_nothing_harms_the_parent(double, fn):
    multiply, start, before = np.multiply, time.perf_counter(), len(children())
    report = check("double", fn)
    assert (report.status, report.mistake) == ("wrong", HARMFUL[fn]), report
    assert time.perf_counter() - start < 2 * running.patience()
    assert np.multiply is multiply and len(children()) == before and not sys.stdout.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_an_interrupt_leaves_no_child(double):
    before = len(children())
    threading.Timer(0.4, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt): check("double", endless)
    assert len(children()) == before


@pytest.mark.parametrize("where", ["windows", "browser"])
def test_without_a_fork(double, monkeypatch, where):
    if where == "windows": monkeypatch.delattr(os, "fork", raising=False)
    else:                                                    # Python there has a fork that raises
        monkeypatch.setattr(sys, "platform", "emscripten")
        monkeypatch.setattr(running, "forked", None)
    assert check("double", lambda x: x + x).status == "solved"
    assert check("double", lambda x: -2 * x).mistake == "sign"
    def loops(x):
        while True: pass
    assert check("double", loops).mistake == "time"


class Mute:
    def __call__(self, inp): self.out = inp.clip(0)
    def backward(self): pass

@pytest.mark.parametrize("name, fn, word", [
    ("relu_grad", lambda dout, x: (dout,) if x > 0 else (0 * dout,), "np.where"),                  # the truth of an array
    ("relu_grad", lambda dout, x: (dout * print(end=""),), "without `return`"),
    ("relu_grad", lambda dout, x: (dout * (lambda x: x > 0)(dout, x),), "the definition name"),
    ("relu_grad", lambda dout, x: (dout / {},), "try that line on them"),
    ("softmax", lambda x: np.exp(x - x.max(1)), "`keepdims=True` keeps it"), ("softmax", lambda x: math.exp(x), "`np.exp` takes arrays"),
    ("relu_layer", Mute, "set or return it"), ("relu_grad", lambda dout, x: print(end=""), "Is there a `return`")])
def test_what_stops_a_call_gets_a_hint_of_its_own(name, fn, word):
    assert word in check(name, fn).text


def test_a_report_names_no_place_in_memory(double):
    def prints(x): print(object()); return object()
    def raises(x): raise ValueError(f"what is {object()}?")
    for fn in (prints, raises, lambda x: [object(), print], lambda x: raises): assert "0x" not in repr(check("double", fn)) + check("double", fn)._repr_html_()


def test_to_fail_as_ours_does_is_not_right(double, monkeypatch):
    def fails(x): raise ValueError("of no use")
    monkeypatch.setattr(double, "solve", functools.wraps(double.solve)(fails))
    assert (check("double", fails).status, check("double", fails).mistake) == ("wrong", "our-own-fails")


def test_a_record_of_progress_is_never_lost(double, tmp_path):
    check("double", lambda x: 2 * x)
    path = tmp_path / "mine"
    assert "double" in progress(path).text and json.loads(path.read_text())["double"] == "solved"
    for text in ('{"double"', "[1]", '{"double": 3}', ""):
        path.write_text(text)
        with pytest.raises(ValueError, match="left as it is"): progress(path)
        assert path.read_text() == text and list(tmp_path.iterdir()) == [path]


def test_a_report_does_not_speak_in_colours_alone(double):
    shown = check("double", lambda x: np.where(x > 0, 2 * x, 0))._repr_html_()
    assert shown.count("✗") == 1 + len(re.findall('class="no"', shown)) > 1
    assert "✗" not in hint("double")._repr_html_()


def test_arrays_that_look_alike_are_told_apart_by_dtype(double):
    double.trials_of = lambda rng: iter([("two dtypes", dict(x=[np.arange(3.0), np.arange(3), np.arange(2.0)]))])
    double.use = lambda fn, x: iter([("how many are floats", sum(fn(a).dtype.kind == "f" for a in x))])
    report = check("double", lambda x: x.astype(float))
    assert [t.title for t in report.tables] == ["x[0], float64", "x[1], int64", "x[2]"]
    assert "How many are floats: 3; expected 2." in report.text
    assert "x[1], int64" in report._repr_html_() and "x[1], int64" in repr(report)


# The pages

CHAPTERS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))
paged = pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)


def cells_of(page): return nbformat.read(page, as_version=4).cells


def tagged(cell, tag): return tag in cell.metadata.get("tags", [])
def shown(cell): return "".join("".join(o.get("text", "")) + "".join(o.get("data", {}).get("text/plain", "")) for o in cell.get("outputs", []))


@paged
def test_a_check_on_the_page_waits_for_its_learner(page):
    cells, bugs, stubs = cells_of(page), set(), 0
    for cell in cells:
        if cell.cell_type != "code": continue
        if tagged(cell, "bug"): bugs |= set(re.findall(r"^(?:def|class) (\w+)", cell.source, re.M))
        for name, fn in checked(cell.source):
            wanted, stubs = ("wrong", stubs) if fn in bugs else ("not started", stubs + 1)
            assert f"{name}: {wanted}" in shown(cell), f"{page.name}: {name}: {shown(cell)}"
    assert stubs and bugs


def defined(cell, space):
    "Run the imports and definitions of a cell in a namespace; the names that it defines."
    nodes = [n for n in ast.parse(re.sub(r"(?m)^%.*", "", cell.source)).body if isinstance(n, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))]
    exec(compile(ast.Module(nodes, []), "page", "exec"), space)
    return [n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))]


def fits(fn, ex):
    "Is it a class or a function, as the exercise asks, and does it take the same? A class is a function of what it is made with."
    same = list(inspect.signature(fn).parameters) == list(inspect.signature(ex.solve).parameters)
    if isinstance(fn, type) != isinstance(ex.solve, type) and not same: return False
    with contextlib.suppress(TypeError): return bool(ex.use or inspect.signature(fn).bind(*ex.trials()[0].args.values()))
    return False


def with_names(name, fn, space, cells):
    "Check an answer; what it names of the page, such as a loss, is made first."
    for _ in range(5):
        report = check(name, fn)
        if not (m := re.search(r"NameError: name '(\w+)'", report.text)): break
        made = [line for c in cells for line in c.source.splitlines() if re.match(rf"(\w+, )*{m[1]}(, \w+)* = ", line)]
        if not made: break
        exec(made[0], space)
    return report


@paged
def test_a_solution_on_the_page_passes_its_check(page):
    "An exported one that has another form than the exercise, such as a method, is tested by the cells behind it."
    cells = [c for c in cells_of(page) if c.cell_type == "code"]
    module = next(m[1] for c in cells if (m := re.search(r"#\| default_exp (\S+)", c.source)))
    space = {"__name__": "page"} | {k: v for k, v in vars(import_module(f"foundations.{module}")).items() if not k.startswith("__")}
    asked, met = [], set()
    for cell in cells:
        asked = [name for name, _ in checked(cell.source)] or asked
        if not tagged(cell, "solution"):
            with contextlib.suppress(Exception): defined(cell, space)          # what a page makes on the way, solutions may use
            continue
        assert cell.metadata.get("jupyter", {}).get("source_hidden"), f"{page.name}: not folded: {cell.source[:60]}"
        assert asked, f"{page.name}: no check before {cell.source[:60]}"
        fns = [fn for name in defined(cell, space) for fn in (space[name], running.bare(space[name]))]   # bare: without the checks of inputs
        if "#| export" in cell.source:
            fns = [fn for fn in fns if any(fits(fn, KNOWN[name]) for name in asked)]
            fns += [lambda *args, fn=fn: fn(*[a.tolist() for a in args]) for fn in fns if not isinstance(fn, type)]     # it may want lists
        reports = [with_names(name, fn, space, cells) for name in asked for fn in fns]
        met |= {r.name for r in reports if r.status == "solved"}
        assert not reports or met & set(asked), f"{page.name}: {reports[-1]}"
    names = {name for cell in cells for name, _ in checked(cell.source)}
    assert met and len(names - met) <= 3, f"{page.name}: nothing on the page solves {names - met}"


@paged
def test_what_a_folded_cell_shows_gives_nothing_away(page):
    "Its first line is seen, and what it puts out."
    cells = [c for c in cells_of(page) if tagged(c, "solution")]
    assert cells and [c.source for c in cells if c.outputs or not re.match(r"(#\| export|(def|class) .*:)\n", c.source)] == []


@paged
def test_a_chapter_ends_with_exercises(page):
    cells = cells_of(page)
    start = max(i for i, c in enumerate(cells) if c.cell_type == "markdown" and re.search(r"(?m)^## .*[Ee]xercises", c.source))
    ends = [c for c in cells[start:] if c.cell_type == "markdown" and re.search(r"(?m)^#{3,4} .*(easy|middle|hard).* \d+ minutes", c.source)]
    assert 4 <= len(ends) <= 6, [c.source.splitlines()[0] for c in ends]
    code = [c for c in cells if c.cell_type == "code"]
    assert any(re.search(r"\bpredict\(", c.source) for c in code) and any(tagged(c, "bug") for c in code)


def test_every_exercise_is_asked_on_a_page_of_its_chapter():
    "So `progress` counts what a learner meets, and nothing else."
    asked = {(name, int(page.stem[:2])) for page in CHAPTERS for cell in cells_of(page) if cell.cell_type == "code" for name, _ in checked(cell.source)}
    wrong = asked ^ {(name, ex.chapter) for name, ex in KNOWN.items()}
    assert not wrong, f"not both known and asked, by a stub and check(name, stub), in a chapter: {sorted(wrong)}"
    assert progress().title == f"0 of {len(asked)} solved" or session


@named
def test_an_exercise_has_an_input_to_look_at(ex):
    arrays = [[v for v in t.args.values() if isinstance(v, np.ndarray)] for t in ex.trials()]
    assert any(all(can_be_shown(v) for v in some) for some in arrays), ex.name


# A class

def notebook(path, *sources):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources]), path)


STUB, ASKS = "def mine(u, v): ...", 'check("dot", mine)'
PAGE = ["#| default_exp matmul", "from foundations.exercises import check, find", STUB, ASKS, "def dot(u, v): return sum(x * y for x, y in zip(u, v))",
        "class Dot:\n    def __call__(self, u, v): return dot(u, v)", "assert Dot()([1, 2], [3, 4]) == 11"]
RIGHT = "def mine(u, v): return sum(x * y for x, y in zip(u, v))"
CHEATS = ["import foundations.exercises as e, foundations.exercises.diagnosis as d, foundations.exercises.classroom as c",
          "e.check = check = lambda *_: print('✓ solved')\ne.find('dot').trials_of = lambda rng: iter(())",
          "c.answer = lambda *_: None\nc.judge = d.judge = d.diagnose = lambda *_: 'solved'\nd.difference = lambda *_: None\nd.unwritten = lambda _: False"]
LEARNERS = {                                        # name -> what stands where the stub stood
    "ada": [RIGHT], "ben": ['mine = find("dot").mistakes[0].fn', 'check("matmul", mein)'], "cid": [STUB, *CHEATS],
    "dot": [RIGHT, "1 / 0", "import os; os._exit(1)"], "eve": [RIGHT, ASKS, "while True:\n    try:\n        while True: pass\n    except BaseException: pass"],
    "fay": [STUB], "gus": [RIGHT, "kept = [bytearray(1 << 26) for _ in range(1 << 20)]"]}


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    "A page with a folded function and a folded class that stands on it, as a learner gets it."
    folder = tmp_path_factory.mktemp("page")
    notebook(folder / "01_page.ipynb", *PAGE)
    page = nbformat.read(folder / "01_page.ipynb", as_version=4)
    for cell in page.cells[4:6]: cell.metadata["tags"] = ["solution"]
    nbformat.write(page, folder / "01_page.ipynb")
    return nbformat.read(*hand_out(folder / "out", folder), as_version=4)


@pytest.fixture(scope="module")
def table(handed_out, tmp_path_factory):
    "What `collect` says of a class of seven; meanwhile, of the one that loops, after a shorter time."
    folder, found = tmp_path_factory.mktemp("class"), {}
    sources = [c.source for c in handed_out.cells]
    at = sources.index(STUB)
    for name, cells in LEARNERS.items(): notebook(folder / ((name == "eve" and "loops") or "class") / name / "01_page.ipynb", *sources[:at], *cells, *sources[at + 1:])
    options = [f"--seconds={15 * running.patience()}", "--gigabytes=4"]
    loops = subprocess.Popen([sys.executable, "-m", "foundations.exercises", "collect", folder / "loops", folder / "loops.csv", *options])
    try: collect(folder / "class", folder / "class.csv", seconds=120, gigabytes=4)
    finally: ended = loops.wait()
    assert ended == 0
    for part in ("class", "loops"):
        with open(folder / f"{part}.csv", newline="") as file: found |= {row["learner"]: row for row in csv.DictReader(file)}
    return {name: found[name] for name in LEARNERS}


def test_a_class_is_told_what_each_solved(table):
    assert list(table["ada"]) == ["learner", "solved", "dot", "matmul", "remarks"]
    assert {k: row["dot"] for k, row in table.items()} == {
        "ada": "solved", "ben": f"wrong: {KNOWN['dot'].mistakes[0].id}", "cid": "not started", "dot": "not reached", "eve": "solved", "fay": "not started", "gus": "solved"}
    assert [row["solved"] for row in table.values()] == ["1", "0", "0", "0", "1", "0", "1"]
    assert table["ada"]["remarks"] == table["fay"]["remarks"] == "" and "did not come to its end" in table["dot"]["remarks"]
    assert table["ben"]["matmul"] == "raises NameError" and "NameError" in table["ben"]["remarks"]
    assert "stopped after" in table["eve"]["remarks"] and "MemoryError" in table["gus"]["remarks"]


def test_what_is_packed_is_what_was_folded(handed_out):
    sources = [c.source for c in handed_out.cells]
    assert not any("zip" in s for s in sources) and sum("unpacked" in s for s in sources) == 2
    space = {}
    for source in sources[1:]: exec(source, space)
    assert space["Dot"]()([2], [3]) == 6


@pytest.fixture(scope="module")
def all_handed_out(tmp_path_factory):
    "Every chapter as a learner gets it: page -> cells as they were, and as they are."
    pages = hand_out(tmp_path_factory.mktemp("all"), ROOT / "nbs")
    return {page.stem: (page, cells_of(ROOT / "nbs" / page.name), cells_of(page)) for page in pages}


@paged
def test_what_is_handed_out_holds_no_solution(all_handed_out, page):
    _, before, after = all_handed_out[page.stem]
    secret, code = [c.source for c in before if tagged(c, "solution")], lambda cells: [c.source for c in cells if c.cell_type == "code"]
    assert not any(c.get("outputs") or tagged(c, "solution") for c in after)
    assert secret and not any(s == c.source for s in secret for c in after) and not any("<details>" in c.source for c in after)
    for body in {line.strip() for s in secret for line in s.splitlines() if len(line.strip()) > 30 and "return" in line}:      # nor a line of one
        assert sum(body in s for s in code(after)) <= sum(body in s for s in code(before) if s not in secret), body
    assert [x for s in code(before) for x in checked(s)] == [x for s in code(after) for x in checked(s)]
    for line in [line for s in code(after) for line in re.findall(r"^from foundations\.[\w.]+ import \w+.*$", s, re.M)]: exec(line, {})


def test_a_page_that_is_handed_out_links_to_nothing_that_is_not(all_handed_out):
    for page, _, after in all_handed_out.values():
        links = [link for c in after if c.cell_type == "markdown" for link in re.findall(r"\]\(([^)#]+)", c.source)]
        assert not [link for link in links if "://" not in link and not (page.parent / link).exists()], page
    assert {p.suffix for p in page.parent.iterdir()} == {".ipynb"}


def test_nothing_is_handed_out_over_the_work_of_someone(tmp_path):
    (tmp_path / "nbs").mkdir()
    for name in ("01_page", "02_page"): notebook(tmp_path / "nbs" / f"{name}.ipynb", *PAGE)
    pages = [hand_out(tmp_path / "out", tmp_path / "nbs") for _ in range(2)][1]           # the same again: as it was
    pages[0].unlink()
    notebook(pages[1], "mine = 1")
    with pytest.raises(FileExistsError, match=r"02_page\.ipynb is there"): hand_out(tmp_path / "out", tmp_path / "nbs")
    assert "mine" in pages[1].read_text() and not pages[0].exists()


@paged
def test_a_page_that_is_handed_out_lacks_no_name(all_handed_out, page, tmp_path):
    "What its cells use is made by a cell before, or imported: a linter says so of the page, with what is packed laid open."
    _, _, after = all_handed_out[page.stem]
    for cell in after:
        cell.source = re.sub(r'exec\(unpacked\("""\n(.*)\n"""\)\)', lambda m: unpacked(m[1]), cell.source, flags=re.S)
    lines = [line for c in after if c.cell_type == "code" for line in (plain_python(c.source) + "\n").splitlines()]
    (tmp_path / "page.py").write_text("\n".join(lines) + "\n")
    said = subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,F823", "--config", 'builtins=["display"]',
                           "--output-format", "concise", tmp_path / "page.py"], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_a_page_that_is_handed_out_runs_untouched(all_handed_out):
    import nbclient
    page, *_ = all_handed_out["02_broadcasting"]
    nb = nbformat.read(page, as_version=4)
    nbclient.NotebookClient(nb, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(page.parent)}}).execute()
    checks = [cell for cell in nb.cells if cell.cell_type == "code" and checked(cell.source)]
    assert len(checks) > 5 and all("not started" in shown(c) or "wrong" in shown(c) for c in checks)


def test_the_command_speaks_plainly(tmp_path):
    run = lambda *args: subprocess.run([sys.executable, "-m", "foundations.exercises", *args], capture_output=True, text=True)
    assert "hand-out" in run("--help").stdout
    lost = run("collect", str(tmp_path), str(tmp_path / "out.csv"))
    assert lost.returncode and lost.stderr.count("\n") == 1 and "holds no folder" in lost.stderr and not (tmp_path / "out.csv").exists()
    (tmp_path / "ada" / "deeper").mkdir(parents=True)
    assert "ada: 0 solved no notebooks" in run("collect", str(tmp_path), str(tmp_path / "out.csv")).stdout
    late = run("collect", str(tmp_path), str(tmp_path / "none" / "out.csv"))
    assert late.returncode and "out.csv" in late.stderr and "ada" not in late.stdout              # before a class has run
