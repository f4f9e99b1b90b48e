from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from copy import copy
from functools import reduce, wraps
from inspect import signature
from operator import add
from typing import Any, TypeVar

import numpy as np

from . import operators as ops
from .backward import add_bias_grad, cross_entropy_grad, exp_grad, log_grad
from .backward import log_softmax_grad, mean_grad, mse_grad, relu_grad, softmax_grad
from .backward import square_grad, subtraction_grad, sum_grad
from .forward import add_bias, cross_entropy, exp, linear, log, log_softmax, mean, mse
from .forward import relu, softmax, square, subtraction, sum
from .methods import ArrayLike, Methods, Primitives, along, flat, plain

F = TypeVar("F", bound=Callable)


def count_uses(result: Any) -> dict[Any, int]:
    "For each tensor in the graph of the result that needs a gradient, how often it is used there."
    waiting, found = {result: 0}, [result]
    for t in found:
        for a in t.args:
            if not a.requires_grad: continue
            if a not in waiting:
                waiting[a] = 0
                found.append(a)
            waiting[a] += 1
    return waiting


def walk(result: Any,                     # its graph is walked back
         dout: Any,                       # the gradient of the result, of its shape
         keep: Iterable = (),             # tensors whose gradients stay, as those of leaves do
        ) -> tuple[list, dict[Any, Any]]: # the tensors in order, and the gradients that stayed
    "The walk back through the graph of a result."
    waiting, gradients, ready = count_uses(result), {result: dout}, [result]
    for t in ready:
        if t.operator is None: continue                      # a leaf
        for a, g in zip(t.args, answers(t, gradients[t])):
            if a not in waiting: continue                    # it needs none
            gradients[a] = gradients[a] + g if a in gradients else g
            waiting[a] -= 1
            if waiting[a] == 0: ready.append(a)
        if not (t.retains_grad or t in keep): del gradients[t]   # passed on
    return ready, gradients


class DifferentiableOperator:
    """A function that knows its gradient. Called with tensors, it gives one that remembers them.

    `forward(*inputs, **options)` takes arrays and gives one; `backward(dout, *inputs, **options)`
    gives a tuple of one gradient for each input. If `backward` has a parameter `needs_input_grad`,
    it is told, input by input, which are needed, and may give None for the others.
    """
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    asks = False                                             # for needs_input_grad
    of: dict[Callable, type[DifferentiableOperator]] = {}    # a formula -> its operator

    def __init__(self, **options): self.options = options

    def __init_subclass__(cls):
        cls.asks = "needs_input_grad" in signature(cls.backward).parameters
        if "forward" not in vars(cls): return
        cls.of[getattr(cls.forward, "__wrapped__", cls.forward)] = cls
        cls.__doc__ = cls.__doc__ or cls.forward.__doc__

    def __call__(self, *args: Any) -> Tensor:
        inputs = [a if isinstance(a, Tensor) else as_tensor(a, args) for a in args]
        arrays = [t._data for t in inputs]
        if len(arrays) == 2 and arrays[0].dtype is not arrays[1].dtype: arrays = of_one_dtype(*arrays)
        try: out = Tensor(self.forward(*arrays, **self.options))
        except (TypeError, ValueError) as error:
            if not hasattr(self.forward, "pattern"): raise   # somebody's own: show where
            raise error.with_traceback(None) from None
        for t in inputs:
            if t.requires_grad and recording.get() and out._data.dtype.kind == "f":
                out.requires_grad, out.operator, out.args, out.made = True, self, inputs, Tensor.changes
                break
        if out._data.base is not None: out.owner = owner_among(inputs, out)
        return out


recording: ContextVar[bool] = ContextVar("recording", default=True)   # one for each thread


class no_grad:
    "Within `with no_grad():`, or in a function decorated with `@no_grad()`, nothing is written down."
    def __init__(self): self.before: list[bool] = []

    def __enter__(self):
        self.before.append(recording.get())
        recording.set(False)

    def __exit__(self, *error): recording.set(self.before.pop())

    def __call__(self, f: F) -> F:
        @wraps(f)
        def quiet(*args, **options):
            with no_grad(): return f(*args, **options)
        return quiet   # type: ignore


