import math
from .shapes import a_generator, axes, classes, count, fits_along, largest, one_axis, one_of, random, rows, shapes, two_sizes, xp

@shapes("n n_in, n_in n_out, n_out -> n n_out")
def linear(x, w, b):
    "A linear layer: each row of x times w, plus b."
    return x @ w + b   # (n, n_in) @ (n_in, n_out) + (n_out,) -> (n, n_out)

@shapes("... -> ...")
def relu(x):
    "Rectified linear unit: the larger of x and 0. NaN stays NaN."
    return x.clip(0)

@shapes("*a, *b -> *")
def subtraction(a, b):
    "a - b."
    return a - b

@shapes("... -> ...")
def square(x):
    "Each number times itself."
    return x * x

@shapes("... -> -", axis=axes)
def sum(x, axis=None, keepdims=False):
    "The sum over some axes."
    return x.sum(axis, keepdims=keepdims)

@shapes("... -> -", axis=axes)
def mean(x, axis=None, keepdims=False):
    "The mean over some axes; the mean of nothing is NaN."
    return x.sum(axis, keepdims=keepdims) / count(x, axis)

@shapes("... [1], ... -> ()")
def mse(pred, targ):
    "Mean squared error."
    return mean(square(subtraction(pred.reshape(targ.shape), targ)))

@shapes("... -> ...")
def exp(x): return xp(x).exp(x)

@shapes("... -> ...")
def log(x): return xp(x).log(x)

@shapes("... -> ...", axis=one_axis)
def softmax(x, axis=-1):
    "Positive shares along an axis, eˣ / Σ eˣ."
    # exp(x) / exp(x).sum(), which overflows
    e = exp(x - largest(x, axis))
    return e / e.sum(axis, keepdims=True)

@shapes("... -> ...", axis=one_axis)
def log_softmax(x, axis=-1):
    "Logarithm of softmax, x - log Σ eˣ."
    # log(softmax(x)), which loses what is small
    x = x - largest(x, axis)
    return x - log(exp(x).sum(axis, keepdims=True))

@shapes("n c, int n -> ()", targ=classes)
def cross_entropy(logits, targ):
    "The mean of -log softmax(logits) at the true classes. Do not apply softmax first."
    # -(onehot * log_softmax(logits)).sum(1), then the mean
    return -mean(log_softmax(logits, 1)[rows(logits), targ])

@shapes("..., n -> ...", axis=one_axis, b=fits_along)
def add_bias(x, b, axis=-1):
    "A bias along one axis of x."
    return x + b.reshape(len(b), *[1] * (x.ndim - 1 - axis % x.ndim))   # (2, 3, 4, 4) + (3, 1, 1), for axis 1


@shapes(shape=two_sizes, generator=a_generator)
def xavier_normal(shape: tuple[int, int],  # (n_in, n_out)
                  generator,               # np.random.Generator, or torch.Generator for a tensor on its device
                  gain: float = 1.0,       # multiplies the standard deviation
                  dtype=None):             # of the result; None: float32, or torch's default
    """Normal random weights of standard deviation gain·√(2 / (n_in + n_out)).

    Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
    """
    n_in, n_out = shape
    return random("normal", shape, generator, dtype) * (float(gain) * math.sqrt(2 / max(n_in + n_out, 1)))


@shapes(shape=two_sizes, mode=one_of("fan_in", "fan_out"))
def kaiming_std(shape: tuple[int, int],    # (n_in, n_out)
                a: float = 0.0,            # slope below 0 of the leaky ReLU that follows; 0: a ReLU
                mode: str = "fan_in",      # keep the size of what flows forward; "fan_out": of what flows back
               ) -> float:
    """The standard deviation √(2 / ((1 + a²) fan)), which keeps the mean square through a ReLU.

    He, Zhang, Ren and Sun 2015, https://arxiv.org/abs/1502.01852.
    """
    fan = shape[0] if mode == "fan_in" else shape[1]
    return math.sqrt(2 / ((1 + a**2) * max(fan, 1)))


@shapes(generator=a_generator)
def kaiming_normal(shape: tuple[int, int], generator, a: float = 0.0, mode: str = "fan_in", dtype=None):
    "Normal random weights of the standard deviation of `kaiming_std`; arguments as there and in `xavier_normal`."
    return random("normal", shape, generator, dtype) * kaiming_std(shape, a, mode)


@shapes(generator=a_generator)
def kaiming_uniform(shape: tuple[int, int], generator, a: float = 0.0, mode: str = "fan_in", dtype=None):
    "Uniform random weights of the same standard deviation as `kaiming_normal`: between ±√3 times it."
    return random("uniform", shape, generator, dtype) * (math.sqrt(3) * kaiming_std(shape, a, mode))
