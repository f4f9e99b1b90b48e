from __future__ import annotations

import math
from collections import namedtuple
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING: from .autograd import Tensor

ValuesAndIndices = namedtuple("ValuesAndIndices", "values indices")


def along(dim, keepdim, axis, keepdims) -> dict:
    "PyTorch's `dim` and `keepdim`, or NumPy's `axis` and `keepdims`, as options of an operator."
    axis = dim if axis is None else axis
    return {"axis": None if axis == () else axis, "keepdims": keepdim or keepdims}


def flat(sizes) -> tuple:
    "(2, 3), given as two arguments or as one."
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


class ArrayLike:
    __slots__ = ()
    _data: np.ndarray
    requires_grad: bool

    @property
    def shape(self): return self._data.shape
    @property
    def ndim(self): return self._data.ndim
    @property
    def dtype(self): return self._data.dtype
    @property
    def device(self): return "cpu"
    def size(self, dim=None): return self.shape if dim is None else self.shape[dim]
    def dim(self): return self._data.ndim
    def numel(self): return self._data.size
    def tolist(self): return self._data.tolist()
    def __len__(self): return len(self._data)
    def __bool__(self): return bool(self._data)
    def __float__(self): return float(self.item())
    def __int__(self): return int(self.item())
    def __index__(self): return self._data.__index__()
    def __format__(self, spec): return format(self.item() if self._data.ndim == 0 else str(self), spec)
    def __array__(self, dtype=None, copy=None): return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self):
        "The one number that it holds; else ValueError."
        if self._data.size != 1: raise ValueError(f"item: expected one number, the tensor is {self.shape}")
        return self._data.item()

    def numpy(self) -> np.ndarray:
        "Its array, the same memory; ValueError for a tensor that needs a gradient: detach it first."
        if self.requires_grad: raise ValueError(
            "numpy: this tensor needs a gradient, and its array takes none; use detach().numpy()")
        return self._data


class Methods:
    __slots__ = ()
    def sqrt(self: Tensor): return self**0.5
    def view(self: Tensor, *shape): return self.reshape(*shape)
    @property
    def T(self: Tensor): return self.permute(*reversed(range(self.ndim)))
    @property
    def mT(self: Tensor): return self.transpose(-2, -1)
    def transpose(self: Tensor, dim0, dim1):
        order = list(range(self.ndim))
        order[dim0], order[dim1] = order[dim1], order[dim0]
        return self.permute(order)
    def clip(self: Tensor, min=None, max=None):
        out = self if min is None else self.where(~(self < min), min)
        return out if max is None else out.where(~(out > max), max)
