from .shapes import each, integers, shapes, sizes, stretches_to


@shapes(shapes=each(sizes))
def broadcast_shapes(*shapes: tuple[int, ...]   # shapes, such as (3, 1) and (4,)
                    ) -> tuple[int, ...]:       # the shape that arrays of these shapes make together
    """The shape of the result when arrays of `shapes` are combined cell by cell.

    ValueError, naming the axis, the sizes and the shapes, where they do not fit.
    The rule: https://numpy.org/doc/stable/user/basics.broadcasting.html
    """
    out = []
    for axis in range(-max(map(len, shapes), default=0), 0):             # ..., -2, -1
        size, first = 1, ()
        for shape in shapes:
            n = shape[axis] if len(shape) >= -axis else 1   # an axis that is not there counts as 1
            if n in (1, size): continue
            if size != 1: raise ValueError(f"broadcast_shapes: {first} and {shape} do not fit: "
                                           f"axis {axis} has sizes {size} and {n}, and neither is 1")
            size, first = n, shape
        out.append(size)
    return tuple(out)


@shapes(shape=sizes, strides=integers, to=sizes)
def broadcast_strides(shape: tuple[int, ...],     # of an array
                      strides: tuple[int, ...],   # its strides, in bytes (NumPy) or in numbers (torch)
                      to: tuple[int, ...],        # the shape to stretch it to
                     ) -> tuple[int, ...]:        # strides, in the same unit, that show its memory at shape `to`
    """The strides that stretch an array to shape `to` without a copy: 0 on axes that it lacks or where it has size 1.

    ValueError where `shape` does not broadcast to `to`, or has another number of axes than `strides`.
    """
    if broadcast_shapes(shape, to) != to: raise ValueError(
        f"broadcast_strides: {shape} cannot be stretched to {to}")
    steps = [0 if n == 1 else step for n, step in zip(shape, strides, strict=True)]
    return (0,) * (len(to) - len(shape)) + tuple(steps)


@shapes("...", shape=stretches_to)
def unbroadcast(grad,                     # gradient of a broadcast result, of any shape
                shape: tuple[int, ...],   # the shape that one of the inputs had
               ):                         # gradient for that input, of shape `shape`; it may share memory with `grad`
    "Sum a gradient back to the shape it was broadcast from: the adjoint of broadcasting."
    new = grad.ndim - len(shape)                          # axes that were added at the left
    axes = tuple([i for i, n in enumerate(grad.shape) if i < new or shape[i - new] != n])
    # for `b` above: grad.sum(0)
    return grad.sum(axes, keepdims=True).reshape(shape) if axes else grad
