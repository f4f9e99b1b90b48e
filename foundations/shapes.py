import linecache, math, sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial, update_wrapper, wraps
from inspect import Parameter, signature
from operator import index
from numbers import Real
from typing import Any, TypeVar, cast

import numpy as np
from array_api_compat import array_namespace


# ------------------------------------------------------------------ patterns
def entries(side: str) -> list[list[str]]:
    "One side of a pattern: for each array its words."
    return [part.replace("()", "").split() for part in side.split(",")]


def listed(words: Sequence) -> str:
    "a, b and c."
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last


def expected(names: Sequence[str], patterns: list[list[str]]) -> str:
    "What patterns ask for, in words."
    if all(words == ["..."] for words in patterns): return "expected the same shape"
    for name, words in zip(names, patterns):
        if "[1]" not in words: continue
        number = "".join(f"one number as {n}, and " for n, w in zip(names, patterns) if not w)
        return f"expected {number}equal shapes, or one more axis of size 1 in {name}"
    return f"expected {listed([str(tuple(w)).replace(chr(39), '') for w in patterns])}"


# ------------------------------------------------------------------ what does not fit
def misfit(names: Sequence[str], patterns: list[list[str]], shapes: Sequence[tuple]) -> str | None:
    "What is expected and not so, in words; None where shapes fit their patterns."
    if any(word[0] == "*" for words in patterns for word in words):
        return unstretched(names, patterns, shapes)
    sizes: dict[str, tuple] = {}                       # word -> its size, and who has it
    for name, words, shape in sorted(zip(names, patterns, shapes), key=lambda e: "[1]" in e[1]):
        if words in (["-"], ["_"]): continue           # any shape
        fixed = [word for word in words if word not in ("...", "[1]")]
        if "[1]" in words and shape == (*sizes["..."][0], 1): shape = shape[:-1]
        cut = len(shape) - len(fixed)                  # so many axes are left for the dots
        if cut < 0 or cut > 0 and len(fixed) == len(words): return expected(names, patterns)
        found = [*zip(fixed, shape[cut:]), *[("...", shape[:cut])] * ("..." in words)]
        for word, size in found:
            known, who = sizes.setdefault(word, (size, name))
            if known == size: continue
            if word == "..." or who == name: return expected(names, patterns)
            return f"{expected(names, patterns)}; {word} is {known} in {who} and {size} in {name}"
    return None


