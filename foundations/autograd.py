from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from inspect import signature
from typing import Any

import numpy as np

from . import operators as ops
from .backward import add_bias_grad, cross_entropy_grad, exp_grad, log_grad, log_softmax_grad, mean_grad
from .backward import mse_grad, relu_grad, softmax_grad, square_grad, subtraction_grad, sum_grad
from .forward import add_bias, cross_entropy, exp, linear, log, log_softmax, mean, mse, relu, softmax
from .forward import square, subtraction, sum
from .methods import ArrayLike, Methods, along, flat

# %% the operator
recording: ContextVar[bool] = ContextVar("recording", default=True)


@contextmanager
def no_grad():
    "Within `with no_grad():`, or in a function decorated with `@no_grad()`, nothing is written down."
    before = recording.set(False)
    try: yield
    finally: recording.reset(before)


class DifferentiableOperator:
    """A function that knows its gradient. Called with tensors, it gives one that remembers them.

    `forward(*inputs, **options)` takes arrays and gives one; `backward(dout, *inputs, **options)` gives a tuple
    of one gradient for each input. Where `backward` has a parameter `needs_input_grad`, it is told which of
    them are needed, and may give None for the others.
    """
    forward: Callable
    backward: Callable
    of: dict[Callable, type[DifferentiableOperator]] = {}    # the bare formula -> its operator
    asks = False                                             # has `backward` a parameter needs_input_grad?

    def __init_subclass__(cls):
        cls.of[getattr(cls.forward, "__wrapped__", cls.forward)] = cls
        cls.asks = "needs_input_grad" in signature(cls.backward).parameters

    def __init__(self, **options): self.options = options

    def __call__(self, *args) -> Tensor:
        inputs = [a if isinstance(a, Tensor) else as_tensor(a, args) for a in args]
        try: out = Tensor(self.forward(*[t._data for t in inputs], **self.options))
        except (TypeError, ValueError, IndexError) as why:
            if not hasattr(self.forward, "pattern"): raise   # somebody's own: let them see where
            raise why.with_traceback(None) from None
        for t in inputs:
            if t.requires_grad and recording.get() and out._data.dtype.kind == "f":
                out.requires_grad, out.operator, out.args, out.made = True, self, inputs, Tensor.changes
                break
        if out._data.base is not None: out.owner = shared(out, inputs)
        return out


# %% the walk
def count_uses(result: Tensor) -> dict[Tensor, int]:
    "For each tensor on the way back from the result that needs a gradient, how often it is used there."
    waiting, found = {result: 0}, [result]
    for t in found:
        for a in t.args:
            if not a.requires_grad: continue
            if a in waiting: waiting[a] += 1
            else:
                waiting[a] = 1
                found.append(a)
    return waiting


def walk(result: Tensor, dout, keep=()) -> tuple[list[Tensor], dict[Tensor, Any]]:
    "All tensors in the order of the walk back, and the gradients that stay: of leaves, and of those to keep."
    waiting, gradients, ready = count_uses(result), {result: dout}, [result]
    for t in ready:
        if t.operator is None: continue
        for a, g in zip(t.args, answers(t, gradients[t])):
            if not a.requires_grad: continue
            gradients[a] = gradients[a] + g if a in gradients else g
            waiting[a] -= 1
            if waiting[a] == 0: ready.append(a)
        if not (t.retains_grad or t in keep): del gradients[t]
    return ready, gradients


def answers(t: Tensor, dout) -> tuple:
    "What the gradient of t means for each argument of the operator that made it. ValueError where it cannot tell."
    operator, args, options = t.operator, t.args, t.operator.options
    if t.made != Tensor.changes or not args: refuse_changed(t)
    inputs = args if isinstance(dout, Tensor) else [a._data for a in args]
    if operator.asks: options = {**options, "needs_input_grad": [a.requires_grad for a in args]}
    found = operator.backward(dout, *inputs, **options)
    if type(found) is not tuple or len(found) != len(inputs): raise ValueError(
        f"backward: {type(operator).__name__}.backward gives {f'a tuple of {len(found)}' if isinstance(found, tuple) else f'a {type(found).__name__}'}; "
        f"expected a tuple of {len(inputs)}, one gradient for each input")
    for g, a, x in zip(found, args, inputs):
        if a.requires_grad and (type(g) is not type(x) or g.shape != x.shape or g.dtype is not x.dtype):
            return tuple([fitting(operator, g, a) if a.requires_grad else None for g, a in zip(found, args)])
    return found


