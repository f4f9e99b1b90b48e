"""Deep learning from three nested loops to `nn.Module`: each chapter is a notebook and a module.

    matmul        1  the matrix product, seven times: from lists to compiled loops to @
    broadcasting  2  which shapes fit, strides of zero, and why the gradient is a sum
    forward       3  linear, relu, softmax, the losses, and how to choose the first weights
    backward      4  the gradient of each of them, by hand
    layers        5  the same pairs as classes that remember their inputs
    autograd      6  the engine: `Tensor` finds the order of the way back by itself
    nn            7  `Module`, `Linear`, `Sequential`, ...: the part of torch.nn that it covers
    training      8  `SGD`, `DataLoader`, `fit`, `evaluate`
    language      9  tokens, attention, a small GPT that invents names
    compiling    10  a step traced once, and written out as straight code
    scaling      11  many processes train one network; `python -m foundations.scaling`
    convolution  12  windows of an image, and a network that looks through them

What they stand on:

    shapes        what fits, said once: the checks of inputs, and their messages
    passes        what a layer refuses on its way forward and back
    operators     pairs of a function and its gradient beyond chapters 3 and 4
    methods       the operators as methods of `Tensor`
    changes       numbers that change in place: recorded, refused or noticed
    gradients     what must hold of a gradient, from the first to those that are kept
    torchlike     what `Tensor` does as PyTorch does it
    check         are two arrays equal up to rounding, is a gradient right
    data          the handwritten digits, and given names
    files         a state in one file: `save`, `load`
    optimizers    `Adam` and `AdamW`, handed on by `training`
    lr_scheduler  learning rates that change from step to step
    runs          what a run of training needs beside its steps
    timing        how many times faster, on a noisy machine
    draw          every figure
    explore       what moves
    exercises     `check`, `hint`, `predict`: what is wrong with a reader's own answer

All modules can be reached from here, and so can the names below, as in `foundations.Tensor`.
Importing `foundations` loads none of them; the first use of a name does.
"""
import sys
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["matmul", "broadcasting", "forward", "backward", "layers", "autograd", "nn", "training",
           "language", "compiling", "scaling", "convolution", "shapes", "passes", "operators",
           "methods", "changes", "gradients", "torchlike", "check", "data", "files", "optimizers",
           "lr_scheduler", "runs", "timing", "draw", "explore", "exercises",
           "Tensor", "no_grad", "SGD", "Adam", "AdamW", "compiled", "Dataset", "DataLoader", "History",
           "fit", "evaluate", "accuracy", "save", "load", "mnist", "names", "test_near", "gradcheck"]

_HOME = {"Tensor": "autograd", "no_grad": "autograd",
         "compiled": "compiling", "SGD": "training", "Adam": "optimizers", "AdamW": "optimizers",
         "Dataset": "training", "DataLoader": "training", "History": "training",
         "fit": "training", "evaluate": "training", "accuracy": "training",
         "save": "files", "load": "files",
         "mnist": "data", "names": "data", "test_near": "check", "gradcheck": "check"}

if sys.platform == "emscripten":                 # where a thousand calls, one in the other, end a page's
    sys.setrecursionlimit(min(500, sys.getrecursionlimit()))      # Python without a word

if TYPE_CHECKING:                                # the same, for tools that read and do not run
    from . import autograd, backward, broadcasting, changes, check, compiling, convolution
    from . import data, draw, exercises, explore, files, forward, gradients, language, layers
    from . import lr_scheduler, matmul, methods, nn, operators, optimizers, passes, runs, scaling
    from . import shapes, timing, torchlike, training
    from .autograd import Tensor, no_grad
    from .check import gradcheck, test_near
    from .compiling import compiled
    from .data import mnist, names
    from .files import load, save
    from .optimizers import Adam, AdamW
    from .training import SGD, DataLoader, Dataset, History, accuracy, evaluate, fit
else:
    def __getattr__(name):
        if name not in __all__: raise AttributeError(f"{__name__} has no attribute {name!r}")
        module = import_module(f".{_HOME.get(name, name)}", __name__)
        return getattr(module, name) if name in _HOME else module


def __dir__(): return sorted({*globals(), *__all__})