@lru_cache(4096)
def common_shape(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    "The shape that shapes make when they are stretched to one another; None where they do not fit."
    try: return np.broadcast_shapes(*shapes)
    except ValueError: return None


def unstretched(names, patterns, shapes) -> str | None:
    "The same for shapes that may be stretched to one another."
    given = [shape for words, shape in zip(patterns, shapes) if words != ["*"]]
    made = common_shape(*given)
    for axis in range(-1, -max(map(len, given)) - 1, -1):
        sizes = dict.fromkeys(shape[axis] for shape in given if len(shape) >= -axis and shape[axis] != 1)
        if len(sizes) > 1: return f"they do not fit: axis {axis} has sizes {listed(sizes)}, and neither is 1"
    for name, words, shape in zip(names, patterns, shapes):
        if words == ["*"] and shape != made: return f"expected {name} of shape {made}, that of the result"
    return None


# ------------------------------------------------------------------ library, dtype, device
_libraries: dict[type, Any] = {}


def xp(x) -> Any:
    """The library of an array: `xp(x).exp(x)` is NumPy's for NumPy's arrays, torch's for its tensors.

    Names as in the Python array API standard, https://data-apis.org/array-api. TypeError for what is no array.
    """
    found = _libraries.get(type(x))
    if found is None: found = _libraries[type(x)] = array_namespace(x)
    return found


def is_floating(dtype) -> bool:
    "Real floating-point numbers, of NumPy or torch?"
    return dtype.kind == "f" if isinstance(dtype, np.dtype) else dtype.is_floating_point


def is_whole(dtype) -> bool:
    "Integers, of NumPy or torch? Booleans are none."
    if isinstance(dtype, np.dtype): return dtype.kind in "iu"
    return not (dtype.is_floating_point or dtype.is_complex or str(dtype) == "torch.bool")


def one_library(arrays: Sequence) -> Any:
    "The library of all arrays. TypeError where there is none, or for a mask or matrix; ValueError for two devices."
    kinds = [type(x) for x in arrays]
    try: found, _ = array_namespace(*arrays), [x.dtype for x in arrays]
    except (TypeError, AttributeError): raise TypeError(
        f"expected arrays of one library, NumPy or torch; got {listed([k.__name__ for k in kinds])}") from None
    for kind in kinds:                   # a mask would be ignored, and np.matrix has another `*`
        if issubclass(kind, (np.ma.MaskedArray, np.matrix)):
            raise TypeError(f"expected a plain array, got {kind.__name__}; use np.asarray")
    devices = dict.fromkeys(str(x.device) for x in arrays)
    if len(devices) > 1: raise ValueError(f"arrays on {listed(devices)}; move them to one device")
    return found


def one_dtype(found, dtypes: Sequence) -> Any:
    "A floating-point dtype that holds all of them, float64 where none is one; TypeError where there is none."
    for dtype in dtypes:
        if not found.isdtype(dtype, ("real floating", "integral", "bool")):
            raise TypeError(f"expected real numbers, got {dtype}")
    floats = [dtype for dtype in dtypes if is_floating(dtype)]
    try: return found.result_type(*floats) if floats else found.float64
    except RuntimeError: raise TypeError(
        f"no floating-point dtype holds {listed(floats)}") from None


# ------------------------------------------------------------------ one function and its pattern
class Contract:
    "What a function expects of its arrays; `settle` makes them so, or says what is wrong."

    def __init__(self, function: Callable, pattern: str, checks: dict[str, Callable]):
        left, _, _ = pattern.partition("->")
        params = list(signature(function).parameters.values())
        self.function, self.checks, self.name = function, checks, function.__name__
        self.patterns = entries(left) if pattern else []
        self.arrays = [p.name for p in params[:len(self.patterns)]]
        self.integers = {name for name, words in zip(self.arrays, self.patterns) if words[0:1] in (["int"], ["bool"])}
        self.patterns = [[word for word in words if word not in ("int", "bool")] for words in self.patterns]
        self.options = params[len(self.patterns):]
        self.several = bool(self.arrays) and params[0].kind is Parameter.VAR_POSITIONAL   # arrays, any number
        self.plans: dict[tuple, tuple] = {}            # kinds of arrays -> what to do with them
        self.fits = lru_cache(512)(self.fits)

    def names(self, count: int) -> list[str]:
        "A name for each array."
        return [f"{self.arrays[0]}[{i}]" for i in range(count)] if self.several else self.arrays

    def fits(self, *shapes) -> bool:
        "Do the shapes fit the pattern?"
        return misfit(self.names(len(shapes)), self.patterns * (len(shapes) if self.several else 1), shapes) is None

    def settle(self, *args):
        "The arrays, of one library and floating-point dtype, and the function to call with them."
        for x in args:                                 # chapter 6's tensors record what is done with them
            if hasattr(type(x), "__formula__"): return *args, partial(x.__formula__, self.function)
        args = self.with_numbers(args)
        try: kinds = tuple([(type(x), x.dtype, x.device) for x in args])
        except AttributeError: kinds = None            # no array; `plan` says so
        dtype, half, whole = self.plans.get(kinds) or self.plans.setdefault(kinds, self.plan(args))
        made = [x if x.dtype == dtype or name in self.integers else xp(x).astype(x, dtype)
                for name, x in zip(self.names(len(args)), args)]
        self.refuse_misfit(made)
        return *made, self.finishing(half, whole) if half or whole else self.function

    def with_numbers(self, args) -> tuple:
        "Where a pattern has one number, a Python number will do: it becomes an array like the others."
        if not any(isinstance(x, Real) for x in args): return args
        others = [x for x in args if hasattr(x, "device")]
        like = next((x for x in others if is_floating(x.dtype)), others[0] if others else None)
        if like is None: return args
        dtype = like.dtype if is_floating(like.dtype) else xp(like).float64
        return tuple(xp(like).asarray(float(x), dtype=dtype, device=like.device)
                     if isinstance(x, Real) and words in ([], ["-"]) else x
                     for x, words in zip(args, self.patterns * len(args)))

    def plan(self, args) -> tuple:
        "The dtype to compute with; whether results go back to half precision; which inputs take no gradient."
        found, given = one_library(args), list(zip(self.names(len(args)), args))
        real = [(name, x.dtype) for name, x in given if name not in self.integers]
        dtype = one_dtype(found, [d for _, d in real])
        half = dtype == np.dtype(np.float16)           # NumPy's sums of halves lose what is small and what is large
        inputs = [(name, d) for name, d in real if name != "dout"]
        whole = len(inputs) < len(real) and any(is_floating(d) for _, d in inputs)
        return (np.dtype(np.float32) if half else dtype, half,
                [i for i, (_, d) in enumerate(inputs) if whole and not is_floating(d)])

    def refuse_misfit(self, args):
        "ValueError, with all shapes, unless they fit."
        names, shapes = self.names(len(args)), [tuple(x.shape) for x in args]
        why = misfit(names, self.patterns * (len(args) if self.several else 1), shapes)
        if why is None: return
        for name, x in zip(names, args):               # a check of its own may know better
            if name in self.integers and name in self.checks: self.checks[name](x, args[self.arrays.index(self.first)])
        raise ValueError(f"{listed([f'{name} is {shape}' for name, shape in zip(names, shapes)])}: {why}")

    def finishing(self, half: bool, whole: list[int]) -> Callable:
        "The function, with results in half precision again, and None for the gradients of integers."
        def finished(*args, **options):
            out = self.function(*args, **options)
            results = out if isinstance(out, tuple) else (out,)
            with np.errstate(over="ignore"):
                results = tuple(None if i in whole else y.astype(np.float16) if half and y is not None else y
                                for i, y in enumerate(results))
            return results if isinstance(out, tuple) else results[0]
        return finished

    @property
    def first(self) -> str:
        "The first array that is an input, and no gradient."
        return next((name for name in self.arrays if name != "dout"), "None")


# ------------------------------------------------------------------ straight Python
def source(c: Contract) -> str:
    "A function that checks what `c` expects and calls the formula, as Python."
    stars = "*" * c.several
    head = [stars + name for name in c.arrays]
    head += [written(p) for p in c.options]
    args = ", ".join(stars + name for name in c.arrays)
    call = ", ".join([*filter(None, [args]), *[f"*{p.name}" if p.kind is Parameter.VAR_POSITIONAL
                                              else f"{p.name}={p.name}" for p in c.options]])
    real = [name for name in c.arrays if name not in c.integers]
    lines = [f"def {c.name}({', '.join(head)}):", "    f = formula", "    try:"]
    if c.several: lines += [f"        *{c.arrays[0]}, f = settle(*{c.arrays[0]})"]
    elif c.arrays: lines += [
        f"        if not ({' is '.join(f'type({n})' for n in c.arrays)} is ndarray",
        f"                and {' is '.join([f'(d := {real[0]}.dtype)', *[f'{n}.dtype' for n in real[1:]]])}",
        f"                and (d is f8 or d is f4) and fits({', '.join(f'{n}.shape' for n in c.arrays)})):",
        f"            {args}, f = settle({args})"]
    first = f"{c.arrays[0]}[0]" if c.several else c.first
    for name, check in c.checks.items():               # a check may ask for options, by their names
        options = [p.name for p in c.options]
        more = [p for p in list(signature(check).parameters)[2:] if p in options]
        lines += [f"        {name} = check_{name}({', '.join([name, first, *more])})"]
    lines += ["        pass", f"    except (TypeError, ValueError) as why: raise told({c.name!r}, why) from None"]
    return "\n".join([*lines, f"    return f({call})", ""])


def written(p: Parameter) -> str:
    "A parameter as it stands in the head of a function."
    if p.kind is Parameter.VAR_POSITIONAL: return f"*{p.name}"
    return p.name if p.default is Parameter.empty else f"{p.name}=default_{p.name}"


def told(name: str, why: Exception) -> Exception:
    "The same error, its message begun with the name of the function."
    return type(why)(f"{name}: {why}")


F = TypeVar("F", bound=Callable)


def shapes(pattern: str = "", **checks: Callable) -> Callable[[F], F]:
    """A decorator that says what fits: a word for each axis, a comma between arrays, `->` before the result."""
    def decorate(f: F) -> F:
        c = Contract(f, pattern, checks)
        text, file = source(c), f"<shapes of {f.__module__}.{f.__name__}>"
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        names = dict(formula=f, settle=c.settle, fits=c.fits, told=told, ndarray=np.ndarray,
                     f4=np.dtype(np.float32), f8=np.dtype(np.float64))
        names |= {f"check_{name}": check for name, check in checks.items()}
        names |= {f"default_{p.name}": p.default for p in c.options}
        exec(compile(text, file, "exec"), names)
        made: Any = update_wrapper(names[f.__name__], f)
        made.pattern = pattern
        if pattern: made.__doc__ = f"{f.__doc__}\n\nShapes: `{pattern}`."
        return made
    return decorate


# ------------------------------------------------------------------ checks of what a pattern cannot say
def axes(axis, x) -> tuple[int, ...]:
    "Some axes of x, counted from 0: one, several, or None for all. ValueError, TypeError."
    if axis is None: return tuple(range(x.ndim))
    asked = axis if isinstance(axis, (tuple, list)) else (axis,)
    try: found = tuple([i + x.ndim if i < 0 else i for i in map(index, asked)])
    except TypeError: raise TypeError(f"expected an axis or a tuple of axes, got {axis!r:.60}") from None
    if not x.ndim and found in ((0,), (-1,)): return ()      # one number has no axis, and may be asked for it
    if not found: raise ValueError("axis () means none to NumPy and all to torch; name the axes, or None for all")
    if len({i for i in found if 0 <= i < x.ndim}) < len(found):
        raise ValueError(f"axis {listed(asked)} does not fit an array of shape {tuple(x.shape)}")
    return found


def one_axis(axis, x) -> int:
    "One axis of x, counted from 0."
    found = axes((axis,), x)
    return found[0] if found else 0


def integers(values, x=None, what: str = "a tuple of integers such as (24, 8)") -> tuple[int, ...]:
    "A tuple or list of integers as a tuple of plain ones; TypeError for anything else."
    try:
        if isinstance(values, (tuple, list)): return tuple([index(n) for n in values])
    except TypeError: pass
    raise TypeError(f"expected {what}, got {values!r:.60}")


def sizes(shape, x=None) -> tuple[int, ...]:
    "A shape: a tuple or list of integers, 0 or more."
    found = integers(shape, what="a shape such as (3, 4)")
    if min(found, default=0) < 0: raise ValueError(f"{found} has a negative size")
    return found


def two_sizes(shape, x=None) -> tuple[int, ...]:
    "The shape of a matrix."
    found = sizes(shape)
    if len(found) != 2: raise ValueError(f"expected a shape (n_in, n_out), got {found}")
    return found


def stretches_to(shape, x) -> tuple[int, ...]:
    "A shape that can be stretched to that of x."
    if shape == x.shape: return shape
    found, to = sizes(shape), tuple(x.shape)
    if len(found) > len(to): raise ValueError(
        f"{found} does not broadcast to {to}: it has {len(found)} axes, and that has {len(to)}")
    for i in range(-len(found), 0):
        if found[i] not in (1, to[i]): raise ValueError(
            f"{found} does not broadcast to {to}: axis {i} of size {found[i]} cannot be stretched to {to[i]}")
    return found


def fits_along(b, x, axis):
    "A bias, (n,), for an axis of x that has size n."
    if tuple(b.shape) != (x.shape[axis],): raise ValueError(
        f"x is {tuple(x.shape)} and b is {tuple(b.shape)}: for axis {axis}, expected b of shape ({x.shape[axis]},)")
    return b


def numpy_only(b, a):
    "An array of NumPy's, of float32 or float64: what compiled loops can take."
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)): raise TypeError(
        f"NumPy arrays only, got {type(a).__name__} and {type(b).__name__}")
    if a.dtype.itemsize > 8: raise TypeError(f"at most float64, got {a.dtype}")
    return b


