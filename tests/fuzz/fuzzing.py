"""How a harness is run: for so long, from seeds, with the folder of its corpus as argument."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris

LONGEST = 4096
"""Bytes of an input."""


def fuzz(one: Callable[[bytes], None], seeds: Sequence[bytes]) -> None:
    """Feed `one` for FUZZ_SECONDS (60); what it raises leaves its input in the working folder.

    Does not return: the process ends with 0 where nothing was found.
    """
    corpus = Path(sys.argv[1])
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={os.environ.get('FUZZ_SECONDS', '60')}", f"-max_len={LONGEST}"]
    atheris.Setup([sys.argv[0], str(corpus), *limits, "-timeout=5", "-print_final_stats=1"], one)
    atheris.Fuzz()
