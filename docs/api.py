"""The reference: a page for each module, read from its source (nothing is imported or run)."""
import ast, copy, re, textwrap
from dataclasses import dataclass, field

from place import PACKAGE, ROOT, blob

CELL = re.compile(r"# %% (\S+\.ipynb) #(\w+)")
SPECIAL = {"__call__", "__getitem__", "__len__", "__iter__", "__enter__", "__exit__"}


@dataclass
class Module:
    "One file of the package, and what it exports in the order of its page."
    name: str                                       # foundations.forward
    path: str                                       # foundations/forward.py
    notebook: str | None                            # nbs/03_forward.ipynb
    source: str
    names: list[str]
    items: list = field(default_factory=list)       # ast nodes of what is defined here
    others: list[str] = field(default_factory=list) # names it hands on from elsewhere, and values
    steps: dict = field(default_factory=dict)       # classes for the file alone, by name: what a class of it is built on

    def __post_init__(self):
        "Where the names come from that annotations use: name -> its full name."
        self.known = {n.name: f"{self.name}.{n.name}" for n in self.items}
        for n in ast.walk(ast.parse(self.source)):
            if not isinstance(n, ast.ImportFrom): continue
            package = self.path.removesuffix(".py").split("/")[:-n.level] if n.level else []
            home = ".".join([*package, *filter(None, [n.module])])
            if home.startswith("foundations"): self.known |= {a.asname or a.name: f"{home}.{a.name}" for a in n.names}

    def typed(self, node):
        "The same node, its annotations with full names, so that each leads to the right class."
        known = self.known
        class Full(ast.NodeTransformer):
            def visit_Name(self, name): return ast.copy_location(ast.Name(known.get(name.id, name.id)), name)
            def visit_Constant(self, word): return ast.copy_location(ast.Name(known[word.value]), word) if word.value in known else word
        told = lambda a: a and Full().visit(ast.parse(a.value, mode="eval").body if isinstance(getattr(a, "value", None), str) else a)    # "Iterator[Module]"
        node = copy.deepcopy(node)
        for arg in [n for n in ast.walk(node.args) if isinstance(n, ast.arg)]: arg.annotation = told(arg.annotation)
        node.returns = told(node.returns)
        return node

    @property
    def says(self): return ast.get_docstring(ast.parse(self.source)) or ""

    def cell(self, node):
        "The id of the cell that defines it."
        above = CELL.findall("\n".join(self.source.split("\n")[:first_line(node)]))
        return above[-1][1] if above else None


def first_line(node): return min([node.lineno, *[d.lineno for d in node.decorator_list]])


def modules():
    "All modules but those that know the exercises of one chapter."
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(ROOT)
        if path.name == "_modidx.py" or path.stem.startswith("chapter") or where.as_posix() == "foundations/__init__.py": continue
        source = path.read_text(encoding="utf-8")
        tree, page = ast.parse(source), re.search(r"File to edit: (?:\.\./)+(nbs/\S+\.ipynb)", source)
        lists = [n.value for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__"]
        names = ast.literal_eval(lists[0]) if lists else []
        defined = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name in names]
        here = {n.name for n in defined}
        name = ".".join(where.with_suffix("").parts).removesuffix(".__init__")
        steps = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] == "_"}
        yield Module(name, where.as_posix(), page and page[1], source, names, defined, [n for n in names if n not in here], steps)


def whole(module, node):
    "A class, and those of its bases that are for the file alone: what they have is its own."
    yield node
    for base in getattr(node, "bases", ()):
        if ast.unparse(base) in module.steps: yield from whole(module, module.steps[ast.unparse(base)])


def methods(module, node):
    "Of a class and of all that it stands on within the file; what it has itself comes first, and counts."
    met = set()
    for cls in whole(module, node):
        found = [n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name not in met]
        met |= {n.name for n in found}
        yield from found


def signature(module, node):
    "Parameters as they are written, without their comments."
    node = module.typed(node)
    text = ast.unparse(node.args)
    if node.returns: text += f") -> {ast.unparse(node.returns)}"
    return f"({text}" + ("" if node.returns else ")")


def without_self(node):
    args = ast.arguments(**{f: getattr(node.args, f) for f in node.args._fields})
    plain = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    if not plain:
        if args.posonlyargs: args.posonlyargs = args.posonlyargs[1:]
        else: args.args = args.args[1:]
    return ast.FunctionDef(name=node.name, args=args, body=[], decorator_list=[], returns=node.returns)


def pattern(node):
    "What `@shapes` says of its arrays."
    for d in node.decorator_list:
        if isinstance(d, ast.Call) and getattr(d.func, "id", "") == "shapes" and d.args: return ast.literal_eval(d.args[0])
    return ""


def comments(module, node):
    "Each parameter with the comment beside it: its shape, unit and meaning."
    lines, a = module.source.split("\n"), node.args
    every = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]
    last = node.body[0].lineno - 1
    ends = {arg.arg: max(arg.end_lineno, *[d.end_lineno for d in defaults_of(a, arg)], arg.end_lineno) for arg in every}
    for arg in every:
        line = ends[arg.arg]
        if line > last: continue
        said = comment(lines[line - 1])
        if said and [x for x in ends if ends[x] == line][-1] == arg.arg:
            beside = [x for x in ends if ends[x] == line and x not in ("self", "cls")]
            yield ", ".join(beside), said
    if node.returns and (said := comment(lines[node.returns.end_lineno - 1])) and node.returns.end_lineno not in ends.values(): yield "returns", said


