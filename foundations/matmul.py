from functools import cache

import numpy as np

from .shapes import list_shapes, numpy_only, shapes, xp, zeros_for


@list_shapes("n p, p m -> n m")
def matmul_lists(a, b):
    "Matrix product of two lists of lists, by three nested loops. Lists only: for an array, `a.tolist()`."
    c = [[0.0] * (len(b[0]) if b else 0) for row in a]
    for i in range(len(a)):
        for j in range(len(c[i])):
            for k in range(len(b)):
                c[i][j] += a[i][k] * b[k][j]
    return c


@shapes("n p, p m -> n m")
def matmul_loops(a, b):
    "Matrix product by three nested loops, on arrays."
    c = zeros_for(a, b)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]):
                # with lists: c[i][j] += a[i][k] * b[k][j]
                c[i, j] += a[i, k] * b[k, j]
    return c


@shapes("n p, p m -> n m")
def matmul_rowcol(a, b):
    "Matrix product with the innermost loop handed over: a row times a column, summed."
    c = zeros_for(a, b)
    for i in range(a.shape[0]):
        row = a[i]
        for j in range(b.shape[1]):
            # for k in range(a.shape[1]): c[i, j] += a[i, k] * b[k, j]
            c[i, j] = (row * b[:, j]).sum()              # (p,) * (p,) -> (p,) -> one number
    return c


@shapes("n p, p m -> n m")
def matmul_broadcast(a, b):
    "Matrix product a row at a time: a row of `a`, as a column, times all of `b`, summed down."
    c = zeros_for(a, b)
    for i in range(a.shape[0]):
        # for j in range(b.shape[1]): c[i, j] = (row * b[:, j]).sum()
        c[i] = (a[i][:, None] * b).sum(0)                # (p, 1) * (p, m) -> (p, m) -> (m,)
    return c


@shapes("n p, p m -> n m")
def matmul_einsum(a, b):
    "Matrix product in the notation of its formula."
    # for i in range(a.shape[0]): c[i] = (a[i][:, None] * b).sum(0)
    return xp(a).einsum("ik,kj->ij", a, b)


@cache
def compiled(f,          # a plain function on arrays
             *fastmath,  # liberties it may take with rounding: "contract", "reassoc"
            ):           # the same function as machine code, made on the first call
    "Compile `f` with numba. ImportError, with what to install, where there is no numba."
    try: from numba import njit
    except ImportError:
        raise ImportError("compiled: numba is missing; pip install numba") from None
    return njit(f, fastmath=set(fastmath))


def loops_ijk(a, b, c):  # (n, p), (p, m), and (n, m) to add the product to
    """c += a @ b, a cell of `c` at a time: `k` walks down a column of `b`.

    Sizes are not checked: compiled, wrong ones read and write foreign memory.
    """
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


def loops_ikj(a, b, c):  # (n, p), (p, m), and (n, m) to add the product to
    """c += a @ b, a row of `b` at a time: `j` walks along a row of `b` and a row of `c`.

    Sizes are not checked: compiled, wrong ones read and write foreign memory.
    """
    for i in range(a.shape[0]):
        # for j in range(b.shape[1]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


def add_products(a, bt, c):  # (n, d), (m, d), and (n, m) to add to; n a multiple of 4, m of 3
    "c += a @ bt.T, a block of 4 by 3 cells at a time. Sizes are not checked."
    zero = c.dtype.type(0)
    for i in range(0, a.shape[0], 4):
        for j in range(0, bt.shape[0], 3):
            c00 = c01 = c02 = c10 = c11 = c12 = c20 = c21 = c22 = c30 = c31 = c32 = zero
            for k in range(a.shape[1]):
                a0, a1, a2, a3 = a[i, k], a[i+1, k], a[i+2, k], a[i+3, k]
                b0, b1, b2 = bt[j, k], bt[j+1, k], bt[j+2, k]
                c00 += a0*b0; c01 += a0*b1; c02 += a0*b2
                c10 += a1*b0; c11 += a1*b1; c12 += a1*b2
                c20 += a2*b0; c21 += a2*b1; c22 += a2*b2
                c30 += a3*b0; c31 += a3*b1; c32 += a3*b2
            c[i,   j] += c00; c[i,   j+1] += c01; c[i,   j+2] += c02
            c[i+1, j] += c10; c[i+1, j+1] += c11; c[i+1, j+2] += c12
            c[i+2, j] += c20; c[i+2, j+1] += c21; c[i+2, j+2] += c22
            c[i+3, j] += c30; c[i+3, j+1] += c31; c[i+3, j+2] += c32


@shapes("n p, p m -> n m", b=numpy_only)
def matmul_compiled(a, b):
    "Matrix product by compiled loops over tiles. NumPy arrays only; ImportError where numba is missing."
    n, m, rows, depth = len(a), b.shape[1], 48, 512        # of a tile; rows a multiple of 4
    add = compiled(add_products, "contract", "reassoc")    # a * b + c in one step; sums in any order
    a = np.pad(a, ((0, -n % 4), (0, 0)))                   # rounded up to whole blocks
    bt = np.pad(b.T, ((0, -m % 3), (0, 0)))
    c = zeros_for(a, bt.T)
    for k in range(0, a.shape[1], depth):
        at, btk = a[:, k:k+depth].copy(), bt[:, k:k+depth].copy()     # a tile of each, without gaps
        for i in range(0, len(a), rows): add(at[i:i+rows], btk, c[i:i+rows])
    return c[:n, :m].copy()


@shapes("n p, p m -> n m")
def matmul(a, b):
    "Matrix product by the array library's own `@`."
    return a @ b