def refuse_changed(t):
    if not t.args: raise ValueError(
        "backward: this graph was walked already, and freed; first use backward(retain_graph=True)")
    for a in t.args:
        if (a if a.owner is None else a.owner).changed > t.made: raise ValueError(
            f"backward: an input of {type(t.operator).__name__}, of shape {a.shape}, was changed after it was used")


def fitting(operator, g, a: Tensor):
    "A gradient, in the dtype of the tensor it is for; ValueError where there is none, or of another shape."
    if g is None: raise ValueError(f"backward: {type(operator).__name__}.backward gives no gradient where one is needed")
    g = g if isinstance(g, Tensor) else np.asarray(g)
    if g.shape != a.shape: raise ValueError(
        f"backward: {type(operator).__name__}.backward gives a gradient of shape {g.shape} for an input of shape {a.shape}")
    return g.to(a.dtype) if isinstance(g, Tensor) else g.astype(a.dtype)


# %% signs
class Signs:
    "Python's signs for tensors, as `numpy.lib.mixins.NDArrayOperatorsMixin` has them for arrays."
    __slots__ = ()
    __hash__ = object.__hash__                               # equal numbers do not make two tensors one

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        "`array + tensor` is the tensor's sign, `array -= tensor` takes its numbers; other functions refuse."
        if out is not None: return getattr(ufunc, method)(
            *[x.numpy() if isinstance(x, Tensor) else x for x in inputs], out=out, **options)
        sign = REFLECTED.get(ufunc.__name__)
        if sign and method == "__call__" and not isinstance(inputs[0], Tensor): return getattr(self, sign)(inputs[0])
        raise TypeError(f"{ufunc.__name__}: NumPy's functions take no tensors; use a method, or t.detach().numpy()")

    def __add__(self, other): return Addition()(self, other)
    def __radd__(self, other): return Addition()(other, self)
    def __sub__(self, other): return Subtraction()(self, other)
    def __rsub__(self, other): return Subtraction()(other, self)
    def __mul__(self, other): return Multiplication()(self, other)
    def __rmul__(self, other): return Multiplication()(other, self)
    def __truediv__(self, other): return Division()(self, other)
    def __rtruediv__(self, other): return Division()(other, self)
    def __pow__(self, other): return Power()(self, other)
    def __rpow__(self, other): return Power()(other, self)
    def __matmul__(self, other): return MatrixMultiply()(self, other)
    def __rmatmul__(self, other): return MatrixMultiply()(other, self)
    def __neg__(self): return Multiplication()(self, -1)
    def __abs__(self): return Absolute()(self)
    def __getitem__(self, key): return Index(key=plain_key(key))(self)
    def __eq__(self, other): return other is not None and Tensor(self._data == plain(other))
    def __ne__(self, other): return other is None or Tensor(self._data != plain(other))
    def __lt__(self, other): return Tensor(self._data < plain(other))
    def __le__(self, other): return Tensor(self._data <= plain(other))
    def __gt__(self, other): return Tensor(self._data > plain(other))
    def __ge__(self, other): return Tensor(self._data >= plain(other))
    def __and__(self, other): return Tensor(self._data & plain(other))
    def __or__(self, other): return Tensor(self._data | plain(other))
    def __invert__(self): return Tensor(~self._data)
    def __iadd__(self, other): return in_place(self, Addition, other)
    def __isub__(self, other): return in_place(self, Subtraction, other)
    def __imul__(self, other): return in_place(self, Multiplication, other)
    def __itruediv__(self, other): return in_place(self, Division, other)

    def __setitem__(self, key, value):
        key, value = plain_key(key), as_tensor(value, (self,))
        if recorded(self, value):
            if self.owner is not None: raise ValueError(
                "this tensor looks at the memory of another; change a clone() of it")
            new = Replace(key=key)(copy(self), value)            # the copy is what it was until now
            for name in new.__slots__[:-1]: setattr(self, name, getattr(new, name))
        else: self._data[key] = value._data
        touch(self)


REFLECTED = {"add": "__radd__", "subtract": "__rsub__", "multiply": "__rmul__", "divide": "__rtruediv__",
             "power": "__rpow__", "matmul": "__rmatmul__", "equal": "__eq__", "not_equal": "__ne__",
             "less": "__gt__", "less_equal": "__ge__", "greater": "__lt__", "greater_equal": "__le__"}


