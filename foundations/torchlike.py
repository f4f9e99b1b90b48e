import numpy as np
from .autograd import Tensor, as_tensor, Concatenate, Where
def of(name):
    def f(x, *args, **options): return getattr(as_tensor(x), name)(*args, **options)
    return f
exp, log, tanh, sin, cos = map(of, ("exp", "log", "tanh", "sin", "cos"))
float64, float32, int64 = map(np.dtype, ("float64", "float32", "int64"))
def where(mask, a, b): return Where()(mask, a, b)
def sign(x): return Tensor(np.sign(x._data))
def astype(x, dtype): return x.to(dtype) if x.requires_grad else Tensor(x._data.astype(dtype))
def broadcast_to(x, shape): return x + Tensor(np.zeros(shape, x.dtype))
def permute_dims(x, axes): return x.permute(*axes)
def arange(*a, device=None): return Tensor(np.arange(*a))
def max(x, axis=None, keepdims=False): return x.amax(axis, keepdims)
def concat(xs, axis=0): return Concatenate(axis=axis)(*xs)
def asarray(x, dtype=None, device=None): return Tensor(np.asarray(x, dtype))
