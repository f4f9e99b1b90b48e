from .broadcasting import unbroadcast
from .forward import cross_entropy, exp, linear, mse, relu, softmax
from .shapes import axes, classes, count, fits_along, one_axis, one_hot, reduced, shapes, without, xp

@shapes("..., ... -> ...")
def square_grad(dout, x): return (dout * 2 * x,)

@shapes("..., ... -> ...")
def exp_grad(dout, x): return (dout * exp(x),)

@shapes("..., ... -> ...")
def log_grad(dout, x): return (dout / x,)

@shapes("..., ... -> ...")
def relu_grad(dout, x):
    "Gradient of `relu`: dout above 0, else dout · 0."
    return (dout * ~(x <= 0),)            # not (x > 0): at NaN it is dout, as torch has it

@shapes("*, *a, *b -> *a, *b")
def subtraction_grad(dout, a, b):
    return unbroadcast(dout, a.shape), unbroadcast(-dout, b.shape)

@shapes("-, ... -> ...", axis=axes, dout=reduced)
def sum_grad(dout, x, axis=None, keepdims=False):
    "Gradient of `sum`: each number gets that of the sum it went into."
    return (xp(x).broadcast_to(dout.reshape(without(x.shape, axis, keepdims=True)), x.shape),)

@shapes("-, ... -> ...", axis=axes, dout=reduced)
def mean_grad(dout, x, axis=None, keepdims=False):
    "Gradient of `mean`: that of the sum, divided by the count."
    share = (dout / count(x, axis)).reshape(without(x.shape, axis, keepdims=True))
    return (xp(x).broadcast_to(share, x.shape),)

@shapes("(), ... [1], ... -> ... [1], ...")
def mse_grad(dout, pred, targ):
    "Gradients of `mse`: dout · 2 (pred - targ) / n, and the opposite."
    g = dout * 2 / count(targ) * (pred.reshape(targ.shape) - targ)
    return g.reshape(pred.shape), -g

@shapes("n m, n p, p m -> n p, p m")
def matmul_grad(dout, a, b):
    return dout @ b.T, a.T @ dout      # (n, m) @ (m, p) -> (n, p);  (p, n) @ (n, m) -> (p, m)

@shapes("n n_out, n n_in, n_in n_out, n_out -> n n_in, n_in n_out, n_out")
def linear_grad(dout, x, w, b):
    return dout @ w.T, x.T @ dout, dout.sum(0)

@shapes("..., ..., n -> ..., n", axis=one_axis, b=fits_along)
def add_bias_grad(dout, x, b, axis=-1):
    others = tuple([i for i in range(x.ndim) if i != axis % x.ndim])
    return dout, dout.sum(others) if others else dout * 1

@shapes("..., ... -> ...", axis=one_axis)
def softmax_grad(dout, x, axis=-1):
    "Gradient of `softmax`: p (dout - Σ dout p), with p = softmax(x)."
    p = softmax(x, axis)
    return (p * (dout - (dout * p).sum(axis, keepdims=True)),)

@shapes("..., ... -> ...", axis=one_axis)
def log_softmax_grad(dout, x, axis=-1):
    "Gradient of `log_softmax`: dout - softmax(x) Σ dout."
    return (dout - softmax(x, axis) * dout.sum(axis, keepdims=True),)

@shapes("(), n c, int n -> n c", targ=classes)
def cross_entropy_grad(dout, logits, targ):
    "Gradient of `cross_entropy`: dout (softmax(logits) - onehot) / n; None for the classes."
    return dout / count(targ) * (softmax(logits, 1) - one_hot(targ, logits)), None


def forward_and_backward(x, y, w1, b1, w2, b2):  # (n, n_in), (n,), (n_in, h), (h,), (h, 1), (1,)
    "The loss mse(relu(x @ w1 + b1) @ w2 + b2, y), and the gradients of x, w1, b1, w2 and b2."
    z = linear(x, w1, b1)                        # (n, n_in) -> (n, h)
    h = relu(z)                                  # (n, h)
    pred = linear(h, w2, b2)                     # (n, h) -> (n, 1)
    loss = mse(pred, y)                          # (n, 1), (n,) -> one number

    dpred, _ = mse_grad(1.0, pred, y)            # (n, 1)
    dh, dw2, db2 = linear_grad(dpred, h, w2, b2) # (n, h), (h, 1), (1,)
    [dz] = relu_grad(dh, z)                      # (n, h)
    dx, dw1, db1 = linear_grad(dz, x, w1, b1)    # (n, n_in), (n_in, h), (h,)
    return loss, (dx, dw1, db1, dw2, db2)