def each(check: Callable) -> Callable:
    "A check of each of several values."
    return lambda values, x=None: tuple([check(value) for value in values])


def one_of(*values) -> Callable:
    "A check that an option is one of these."
    def check(value, x=None):
        if value not in values: raise ValueError(f"expected {' or '.join(map(repr, values))}, got {value!r}")
        return value
    return check


def classes(targ, logits):
    "A class for each row of logits, (n, c): integers from 0 to c - 1, as int64."
    if not is_whole(targ.dtype): raise TypeError(
        f"targ has dtype {targ.dtype}: expected integers, a class for each row; "
        "for one-hot rows use targ.argmax(1)")
    if logits.ndim != 2 or targ.shape != logits.shape[:1]: return targ    # its shape is refused elsewhere
    if targ.dtype != xp(targ).int64: targ = xp(targ).astype(targ, xp(targ).int64)   # a small dtype might not hold c
    c = logits.shape[1]
    if targ.shape[0] and not (targ.min() >= 0 and targ.max() < c):
        i = ((targ < 0) | (targ >= c)).tolist().index(True)
        raise ValueError(f"targ[{i}] is {int(targ[i])}: expected a class from 0 to {c - 1}")
    return targ


def reduced(dout, x, axis, keepdims):
    "The gradient of a sum over some axes; ValueError unless it has the shape of that sum."
    shape = without(x.shape, axis, keepdims)
    if tuple(dout.shape) != shape: raise ValueError(
        f"dout is {tuple(dout.shape)} and the output is {shape}: expected the same shape")
    return dout


