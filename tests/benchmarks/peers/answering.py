"""What all programs of peers share: questions are read as lines of JSON, answers written as such."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def answer_questions(version: str, answers: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Say the version, then answer until there are no more questions."""
    # What a library prints is no answer.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"version": version}), file=out, flush=True)
    for line in sys.stdin:
        values = json.loads(line)
        print(json.dumps(answers[values.pop("question")](**values)), file=out, flush=True)