def comment(line):
    "What stands after a # that is no part of a string."
    quoted = re.sub(r"(\"[^\"]*\"|'[^']*')", lambda m: "x" * len(m[0]), line)
    at = quoted.find("#")
    return line[at + 1:].strip() if at >= 0 else ""


def defaults_of(a, arg):
    positional = [*a.posonlyargs, *a.args]
    if arg in positional:
        i = positional.index(arg) - (len(positional) - len(a.defaults))
        return [a.defaults[i]] if i >= 0 else []
    if arg in a.kwonlyargs:
        value = a.kw_defaults[a.kwonlyargs.index(arg)]
        return [value] if value else []
    return []


def directive(kind, name, body, options=""):
    "A description of Sphinx's domain for Python."
    fence = ":" * (7 if kind == "class" else 6)
    return f"{fence}{{py:{kind}}} {name}\n{options}\n{body}\n{fence}\n"


def described(module, node):
    "A docstring, the shapes, the parameters, where the source is and where the page."
    parts = [markdown_of(ast.get_docstring(node) or "")]
    if isinstance(node, ast.FunctionDef):
        if pattern(node): parts.append(f"Shapes: `{pattern(node)}`")
        listed = [f"- **{name}**: {markdown_of(said)}" for name, said in comments(module, node)]
        if listed: parts.append("\n".join(listed))
    return "\n\n".join(filter(None, parts))


def markdown_of(text):
    "Docstrings are Markdown; stars and underscores in them are mostly arithmetic."
    pieces = re.split(r"(`[^`]*`|https?://[^\s;,)]*[^\s;,).])", textwrap.dedent(text))
    return "".join(p if p[:1] == "`" else f"<{p}>" if p[:4] == "http" else re.sub(r"([*_<$|\[\]{}])", r"\\\1", p) for p in pieces)


def links(module, node):
    "To the page that explains it, and to its source."
    lines = f"#L{first_line(node)}-L{node.end_lineno}"
    source = f'<a href="{blob(module.path, lines)}">source</a>'
    page = module.notebook and module.notebook.removeprefix("nbs/").removesuffix(".ipynb") + ".html"
    where = f'<a href="../{page}#def-{node.name}">explained</a> · ' if page and module.cell(node) else ""
    return f'<p class="where">{where}{source}</p>'


def of_class(module, node):
    bases = [name for b in node.bases if (name := ast.unparse(b)) not in module.steps]
    makers = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name in ("__init__", "__new__")]
    head = node.name + (signature(module, without_self(makers[0])).split(") ->")[0].rstrip(")") + ")" if makers else "")
    parts = [described(module, node)]
    if makers:
        listed = [f"- **{name}**: {markdown_of(said)}" for name, said in comments(module, makers[0])]
        parts += ["\n".join(listed)]
    if "NamedTuple" in bases or any("dataclass" in ast.unparse(d) for d in node.decorator_list):
        lines, rows = module.source.split("\n"), []
        for n in node.body:
            if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name):
                said = comment(lines[n.end_lineno - 1])
                rows.append(f"- **{n.target.id}**: `{ast.unparse(n.annotation)}`" + (f", {markdown_of(said)}" if said else ""))
        parts.append("\n".join(rows))
    elif bases: parts.append("On: " + ", ".join(f"`{b}`" for b in bases))
    parts.append(links(module, node))
    for n in methods(module, node):
        if n.name[0] == "_" and n.name not in SPECIAL: continue
        if not ast.get_docstring(n) and n.name in SPECIAL: continue
        wrapped = [ast.unparse(d) for d in n.decorator_list]
        if any(d.endswith((".setter", ".deleter")) or d == "overload" for d in wrapped): continue
        kind = "property" if any(d.split(".")[-1] in ("property", "cached_property") for d in wrapped) else "method"
        name = n.name if kind == "property" else n.name + signature(module, without_self(n))
        parts.append(directive(kind, name, described(module, n)))
    return directive("class", head, "\n\n".join(filter(None, parts)))


def of_function(module, node):
    return directive("function", node.name + signature(module, node), f"{described(module, node)}\n\n{links(module, node)}")


def page(module, title):
    "The page of a module. `title`: that of the notebook it comes from."
    parts = [f"# {module.name.removeprefix('foundations.')}", f"`{module.name}`: {markdown_of(module.says)}"]
    if module.notebook:
        parts.append(f"Built on [{title}](../{module.notebook.removeprefix('nbs/')}). [Source]({blob(module.path)}).")
    parts.append(f"```{{py:module}} {module.name}\n```")
    parts += [(of_class if isinstance(n, ast.ClassDef) else of_function)(module, n) for n in module.items]
    if module.others: parts.append("Also: " + ", ".join(f"{{py:obj}}`{n} <{module.known[n]}>`" if n in module.known else f"`{n}`" for n in module.others) + ".")
    return "\n\n".join(parts) + "\n"