class Tensor(Signs, ArrayLike, Methods):
    __slots__ = ("_data", "grad", "requires_grad", "operator", "args", "made", "changed",
                 "owner", "retains_grad", "__weakref__")
    changes = 0

    def __init__(self, data, requires_grad: bool = False):
        self._data = data if type(data) is np.ndarray and data.dtype.kind in "fiub" else array(data)
        if requires_grad: only_floats(self._data)
        self.grad = self.operator = self.owner = None
        self.requires_grad, self.args, self.changed, self.retains_grad = bool(requires_grad), (), 0, False

    @property
    def data(self) -> np.ndarray: return self._data

    @data.setter
    def data(self, value):
        self._data = array(value)
        touch(self)

    def exp(self): return Exp()(self)
    def log(self): return Log()(self)
    def relu(self): return ReLU()(self)
    def tanh(self): return Tanh()(self)
    def sigmoid(self): return Sigmoid()(self)
    def sin(self): return Sin()(self)
    def cos(self): return Cos()(self)
    def square(self): return Square()(self)
    def sum(self, dim=None, keepdim=False, *, axis=None, keepdims=False):
        return Sum(**along(dim, keepdim, axis, keepdims))(self)
    def mean(self, dim=None, keepdim=False, *, axis=None, keepdims=False):
        return Mean(**along(dim, keepdim, axis, keepdims))(self)
    def amax(self, dim=None, keepdim=False, *, axis=None, keepdims=False):
        return Max(**along(dim, keepdim, axis, keepdims))(self)
    def softmax(self, dim): return Softmax(axis=dim)(self)
    def log_softmax(self, dim): return LogSoftmax(axis=dim)(self)
    def reshape(self, *shape): return Reshape(shape=flat(shape))(self)
    def permute(self, *dims): return Transpose(axes=flat(dims))(self)
    def where(self, mask, other): return Where()(mask, self, other)
    def to(self, dtype): return Cast(dtype=dtype)(self)

    def __array_namespace__(self, api_version=None):
        from . import torchlike
        return torchlike

    def __formula__(self, function, *args, **options):
        "What a formula of this package does when it is given tensors: its operator, or it is made of others."
        operator = DifferentiableOperator.of.get(function)
        if operator: return operator(**options)(*args)
        return function(*map(as_tensor, args), **options)

    def backward(self, gradient=None, retain_graph: bool | None = None, create_graph: bool = False):
        ready, gradients = walk(self, first(self, gradient, create_graph))
        given = set()
        for t, g in gradients.items():
            if type(g) is np.ndarray and (g.base is not None or id(g) in given): g = g.copy()   # its own memory
            given.add(id(g))
            t.grad = g if t.grad is None else t.grad + g
        if not (create_graph if retain_graph is None else retain_graph):
            for t in ready: t.args = ()


def first(t, gradient, create_graph):
    if not t.requires_grad: raise ValueError(
        "backward: no leaf of this tensor needs a gradient; make one of them with requires_grad=True")
    x = t._data
    if gradient is None and x.size != 1: raise ValueError(
        f"backward: this tensor is {t.shape}, so its gradient must be given; only that of one number is 1")
    g = np.array(1 if gradient is None else array(gradient), x.dtype)      # a copy
    if gradient is None: g = g.reshape(x.shape)
    if g.shape != x.shape: raise ValueError(
        f"backward: the gradient is {g.shape} and the tensor {t.shape}: expected the same shape")
    return (gradient if isinstance(gradient, Tensor) else Tensor(g)) if create_graph else g


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph: bool = False, allow_unused: bool = False):
    "Gradients of one tensor with respect to others"
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    ready, gradients = walk(outputs, first(outputs, grad_outputs, create_graph), set(inputs))
    if not (create_graph if retain_graph is None else retain_graph):
        for t in ready: t.args = ()
    for x in inputs:
        if x not in gradients and not allow_unused: raise ValueError("grad: unused")
    return tuple([gradients.get(x) for x in inputs])


# %% what tensors take
def array(data) -> np.ndarray:
    "Anything that is one as an array of real numbers; else TypeError."
    if isinstance(data, Tensor): return data._data
    if isinstance(data, np.floating): return np.asarray(data)
    try: x = np.asarray(data)
    except ValueError as why: raise ValueError(f"Tensor: {why}") from None   # rows of different lengths
    if x.dtype.kind not in "fiub" or isinstance(data, np.ma.MaskedArray): raise TypeError(
        f"Tensor: expected an array of real numbers, got {type(data).__name__} of dtype {x.dtype}")
    return x


def only_floats(x):
    if x.dtype.kind != "f": raise TypeError(
        f"Tensor: only floats take a gradient, and this is {x.dtype}; write 1.0 in place of 1")


