"""nbdev_test, with its options, but for two things that take a third of its time and test nothing.

1. Each notebook runs in a process of its own. The exercises fork for every answer that they check, and what twenty notebooks have left
   behind makes a fork slow; and no notebook finds what another one has loaded.
2. What a cell gives is shown once, as Jupyter shows it. execnb shows it twice, and asks pyplot for another picture of each figure.
"""
import multiprocessing, sys
from multiprocessing.connection import wait

import ipywidgets, numpy  # noqa: F401  nearly every notebook imports them: each process is a copy of this one
import nbdev.test
from execnb.shell import CaptureShell
from matplotlib.figure import Figure


class Shell(CaptureShell):
    def __init__(self, path):
        super().__init__(path)
        self.display_formatter.formatters["image/png"].pop(Figure)
        self.displayhook.compute_format_data = lambda result: ({}, {})         # execnb formats it behind the cell


def tell(writing, run, page, options): writing.send(run(page, **options))


def each_alone(run, pages, n_workers, pause, **options):
    "What `run` says of each page, in a process of its own; of one that dies, that it failed."
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else None)
    waiting, running, said = list(pages), {}, {}
    while waiting or running:
        while waiting and len(running) < max(1, n_workers):
            page, (reading, writing) = waiting.pop(0), context.Pipe(duplex=False)
            process = context.Process(target=tell, args=(writing, run, page, options))
            process.start()
            writing.close()
            running[reading] = page, process
        for reading in wait(running):
            page, process = running.pop(reading)
            try: said[page] = reading.recv()
            except EOFError: said[page] = False, 0
            process.join()
            if process.exitcode: print(f"{page.name}: its process ended with {process.exitcode}", file=sys.stderr)
    return [said[page] for page in pages]


nbdev.test.CaptureShell, nbdev.test.parallel = Shell, each_alone             # where a process is no copy, it reads this file too

if __name__ == "__main__": nbdev.test.nbdev_test()