def answers(t: Tensor, dout: Any) -> tuple:
    "What the gradient of t means for each argument of its operator. ValueError where that is unclear."
    operator, args, options = t.operator, t.args, t.operator.options
    if t.made != Tensor.changes or not args: refuse_changed(t)
    inputs = args if isinstance(dout, Tensor) else [a._data for a in args]
    if operator.asks: options = {**options, "needs_input_grad": [a.requires_grad for a in args]}
    found = operator.backward(dout, *inputs, **options)
    if type(found) is not tuple or len(found) != len(args): refuse_answers(t, found)
    for g, a, x in zip(found, args, inputs):
        fits = type(g) is type(x) and g.shape == x.shape and g.dtype is x.dtype
        if a.requires_grad and not fits: return tuple([fitting(t, g, a) for g, a in zip(found, args)])
    return found


class Signs(Primitives):
    "Python's signs for tensors, as `numpy.lib.mixins.NDArrayOperatorsMixin` has them for arrays."
    __slots__ = ()
    def __add__(self, other) -> Tensor: return Addition()(self, other)
    def __radd__(self, other) -> Tensor: return Addition()(other, self)
    def __sub__(self, other) -> Tensor: return Subtraction()(self, other)
    def __rsub__(self, other) -> Tensor: return Subtraction()(other, self)
    def __mul__(self, other) -> Tensor: return Multiplication()(self, other)
    def __rmul__(self, other) -> Tensor: return Multiplication()(other, self)
    def __truediv__(self, other) -> Tensor: return Division()(self, other)
    def __rtruediv__(self, other) -> Tensor: return Division()(other, self)
    def __pow__(self, other) -> Tensor: return Power()(self, other)
    def __rpow__(self, other) -> Tensor: return Power()(other, self)
    def __matmul__(self, other) -> Tensor: return MatrixMultiply()(self, other)
    def __rmatmul__(self, other) -> Tensor: return MatrixMultiply()(other, self)
    def __neg__(self) -> Tensor: return Multiplication()(self, -1)
    def __abs__(self) -> Tensor: return Absolute()(self)
    def __getitem__(self, key) -> Tensor: return Index(key=plain_key(key))(self)


class Comparisons(Primitives):
    "Questions to each number; the answers are tensors of booleans, and have no gradient."
    __slots__ = ()
    __hash__ = object.__hash__                               # equal numbers are not one tensor
    def __eq__(self, other) -> Any: return other is not None and Tensor(self._data == plain(other))
    def __ne__(self, other) -> Any: return other is None or Tensor(self._data != plain(other))
    def __lt__(self, other) -> Tensor: return Tensor(self._data < plain(other))
    def __le__(self, other) -> Tensor: return Tensor(self._data <= plain(other))
    def __gt__(self, other) -> Tensor: return Tensor(self._data > plain(other))
    def __ge__(self, other) -> Tensor: return Tensor(self._data >= plain(other))
    def __and__(self, other) -> Tensor: return Tensor(self._data & plain(other))
    def __or__(self, other) -> Tensor: return Tensor(self._data | plain(other))
    def __invert__(self) -> Tensor: return Tensor(~self._data)


class Changes(Primitives):
    "Signs that change a tensor."
    __slots__ = ()
    def __iadd__(self, other) -> Tensor: return in_place(self, Addition, other)
    def __isub__(self, other) -> Tensor: return in_place(self, Subtraction, other)
    def __imul__(self, other) -> Tensor: return in_place(self, Multiplication, other)
    def __itruediv__(self, other) -> Tensor: return in_place(self, Division, other)

    def __setitem__(self, key, value):
        key, value = plain_key(key), as_tensor(value, (self,))
        if will_record(self, value): return replace_within(self, key, value)
        self._data[key] = value._data
        touch(self)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        "`array + tensor` is the tensor's sign, `array += tensor` takes its numbers; else TypeError."
        if out is not None and method == "__call__":
            return ufunc(*[x.numpy() if isinstance(x, Tensor) else x for x in inputs], out=out)
        if method == "__call__" and ufunc.__name__ in REFLECTED and isinstance(inputs[1], Tensor):
            return getattr(self, REFLECTED[ufunc.__name__])(inputs[0])
        raise TypeError(f"{ufunc.__name__}: NumPy's functions take no tensors; "
                        "use a method, or t.detach().numpy()")