# ------------------------------------------------------------------ what formulas need of a library
def without(shape: tuple[int, ...], axis=None, keepdims: bool = False) -> tuple[int, ...]:
    "A shape without some axes (None: without any), or with size 1 there."
    asked = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = [i % len(shape) for i in asked] if shape else []
    return tuple([1 if i in gone else n for i, n in enumerate(shape) if keepdims or i not in gone])


def count(x, axis=None) -> float:
    "How many numbers of x go into each sum over some axes; NaN for none, so that the mean of nothing is NaN."
    if axis is None: return math.prod(x.shape) or math.nan
    return math.prod([x.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,))]) or math.nan


def largest(x, axis: int):
    "The largest number along an axis, which stays with size 1; 0 where there is none."
    if not x.ndim or not x.shape[axis]: return x.sum(axis, keepdims=True) if x.ndim else x
    return x.max(axis, keepdims=True) if type(x) is np.ndarray else xp(x).max(x, axis=axis, keepdims=True)


def rows(x):
    "0, 1, 2, ... for the rows of x: `x[rows(x), targ]` picks one number of each row."
    return np.arange(len(x)) if type(x) is np.ndarray else xp(x).arange(x.shape[0], device=x.device)


def one_hot(targ, like):   # (n,) classes, (n, c)
    "(n, c), 1 at the class of each row and 0 elsewhere, of the library and dtype of `like`."
    if type(like) is not np.ndarray:
        return xp(like).astype(targ[:, None] == xp(like).arange(like.shape[1], device=like.device), like.dtype)
    out = np.zeros_like(like)
    out[np.arange(len(like)), targ] = 1
    return out


