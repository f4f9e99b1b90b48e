import math

import numpy as np

from .broadcasting import unbroadcast
from .shapes import axes, common_shape, integers, one_axis, reduced, shapes, without, xp

BOTH = (True, True)   # which inputs need a gradient, where nobody says


def summed(needed, *pieces):
    "The gradients that are needed, each summed to the shape of its input; None for the others."
    return tuple([unbroadcast(formula(), tuple(x.shape)) if need else None for need, (x, formula) in zip(needed, pieces)])


@shapes("*a, *b -> *")
def addition(a, b):
    "a + b."
    return a + b


@shapes("*, *a, *b -> *a, *b")
def addition_grad(dout, a, b, needs_input_grad=BOTH):
    "Gradients of `addition`: dout twice, summed where stretched; None for an input that needs none."
    return summed(needs_input_grad, (a, lambda: dout), (b, lambda: dout))


@shapes("*a, *b -> *")
def multiplication(a, b):
    "a times b, number by number."
    return a * b


@shapes("*, *a, *b -> *a, *b")
def multiplication_grad(dout, a, b, needs_input_grad=BOTH):
    "Gradients of `multiplication`: dout · b and dout · a."
    return summed(needs_input_grad, (a, lambda: dout * b), (b, lambda: dout * a))


@shapes("*a, *b -> *")
def division(a, b):
    "a / b, number by number; infinite or NaN where b is 0."
    return a / b


@shapes("*, *a, *b -> *a, *b")
def division_grad(dout, a, b, needs_input_grad=BOTH):
    "Gradients of `division`: dout / b and -dout · a / b / b."
    return summed(needs_input_grad, (a, lambda: dout / b), (b, lambda: -dout * (a / b / b)))   # b² might overflow


@shapes("*a, *b -> *")
def power(a, b):
    "a to the power of b; NaN for a below 0 and b not whole."
    return a ** b


@shapes("*, *a, *b -> *a, *b")
def power_grad(dout, a, b, needs_input_grad=BOTH):
    "Gradients of `power`: dout · b aᵇ⁻¹, 0 where b = 0; and dout · aᵇ log a, 0 where a = 0 and b ≥ 0."
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return summed(needs_input_grad,
                      (a, lambda: dout * xp(a).where(b == 0, 0.0, b * a ** (b - 1))),
                      (b, lambda: dout * xp(a).where((a == 0) & (b >= 0), 0.0, a ** b * xp(a).log(a))))


@shapes("... -> ...")
def absolute(x):
    "|x|, number by number."
    return abs(x)


@shapes("..., ... -> ...")
def absolute_grad(dout, x):
    "Gradient of `absolute`: dout times the sign of x, 0 at 0."
    return (dout * xp(x).sign(x),)


@shapes("... -> ...")
def tanh(x):
    "Hyperbolic tangent, between -1 and 1."
    return xp(x).tanh(x)


@shapes("..., ... -> ...")
def tanh_grad(dout, x):
    "Gradient of `tanh`: dout · (1 - tanh² x)."
    return (dout * (1 - tanh(x)**2),)


@shapes("... -> ...")
def sigmoid(x):
    "1 / (1 + e⁻ˣ), between 0 and 1."
    return xp(x).exp(x.clip(None, 0)) / (1 + xp(x).exp(-abs(x)))   # neither power overflows


@shapes("..., ... -> ...")
def sigmoid_grad(dout, x):
    "Gradient of `sigmoid`: dout · s (1 - s), with s = sigmoid(x)."
    return (dout * sigmoid(x) * sigmoid(-x),)      # 1 - s would lose what is small


@shapes("... -> ...")
def sin(x):
    "Sine."
    return xp(x).sin(x)


@shapes("..., ... -> ...")
def sin_grad(dout, x):
    "Gradient of `sin`: dout · cos x."
    return (dout * cos(x),)


@shapes("... -> ...")
def cos(x):
    "Cosine."
    return xp(x).cos(x)