def as_tensor(a, beside=()) -> Tensor:
    "What is no tensor, as one. A number of Python's takes the dtype of the first floats beside it."
    if isinstance(a, Tensor): return a
    if isinstance(a, (bool, int, float)):
        for t in beside:
            if isinstance(t, Tensor) and t._data.dtype.kind == "f": return Tensor(np.asarray(a, t._data.dtype))
    return Tensor(a)


def weak(arrays: list) -> list:
    "Of two arrays of floats, one number takes the dtype of the other, as in PyTorch."
    if len(arrays) != 2 or arrays[0].dtype is arrays[1].dtype: return arrays
    a, b = arrays
    if a.dtype.kind != "f" or b.dtype.kind != "f" or (a.ndim == 0) == (b.ndim == 0): return arrays
    return [a.astype(b.dtype), b] if a.ndim == 0 else [a, b.astype(a.dtype)]


def plain(x): return x._data if isinstance(x, Tensor) else x


def plain_key(key):
    "What stands in brackets, with arrays in place of tensors: copies, since the way back needs them."
    if isinstance(key, (tuple, list)): return type(key)(map(plain_key, key))
    return np.array(plain(key)) if isinstance(key, (Tensor, np.ndarray)) else key


# %% changes in place
def touch(t: Tensor):
    "Note that the numbers of a tensor have been changed: a walk over an older graph will notice."
    Tensor.changes += 1
    (t if t.owner is None else t.owner).changed = Tensor.changes


def shared(out: Tensor, inputs: Sequence[Tensor]) -> Tensor | None:
    "The tensor whose memory `out` looks at, where one of the inputs is it."
    for t in inputs:
        if np.may_share_memory(out._data, t._data): return t if t.owner is None else t.owner


def recorded(t: Tensor, other: Tensor) -> bool:
    "Will a change of t by the other be written down? ValueError for a leaf that needs a gradient."
    if not (recording.get() and (t.requires_grad or other.requires_grad)): return False
    if t.requires_grad and t.operator is None: raise ValueError(
        "a leaf that needs a gradient is not changed in place; do it within no_grad(), or write w = w - ...")
    return True


def in_place(t: Tensor, operator: type[DifferentiableOperator], other) -> Tensor:
    "t += other: a new tensor for the name where it is written down, else the same with other numbers."
    other = as_tensor(other, (t,))
    if recorded(t, other): return operator()(t, other)
    t[...] = operator.forward(t._data, other._data)
    return t


# %% the operators
def formulas(f, f_grad): return staticmethod(f), staticmethod(getattr(f_grad, "__wrapped__", f_grad))


class AddBias(DifferentiableOperator): forward, backward = formulas(add_bias, add_bias_grad)
class Addition(DifferentiableOperator): forward, backward = formulas(ops.addition, ops.addition_grad)
class Subtraction(DifferentiableOperator): forward, backward = formulas(subtraction, subtraction_grad)
class Multiplication(DifferentiableOperator): forward, backward = formulas(ops.multiplication, ops.multiplication_grad)
class Division(DifferentiableOperator): forward, backward = formulas(ops.division, ops.division_grad)
class Power(DifferentiableOperator): forward, backward = formulas(ops.power, ops.power_grad)
class Absolute(DifferentiableOperator): forward, backward = formulas(ops.absolute, ops.absolute_grad)
class MatrixMultiply(DifferentiableOperator): forward, backward = formulas(ops.matmul_stacks, ops.matmul_stacks_grad)
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
class Concatenate(DifferentiableOperator): forward, backward = formulas(ops.concatenate, ops.concatenate_grad)
class Replace(DifferentiableOperator): forward, backward = formulas(ops.replace, ops.replace_grad)
class Cast(DifferentiableOperator): forward, backward = formulas(ops.cast, ops.cast_grad)
class Softmax(DifferentiableOperator): forward, backward = formulas(softmax, softmax_grad)
class LogSoftmax(DifferentiableOperator): forward, backward = formulas(log_softmax, log_softmax_grad)
class MeanSquaredError(DifferentiableOperator): forward, backward = formulas(mse, mse_grad)
class CrossEntropy(DifferentiableOperator): forward, backward = formulas(cross_entropy, cross_entropy_grad)


class Linear(DifferentiableOperator):
    "x @ w + b, of (n, n_in), (n_in, n_out) and (n_out,): the gradients of chapter 4, those that are needed."
    forward = staticmethod(linear)

    def backward(self, dout, x, w, b, needs_input_grad):
        dx, dw = MatrixMultiply.backward(dout, x, w, needs_input_grad[:2])
        return dx, dw, dout.sum(0) if needs_input_grad[2] else None