def zeros_for(a, b):       # (n, p), (p, m) -> (n, m)
    "The place where a product of a and b is collected: zeros, of the library and dtype of a."
    return xp(a).zeros((a.shape[0], b.shape[1]), dtype=a.dtype, device=a.device)


def a_generator(generator, x=None):
    "A np.random.Generator, or a torch.Generator."
    torch = sys.modules.get("torch")                   # whoever has a torch.Generator has imported it
    kinds = np.random.Generator if torch is None else (np.random.Generator, torch.Generator)
    if not isinstance(generator, kinds): raise TypeError(
        f"expected a np.random.Generator or a torch.Generator, got {type(generator).__name__}")
    return generator


def random(kind: str, shape: tuple[int, ...], generator, dtype=None):
    """Random numbers, 'normal' (0 on average, with standard deviation 1) or 'uniform' (between -1 and 1).

    Of NumPy for a np.random.Generator, float32; of torch for a torch.Generator, on its device, of its default
    dtype. TypeError for a dtype without fractions.
    """
    numpy, torch = isinstance(generator, np.random.Generator), sys.modules.get("torch")
    found: Any = np.dtype(dtype or np.float32) if numpy else dtype or torch.get_default_dtype()
    if not is_floating(found): raise TypeError(f"random: expected a floating-point dtype, got {found}")
    if numpy:
        x = generator.standard_normal(shape) if kind == "normal" else generator.uniform(-1, 1, shape)
        return x.astype(found)
    x = torch.empty(shape, dtype=found, device=generator.device)
    return x.normal_(generator=generator) if kind == "normal" else x.uniform_(-1, 1, generator=generator)


# ------------------------------------------------------------------ lists of lists
def list_shape(rows) -> tuple[int, int]:
    "Rows and columns of a list of lists; TypeError for other things, ValueError for rows of different lengths."
    kinds = (list, tuple)
    if not isinstance(rows, kinds) or not all(isinstance(row, kinds) for row in rows): raise TypeError(
        f"expected a list of lists, got {type(rows).__name__}; for an array use its tolist()")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1: raise ValueError(f"expected rows of one length, got rows of {listed(sorted(lengths))}")
    return len(rows), lengths.pop() if lengths else 0


def list_shapes(pattern: str) -> Callable[[F], F]:
    "`shapes` for matrices that are lists of lists. One without rows has no columns to count, and fits as it is."
    def decorate(f: F) -> F:
        names, patterns = list(signature(f).parameters), entries(pattern.partition("->")[0])

        @wraps(f)
        def checked(*args):
            try:
                found = [list_shape(x) for x in args]
                why = misfit(names, patterns, found) if found[0][0] else None
                if why: raise ValueError(f"{listed([f'{n} is {s}' for n, s in zip(names, found)])}: {why}")
            except (TypeError, ValueError) as why: raise told(f.__name__, why) from None
            return f(*args)
        return cast(F, checked)
    return decorate