REFLECTED = {"add": "__radd__", "subtract": "__rsub__", "multiply": "__rmul__",
             "divide": "__rtruediv__", "power": "__rpow__", "matmul": "__rmatmul__",
             "equal": "__eq__", "not_equal": "__ne__", "less": "__gt__", "less_equal": "__ge__",
             "greater": "__lt__", "greater_equal": "__le__"}


class Tensor(Signs, Comparisons, Changes, ArrayLike, Methods):
    """An array, `data`, that remembers how it was made, so that `backward` can find gradients.

    `data` looks at the memory of a given array. `grad` is an array of the same shape, None until
    there is one; a tensor where its own graph is wanted, `backward(create_graph=True)`.
    TypeError for what is no array of real numbers, and for integers that should take a gradient.
    """
    __slots__ = ("_data", "grad", "requires_grad", "operator", "args", "made", "changed",
                 "owner", "retains_grad", "__weakref__")
    changes = 0                                              # of all tensors, so far
    grad: Any
    operator: Any
    args: Any
    owner: Any

    def __init__(self, data: Any, requires_grad: bool = False):
        is_array = type(data) is np.ndarray and data.dtype.kind in "fiub"
        self._data: np.ndarray = data if is_array else array(data)
        if requires_grad: only_floats(self._data)
        self.grad = self.operator = self.owner = None
        self.args, self.requires_grad, self.retains_grad = (), bool(requires_grad), False
        self.changed = 0

    @property
    def data(self) -> np.ndarray: return self._data

    @data.setter
    def data(self, value):
        if value is not self._data: self._data, self.owner = array(value), None
        touch(self)

    def exp(self) -> Tensor: return Exp()(self)
    def log(self) -> Tensor: return Log()(self)
    def relu(self) -> Tensor: return ReLU()(self)
    def tanh(self) -> Tensor: return Tanh()(self)
    def sigmoid(self) -> Tensor: return Sigmoid()(self)
    def sin(self) -> Tensor: return Sin()(self)
    def cos(self) -> Tensor: return Cos()(self)
    def square(self) -> Tensor: return Square()(self)
    def softmax(self, dim: int) -> Tensor: return Softmax(axis=dim)(self)
    def log_softmax(self, dim: int) -> Tensor: return LogSoftmax(axis=dim)(self)
    def reshape(self, *shape) -> Tensor: return Reshape(shape=flat(shape))(self)
    def permute(self, *dims) -> Tensor: return Transpose(axes=flat(dims))(self)
    def where(self, mask, other) -> Tensor: return Where()(mask, self, other)
    def sum(self, dim=None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
        return Sum(**along(dim, keepdim, axis, keepdims))(self)
    def mean(self, dim=None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
        return Mean(**along(dim, keepdim, axis, keepdims))(self)
    def amax(self, dim=None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
        return Max(**along(dim, keepdim, axis, keepdims))(self)

    def backward(self, gradient: Any = None,        # of this tensor; None, for one number: 1
                 retain_graph: bool | None = None,  # for another walk; None: as create_graph
                 create_graph: bool = False):       # write down how the gradients are computed
        "Add to `grad` of every leaf that needs one. ValueError where there is none, or shapes differ."
        ready, gradients = walk(self, first(self, gradient, create_graph))
        for t, g in own(gradients).items(): t.grad = g
        if not (create_graph if retain_graph is None else retain_graph): free(ready)

    def detach(self) -> Tensor:
        "The same array as a tensor without a history."
        out = Tensor(self._data)
        out.owner = owner_of(self)
        return out

    def zero_grad(self):
        "Forget the gradient."
        self.grad = None

    def retain_grad(self):
        "Keep the gradient in `grad`, although this is no leaf; ValueError if it needs none."
        if not self.requires_grad: raise ValueError("retain_grad: this tensor needs no gradient")
        self.retains_grad = True

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        "Say whether this leaf needs a gradient; ValueError for a result, TypeError for integers."
        if self.operator is not None: raise ValueError("requires_grad_: only for a leaf; use detach first")
        if requires_grad: only_floats(self._data)
        self.requires_grad = bool(requires_grad)
        return self

    def __array_namespace__(self, api_version=None):
        "The functions that a formula finds with `xp(x)`, for tensors."
        from . import torchlike
        return torchlike

    def __formula__(self, function: Callable, *args, **options) -> Any:
        "What a formula does with tensors: its operator, or it is made of others that have one."
        operator = DifferentiableOperator.of.get(function)
        return operator(**options)(*args) if operator else function(*map(as_tensor, args), **options)


def grad(outputs: Any,                     # a tensor, or several
         inputs: Any,                      # a tensor, or several: the gradients are for these
         grad_outputs: Any = None,         # of each output; None, for one number: 1
         retain_graph: bool | None = None, # for another walk; None: as create_graph
         create_graph: bool = False,       # write down how the gradients are computed
         allow_unused: bool = False,       # None for an input that was not used; else ValueError
        ) -> tuple:                        # a gradient for each input: arrays, or tensors
    "Gradients of the outputs, added up, with respect to the inputs; no `grad` changes."
    outputs, inputs = listed(outputs), listed(inputs)
    douts = [None] * len(outputs) if grad_outputs is None else listed(grad_outputs)
    douts = [first(t, g, create_graph) for t, g in zip(outputs, douts, strict=True)]
    result, dout = outputs[0], douts[0]
    if len(outputs) > 1:                                    # their scalar products, added up
        result = reduce(add, [(t * g).sum() for t, g in zip(outputs, douts)])
        dout = first(result, None, create_graph)
    ready, gradients = walk(result, dout, keep=set(inputs))
    for i, t in enumerate(inputs):
        if t not in gradients and not allow_unused: raise ValueError(
            f"grad: input {i}, of shape {t.shape}, was not used, or needs no gradient; "
            "with allow_unused=True its gradient is None")
    if not (create_graph if retain_graph is None else retain_graph): free(ready)
    return tuple([gradients.get(t) for t in inputs])


def listed(x: Any) -> list: return [x] if isinstance(x, (Tensor, np.ndarray)) else list(x)
def free(tensors: list):
    for t in tensors: t.args = ()


def first(t: Tensor, gradient: Any, create_graph: bool) -> Any:
    "The gradient to begin with: 1 for one number, else what was given; ValueError unless it fits."
    x = t._data
    if not t.requires_grad: raise ValueError(
        "backward: no leaf of this tensor needs a gradient; make one of them with requires_grad=True")
    if gradient is None and x.size != 1: raise ValueError(
        f"backward: this tensor is {x.shape}, so its gradient must be given; only that of one number is 1")
    g = np.array(1 if gradient is None else array(gradient), x.dtype)
    if gradient is None: g = g.reshape(x.shape)
    if g.shape != x.shape: raise ValueError(
        f"backward: the gradient is {g.shape} and the tensor {x.shape}: expected the same shape")
    if create_graph: return gradient if isinstance(gradient, Tensor) else Tensor(g)
    return g


def own(gradients: dict[Tensor, Any]) -> dict[Tensor, Any]:
    "Each gradient, with what its tensor had before: an array that shares no memory with the others."
    made, taken = {}, set()
    for t, g in gradients.items():
        if t.grad is not None: g = added(t, g)
        elif type(g) is np.ndarray and (g.base is not None or id(g) in taken): g = g.copy()
        taken.add(id(g))
        made[t] = g if isinstance(g, Tensor) else np.asarray(g)
    return made


def added(t: Tensor, g: Any) -> Any:
    "A gradient, and what its tensor had before; ValueError where that has another shape."
    before = t.grad if isinstance(g, Tensor) else plain(t.grad)
    if np.shape(before) != g.shape: raise ValueError(
        f"backward: grad is {np.shape(before)} and the tensor {g.shape}")
    return before + g


def refuse_changed(t: Tensor):
    "ValueError if the graph of t was freed, or what t was made from has been changed since."
    if not t.args: raise ValueError(
        "backward: this graph was walked already, and freed; first use backward(retain_graph=True)")
    for a in t.args:
        if owner_of(a).changed > t.made: raise ValueError(
            f"backward: an input of {type(t.operator).__name__}, of shape {a.shape}, was changed after it was used")


def refuse_answers(t: Tensor, found: Any):
    "ValueError for answers that are not one for each argument."
    what = f"a tuple of {len(found)}" if type(found) is tuple else f"a {type(found).__name__}"
    raise ValueError(f"backward: {type(t.operator).__name__}.backward gives {what}; "
                     f"expected a tuple of {len(t.args)}, one gradient for each input")


def fitting(t: Tensor, g: Any, a: Tensor) -> Any:
    "A gradient for a, in its dtype; ValueError where there is none, or of another shape."
    name = f"backward: {type(t.operator).__name__}.backward gives"
    if not a.requires_grad: return None
    if g is None: raise ValueError(f"{name} no gradient where one is needed")
    g = g if isinstance(g, Tensor) else array(g)
    if g.shape != a.shape: raise ValueError(
        f"{name} a gradient of shape {g.shape} for an input of shape {a.shape}")
    return g.to(a.dtype) if isinstance(g, Tensor) else g.astype(a.dtype, copy=False)


def array(data: Any) -> np.ndarray:
    "Anything that is one as an array of real numbers; else TypeError."
    if isinstance(data, Tensor): return data._data
    try: x = np.asarray(data)
    except ValueError as error: raise ValueError(f"Tensor: {error}") from None   # rows of different lengths
    if x.dtype.kind not in "fiub" or isinstance(data, np.ma.MaskedArray): raise TypeError(
        f"Tensor: expected an array of real numbers, got {type(data).__name__} of dtype {x.dtype}")
    return x


def only_floats(x: np.ndarray):
    if x.dtype.kind != "f": raise TypeError(
        f"Tensor: only floats take a gradient, and this is {x.dtype}; write 1.0 in place of 1")


def as_tensor(a: Any, beside: Iterable = ()) -> Tensor:
    "What is no tensor, as one. A number of Python's takes the dtype of the first floats beside it."
    if isinstance(a, Tensor): return a
    if isinstance(a, (bool, int, float)):
        for t in beside:
            if isinstance(t, Tensor) and t._data.dtype.kind == "f": return Tensor(np.asarray(a, t._data.dtype))
    return Tensor(a)


def of_one_dtype(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    "Of two arrays of floats, one number takes the dtype of the other, as in PyTorch."
    if a.dtype.kind != "f" or b.dtype.kind != "f" or (a.ndim == 0) == (b.ndim == 0): return [a, b]
    return [a.astype(b.dtype), b] if a.ndim == 0 else [a, b.astype(a.dtype)]


def plain_key(key: Any) -> Any:
    "What stands in brackets, with arrays in place of tensors: copies, for the way back."
    if isinstance(key, (tuple, list)): return type(key)(map(plain_key, key))
    return np.array(plain(key)) if isinstance(key, (Tensor, np.ndarray)) else key


def owner_of(t: Any) -> Any:
    "The tensor whose memory t looks at: itself, or what it was made from without a copy."
    return t if t.owner is None else t.owner


def touch(t: Any):
    "Note that the numbers of t have been changed: a walk through an older graph will notice."
    Tensor.changes = now = Tensor.changes + 1
    (t if t.owner is None else t.owner).changed = now


def owner_among(inputs: Iterable[Tensor], out: Tensor) -> Tensor | None:
    "The tensor whose memory `out` looks at, where one of the inputs is it."
    for t in inputs:
        if np.may_share_memory(out._data, t._data): return owner_of(t)


def will_record(t: Any, other: Tensor) -> bool:
    "Will a change of t by the other be written down? ValueError for a leaf that needs a gradient."
    if not recording.get() or not (t.requires_grad or other.requires_grad): return False
    if t.requires_grad and t.operator is None: raise ValueError(
        "a leaf that needs a gradient is not changed in place; do it within no_grad(), or write w = w - ...")
    return True


def in_place(t: Any, operator: type[DifferentiableOperator], other: Any) -> Tensor:
    "`t += other`: a new tensor for the name where it is written down; else t, with other numbers."
    other = as_tensor(other, (t,))
    if will_record(t, other): return operator()(t, other)
    t[...] = operator.forward(t._data, other._data)
    return t


def replace_within(t: Any, key: Any, value: Tensor):
    "`t[key] = value`, written down: t becomes the result of an operator on what it was."
    if t.owner is not None: raise ValueError("this tensor looks at the memory of another; change a clone() of it")
    new = Replace(key=key)(copy(t), value)
    t._data, t.requires_grad, t.operator, t.args = new._data, True, new.operator, new.args
    t.made = new.made
    touch(t)


def formulas(f: Callable, f_grad: Callable) -> tuple[staticmethod, staticmethod]:
    "A pair of a chapter as forward and backward; backward is the bare formula, since shapes are known."
    return staticmethod(f), staticmethod(getattr(f_grad, "__wrapped__", f_grad))


class AddBias(DifferentiableOperator): forward, backward = formulas(add_bias, add_bias_grad)
class Addition(DifferentiableOperator): forward, backward = formulas(ops.addition, ops.addition_grad)
class Subtraction(DifferentiableOperator): forward, backward = formulas(subtraction, subtraction_grad)
class Multiplication(DifferentiableOperator):
    forward, backward = formulas(ops.multiplication, ops.multiplication_grad)
class Division(DifferentiableOperator): forward, backward = formulas(ops.division, ops.division_grad)
class Power(DifferentiableOperator): forward, backward = formulas(ops.power, ops.power_grad)
class MatrixMultiply(DifferentiableOperator):
    forward, backward = formulas(ops.matmul_stacks, ops.matmul_stacks_grad)


class Absolute(DifferentiableOperator): forward, backward = formulas(ops.absolute, ops.absolute_grad)
class Square(DifferentiableOperator): forward, backward = formulas(square, square_grad)
class Exp(DifferentiableOperator): forward, backward = formulas(exp, exp_grad)
class Log(DifferentiableOperator): forward, backward = formulas(log, log_grad)
class ReLU(DifferentiableOperator): forward, backward = formulas(relu, relu_grad)
class Tanh(DifferentiableOperator): forward, backward = formulas(ops.tanh, ops.tanh_grad)
class Sigmoid(DifferentiableOperator): forward, backward = formulas(ops.sigmoid, ops.sigmoid_grad)
class Sin(DifferentiableOperator): forward, backward = formulas(ops.sin, ops.sin_grad)
class Cos(DifferentiableOperator): forward, backward = formulas(ops.cos, ops.cos_grad)
class Where(DifferentiableOperator): forward, backward = formulas(ops.where, ops.where_grad)
class Sum(DifferentiableOperator): forward, backward = formulas(sum, sum_grad)
class Mean(DifferentiableOperator): forward, backward = formulas(mean, mean_grad)
class Max(DifferentiableOperator): forward, backward = formulas(ops.amax, ops.amax_grad)


class Reshape(DifferentiableOperator): forward, backward = formulas(ops.reshape, ops.reshape_grad)
class Transpose(DifferentiableOperator): forward, backward = formulas(ops.transpose, ops.transpose_grad)
class Index(DifferentiableOperator): forward, backward = formulas(ops.index, ops.index_grad)
class Put(DifferentiableOperator): forward, backward = formulas(ops.put, ops.put_grad)
class Replace(DifferentiableOperator): forward, backward = formulas(ops.replace, ops.replace_grad)
class Cast(DifferentiableOperator): forward, backward = formulas(ops.cast, ops.cast_grad)
class Concatenate(DifferentiableOperator):
    forward, backward = formulas(ops.concatenate, ops.concatenate_grad)
class Softmax(DifferentiableOperator): forward, backward = formulas(softmax, softmax_grad)
class LogSoftmax(DifferentiableOperator): forward, backward = formulas(log_softmax, log_softmax_grad)
class MeanSquaredError(DifferentiableOperator): forward, backward = formulas(mse, mse_grad)
class CrossEntropy(DifferentiableOperator):
    forward, backward = formulas(cross_entropy, cross_entropy_grad)


class Linear(DifferentiableOperator):
    "x @ w + b, of (n, n_in), (n_in, n_out) and (n_out,)."
    forward = staticmethod(linear)

    def backward(self, dout, x, w, b, needs_input_grad):
        dx, dw = MatrixMultiply.backward(dout, x, w, needs_input_grad)
        return dx, dw, dout.sum(0) if needs_input_grad[2] else None