@shapes("..., ... -> ...")
def cos_grad(dout, x):
    "Gradient of `cos`: -dout · sin x."
    return (-dout * sin(x),)


@shapes("bool *mask, *a, *b -> *")
def where(mask, a, b):
    "a where the mask is true, b elsewhere."
    return xp(a).where(mask, a, b)


@shapes("*, bool *mask, *a, *b -> *a, *b")
def where_grad(dout, mask, a, b, needs_input_grad=(False, True, True)):
    "Gradients of `where`: to each number of a and b its dout where it was taken, 0 elsewhere."
    return None, *summed(needs_input_grad[1:], (a, lambda: dout * mask), (b, lambda: dout * ~mask))


# ---------------------------------------------------------------- matrices
def multiplies(b, a):
    "Vectors, matrices, or stacks of matrices that can be multiplied: a @ b."
    fits = a.ndim and b.ndim and a.shape[-1] == b.shape[-min(b.ndim, 2)]
    if not fits: raise ValueError(f"a is {tuple(a.shape)} and b is {tuple(b.shape)}: "
                                  "expected (..., n, p) and (..., p, m), or vectors (p,)")
    if common_shape(tuple(a.shape[:-2]), tuple(b.shape[:-2])) is None: raise ValueError(
        f"a is {tuple(a.shape)} and b is {tuple(b.shape)}: the stacks {tuple(a.shape[:-2])} and {tuple(b.shape[:-2])} do not fit")
    return b


@shapes("_, _ -> _", b=multiplies)
def matmul_stacks(a, b):
    "a @ b: vectors, matrices, and stacks of matrices that are stretched to one another."
    return a @ b


@shapes("_, _, _ -> _, _", b=multiplies)
def matmul_stacks_grad(dout, a, b, needs_input_grad=BOTH):
    "Gradients of `matmul_stacks`: dout @ bᵀ and aᵀ @ dout, each matrix for itself, summed where stretched."
    if a.ndim == b.ndim == 2:                                      # (n, m) @ (m, p) -> (n, p); (p, n) @ (n, m) -> (p, m)
        return dout @ b.T if needs_input_grad[0] else None, a.T @ dout if needs_input_grad[1] else None
    rows = a if a.ndim > 1 else a.reshape(1, -1)                   # (p,) -> (1, p)
    columns = b if b.ndim > 1 else b.reshape(-1, 1)                # (p,) -> (p, 1)
    if a.ndim < 2 or b.ndim < 2:                                   # the axes that the result lacks
        stack = common_shape(tuple(rows.shape[:-2]), tuple(columns.shape[:-2]))
        dout = dout.reshape(*stack, rows.shape[-2], columns.shape[-1])
    da = unbroadcast(dout @ columns.mT, tuple(rows.shape)).reshape(a.shape) if needs_input_grad[0] else None
    db = unbroadcast(rows.mT @ dout, tuple(columns.shape)).reshape(b.shape) if needs_input_grad[1] else None
    return da, db


# ---------------------------------------------------------------- the largest
def not_empty(axis, x) -> tuple[int, ...]:
    "Some axes of x, along which there is at least one number."
    found = axes(axis, x)
    if 0 in [x.shape[i] for i in found]: raise ValueError(f"x is {tuple(x.shape)}: of no numbers, none is the largest")
    return found


@shapes("... -> -", axis=not_empty)
def amax(x, axis=None, keepdims=False):
    "The largest number along some axes."
    return xp(x).max(x, axis=axis, keepdims=keepdims)


@shapes("-, ... -> ...", axis=not_empty, dout=reduced)
def amax_grad(dout, x, axis=None, keepdims=False):
    "Gradient of `amax`: dout to the largest, in equal shares where there are several."
    largest = xp(x).astype(x == amax(x, axis, keepdims=True), x.dtype)
    share = dout.reshape(without(x.shape, axis, keepdims=True)) / largest.sum(axis, keepdims=True)
    return (share * largest,)


