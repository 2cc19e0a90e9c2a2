"""Drives the decoders: their corpus, then changed inputs, so many or for so long, each decoder in a process of its own.

``PYTHONPATH=.:tests:tests/rigs python -m fuzz.runner --count 1000000 --seconds 600 [NAME ...]``, or ``make fuzz``. A
fault is kept in ``tests/fuzz/corpus/NAME/`` and ends its decoder's run. Inputs are the same for the same ``--seed``.
"""

import argparse
import hashlib
import logging
import multiprocessing
import os
import random
import re
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz.decoders import DECODERS, Decoder
from fuzz.mutator import Mutator
from learnae.errors import LearnaeError

CORPUS = Path(__file__).parent / "corpus"
STRICT_SECONDS = 0.1  # of CPU that one input may take
MEMORY_BYTES = 64 << 20  # beyond what the seeds take
Outcome = tuple[int, float, "Fault | None"]  # inputs, CPU seconds, the first fault
_TRIES = 3  # of an input that was slow: another process may have been the cause


@dataclass(frozen=True, slots=True)
class Fault:
    """An input that a decoder must not answer so."""

    decoder: str
    data: bytes
    why: str

    def keep(self) -> Path:
        """Put the input into the corpus."""
        path = directory_of(self.decoder) / f"{hashlib.sha256(self.data).hexdigest()[:16]}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return path


def directory_of(name: str) -> Path:
    """Return where the corpus of a decoder is."""
    return CORPUS / re.sub("[^a-z0-9]+", "-", name)


def corpus(name: str) -> list[bytes]:
    """Return the inputs that once were faults of a decoder."""
    return [path.read_bytes() for path in sorted(directory_of(name).glob("*.bin"))]


def inputs(name: str, decoder: Decoder, seed: int) -> Iterator[bytes]:
    """Yield the decoder's seeds and corpus, then changed ones without end."""
    known = [*decoder.seeds(), *corpus(name)]
    yield from known
    mutator = Mutator(known, random.Random(f"{seed}/{name}"), decoder.most_bytes)
    while True:
        yield mutator.next()


def check(name: str, decoder: Decoder, data: bytes, seconds: float) -> Fault | None:
    """Decode; return what is wrong with how that ended: another error than ours, or more than ``seconds`` of CPU."""
    for _ in range(_TRIES):
        begun = time.process_time()
        try:
            decoder.decode(data)
        except LearnaeError:
            pass
        except (Exception, RecursionError) as error:  # noqa: BLE001 - any other is what is looked for
            return Fault(name, data, "".join(traceback.format_exception(error)[-4:]))
        took = time.process_time() - begun
        if took <= seconds:
            return None
    return Fault(name, data, f"it takes {took:.3f} s")


def run(name: str, seed: int, count: int, seconds: float, is_bounded: bool = True) -> Outcome:
    """Fuzz one decoder; return how many inputs it had, the CPU seconds, and the first fault."""
    logging.disable(logging.CRITICAL)
    decoder, done, until, begun = DECODERS[name], 0, time.monotonic() + seconds, time.process_time()
    most = max(1, count // decoder.work)
    for data in inputs(name, decoder, seed):
        if done == 100 and is_bounded:
            _bound_memory()
        if fault := check(name, decoder, data, STRICT_SECONDS):
            return done, time.process_time() - begun, fault
        done += 1
        if done >= most or time.monotonic() > until:
            break
    return done, time.process_time() - begun, None


def _bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _guided(name: str, seconds: float) -> int:
    """Let atheris (if it is installed) choose inputs by the code that they reach."""
    import atheris  # type: ignore[import-not-found, unused-ignore]

    decoder = DECODERS[name]

    def one(data: bytes) -> None:
        if fault := check(name, decoder, data, STRICT_SECONDS):
            raise RuntimeError(f"{fault.keep()}: {fault.why}")

    directory = directory_of(name)
    directory.mkdir(parents=True, exist_ok=True)
    atheris.instrument_all()
    atheris.Setup(
        [sys.argv[0], str(directory), f"-max_total_time={seconds:.0f}", f"-artifact_prefix={directory}/"], one
    )
    atheris.Fuzz()
    return 0


def _apart(job: tuple[str, int, int, float]) -> Outcome:
    """Run in a process of its own, which may end in any way."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, job), daemon=True)
    process.start()
    sender.close()
    try:
        found: Outcome = receiver.recv()
    except EOFError:
        process.join()
        found = 0, 0.0, Fault(job[0], b"", f"its process ended: {process.exitcode}")
    process.join()
    return found


def _report(sender: Connection, job: tuple[str, int, int, float]) -> None:
    sender.send(run(*job))


def main() -> int:
    """Fuzz all decoders that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--count", type=int, default=10**6, help="inputs of a decoder; of slow ones fewer")
    parser.add_argument("--seconds", type=float, default=600.0, help="of each decoder, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris: one NAME")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in DECODERS]:
        parser.error(f"no decoder {unknown[0]!r}; there are {', '.join(DECODERS)}")
    names = options.names or list(DECODERS)
    if options.guided:
        return _guided(names[0], options.seconds)
    faults = 0
    jobs = [(name, options.seed, options.count, options.seconds) for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for name, (done, seconds, fault) in zip(names, threads.map(_apart, jobs), strict=True):
            pace = f"{1e6 * seconds / max(done, 1):.0f} µs"
            print(f"{name:<32} {done:>9,} inputs  {pace:>9} each{'  FAULT' if fault else ''}", flush=True)
            if fault:
                faults += 1
                print(f"{fault.keep()}: {fault.why}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