# ---------------------------------------------------------------- numbers in other places
def new_shape(shape, x) -> tuple[int, ...]:
    "A shape with as many numbers as x has; one size may be -1."
    found = integers(shape, what="a shape such as (3, 4)")
    if min(found, default=0) < -1: raise ValueError(f"{found} has a size below -1")
    known, n = math.prod([size for size in found if size != -1]), math.prod(x.shape)
    open_sizes = found.count(-1)
    if open_sizes > 1 or (n % known if known else n or open_sizes) if open_sizes else known != n: raise ValueError(
        f"x is {tuple(x.shape)}, which does not fit {found}")
    return found


@shapes("... -> _", shape=new_shape)
def reshape(x, shape):
    "The same numbers in another shape."
    return x.reshape(shape)


@shapes("_, ... -> ...")
def reshape_grad(dout, x, shape):
    "Gradient of `reshape`: dout in the shape of x."
    return (dout.reshape(x.shape),)


def order(axes_, x) -> tuple[int, ...]:
    "The new order of the axes of x, counted from 0; None: reversed."
    if axes_ is None: return tuple(reversed(range(x.ndim)))
    found = axes(axes_, x) if x.ndim else ()
    if len(found) != x.ndim: raise ValueError(f"x is {tuple(x.shape)}, and {axes_} does not name all of its axes")
    return found


@shapes("... -> _", axes=order)
def transpose(x, axes=None):
    "The same numbers with the axes in another order."
    return xp(x).permute_dims(x, axes)


@shapes("_, ... -> ...")
def transpose_grad(dout, x, axes=None):
    "Gradient of `transpose`: dout with the axes back in their places."
    there = order(axes, x)
    return (xp(dout).permute_dims(dout, tuple([there.index(i) for i in range(x.ndim)])),)


def index(x, key):
    "x[key], the numbers at some places. IndexError, with the shape, where there is no such place."
    try: return x[key]
    except (IndexError, ValueError) as why: raise IndexError(f"index: x is {tuple(x.shape)}: {why}") from None


def index_grad(dout, x, key):
    "Gradient of `index`: dout at the places that were read, added up where twice; 0 elsewhere."
    return (put(dout, key, tuple(x.shape)),)


@shapes("...")
def put(x, key, shape):
    "Zeros of a shape, with x added at some places."
    out = np.zeros(shape, x.dtype)
    np.add.at(out, key, x)
    return out


def put_grad(dout, x, key, shape):
    "Gradient of `put`: dout at these places."
    return (index(dout, key),)


@shapes("_ -> _", axis=one_axis)
def concatenate(*xs, axis=0):
    "Arrays one after the other along an axis."
    try: return xp(xs[0]).concat(xs, axis=axis)
    except (ValueError, RuntimeError): raise ValueError(
        f"concatenate: {', '.join(str(tuple(x.shape)) for x in xs)} do not fit along axis {axis}") from None


def concatenate_grad(dout, *xs, axis=0):
    "Gradients of `concatenate`: to each array its piece of dout."
    pieces, start = [], 0
    for x in xs:
        here = slice(start, start := start + x.shape[axis])
        pieces.append(dout[(slice(None),) * (axis % x.ndim) + (here,)])
    return tuple(pieces)


@shapes("... -> ...")
def cast(x, dtype):
    "The same numbers in another dtype; a copy."
    return xp(x).astype(x, dtype)


def cast_grad(dout, x, dtype):
    "Gradient of `cast`: dout in the dtype of x."
    return (xp(dout).astype(dout, x.dtype),)


@shapes("_, _ -> _")
def replace(x, value, key):
    "x with other numbers at some places."
    out = x.copy()
    out[key] = value
    return out


def replace_grad(dout, x, value, key):
    "Gradients of `replace`: dout, 0 at these places; and dout there."
    return replace(dout, xp(dout).asarray(0.0), key=key), unbroadcast(dout[key], tuple(value.shape))
