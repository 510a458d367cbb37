"""Reads what the official code of CARIS, and that of AMLRIS which extends it, prints while it trains and evaluates.

Every line is one of a few forms, or of no interest (the printed model, warnings). A line that begins like one of the
forms and does not fit it is broken: it is named, and what it would have said stays unknown. Epochs count from 0 in the
log and from 1 here (`after`: whole epochs trained).

    Epoch: [3]  [ 100/2642]  eta: 0:20:01  lr: 9.8e-05  grad_norm: 0.71 (0.80)  total_loss: 0.11 (0.12)  time: ...
    Epoch: [3] Total time: 0:21:40
    Test:  [  0/1345]  eta: ...                        progress of an evaluation
    Final results: / Mean IoU is 70.12 / precision@0.5 = 79.10 (0.7, 0.9) / overall IoU = 65.54
    Average object IoU [70.1234] / Overall IoU [65.5412] / Better epoch: 3

AMLRIS prints `org_loss` (the picture as it is) and `sub_loss` (masked) in place of `total_loss`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from amlrepro.errors import UserError
from amlrepro.files import sha256_file
from amlrepro.suite.official_log import Broken, Code, OfficialLog, Read, Scores, Window

NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_TIME = r"(?:\d+ days?, )?\d+:\d\d:\d\d"
_FIELD = rf"(\w+): ({NUMBER})(?: \(({NUMBER})\))?"
_STEP = re.compile(rf"Epoch: \[(\d+)\]  \[ *(\d+)/(\d+)\]  eta: {_TIME}  ((?:{_FIELD}  )+)"
                   rf"time: {NUMBER}  data: {NUMBER}  max mem: \d+")  # fmt: skip
_ENDED = re.compile(rf"Epoch: \[(\d+)\] Total time: ({_TIME})")
_TEST = re.compile(rf"Test:  \[ *\d+/\d+\]  eta: {_TIME}  .*max mem: \d+|Test: Total time: {_TIME}")
_RESULTS = (
    ("Mean IoU is NUMBER", re.compile(rf"Mean IoU is ({NUMBER})")),
    ("precision@0.5 = NUMBER", re.compile(rf"precision@0\.5 = ({NUMBER})")),
    ("precision@0.7 = NUMBER", re.compile(rf"precision@0\.7 = ({NUMBER})")),
    ("precision@0.9 = NUMBER", re.compile(rf"precision@0\.9 = ({NUMBER})")),
    ("overall IoU = NUMBER", re.compile(rf"overall IoU = ({NUMBER})")),
)
_IN_ORDER = ("miou", "pr50", "pr70", "pr90", "oiou")
_EXACT = re.compile(rf"(Average object|Overall) IoU (?:({NUMBER})|\[({NUMBER})\]|tensor\(\[({NUMBER})\].*\))")
_BETTER = re.compile(r"Better epoch: (\d+)")
_SKIPPED = re.compile(r"\[Epoch (\d+) \| Iter \d+\] \[NaN/Inf detected\]")
_COMMAND = re.compile(r"(?:train|eval)\.py((?:\s+\S+)+)")
_OPTION = re.compile(r"(\w+)=('(?:[^']*)'|[^,)]+)")
# Beginnings by which a line that fits none of the forms is known to be a broken one, and what it should be.
_BEGINNINGS = {
    "Epoch: [": "Epoch: [E]  [ i/N]  eta: ...  lr: ...  ...  max mem: MB, or Epoch: [E] Total time: H:MM:SS",
    "Test:": "Test:  [ i/N]  eta: ...  max mem: MB, or Test: Total time: H:MM:SS",
    "Mean IoU": "Mean IoU is NUMBER, after `Final results:`",
    "precision@": "precision@X = NUMBER, after `Mean IoU is NUMBER`",
    "overall IoU": "overall IoU = NUMBER, after `precision@0.9 = NUMBER`",
    "Average object IoU": "Average object IoU [NUMBER]",
    "Overall IoU": "Overall IoU [NUMBER]",
    "Better epoch": "Better epoch: E",
}


def read_log(path: Path) -> OfficialLog:
    """Read a log. Raises `UserError` for a file that is missing, holds two trainings, or says nothing known."""
    if not path.is_file():
        raise UserError("no such log", where=path)
    log = OfficialLog(path, sha256_file(path))
    reader = _Reader(log)
    with path.open("r", encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            reader.take(number, text.rstrip("\n").rstrip("\r"))
    reader.close(log.lines + 1)
    if not (log.is_training or log.scores):
        raise UserError(
            "no log of the official CARIS or AMLRIS code",
            where=path,
            found=_named(log.broken[0], path) if log.broken else f"{log.lines} lines, none of a known form",
            expected="lines such as `Epoch: [0]  [   0/2642]  eta: ...` or `Final results:`",
        )
    return log


def _named(broken: Broken, path: Path) -> str:
    return f"{path.name}:{broken.line}: {broken.text[:80]!r}"


class _Reader:
    """Takes lines in order and fills the log."""

    def __init__(self, log: OfficialLog) -> None:
        self.log = log
        self.results: Scores | None = None  # being read
        self.awaited = 0  # the next of `_RESULTS`
        self.current: Scores | None = None  # of the evaluation that the last lines were about
        self.forms: tuple[tuple[re.Pattern[str], Callable[[int, re.Match[str]], None]], ...] = (
            (_STEP, self._step),
            (_ENDED, self._ended),
            (_TEST, lambda number, match: None),
            (re.compile("Final results:"), self._results),
            (_EXACT, self._exact),
            (_BETTER, self._better),
            (re.compile(r"Image size: (\d+)"), self._size),
            (re.compile(r"Eval mode: (resized|original)"), self._mode),
            (re.compile(r"(\d+)"), self._samples),
        )

    def take(self, number: int, text: str) -> None:
        """One line, without its end."""
        self.log.lines = number
        line = text.strip()
        if not line:
            return
        if self.results is not None and self._in_results(number, line):
            return
        for pattern, act in self.forms:
            match = pattern.fullmatch(line)
            if match:
                act(number, match)
                return
        self._other(number, line)

    def close(self, number: int) -> None:
        """Results that were begun and not ended."""
        if self.results is not None:
            self._break(number, "(end of the results)", _RESULTS[self.awaited][0])
            self.results = None

    def _break(self, number: int, line: str, expected: str) -> None:
        self.log.broken.append(Broken(number, line, expected))

    def _in_results(self, number: int, line: str) -> bool:
        """Whether the line is the awaited one of the results; if not they end here, and what is missing is unknown."""
        assert self.results is not None
        wanted, pattern = _RESULTS[self.awaited]
        match = pattern.fullmatch(line)
        if match is None:
            self._break(number, line, wanted)
            later = [k for k in range(self.awaited + 1, len(_RESULTS)) if _RESULTS[k][1].fullmatch(line)]
            if later:  # some are missing: go on with what follows
                self.awaited = later[0]
                return self._in_results(number, line)
            if not line.startswith(wanted.split(" ")[0]):
                self.results = None
                return False
        else:
            self.results.metrics[_IN_ORDER[self.awaited]] = Read(float(match[1]), match[1], number)
        self.awaited += 1
        if self.awaited == len(_RESULTS):
            self.results = None
        return True

    def _step(self, number: int, match: re.Match[str]) -> None:
        after, update, of = (int(match[k]) for k in (1, 2, 3))
        self._go_on(number, after, update)
        values = {m[1]: (float(m[2]), float(m[3] or m[2])) for m in re.finditer(_FIELD, match[4])}
        code: Code | None = "amlris" if "org_loss" in values else "caris" if "total_loss" in values else None
        if code and self.log.code not in (None, code):
            raise UserError("two codes in one log", where=f"{self.log.path}:{number}", found=f"{self.log.code}, {code}")
        self.log.code = code or self.log.code
        self.current = None
        self.log.windows.append(Window(after, update, of, number, values))

    def _go_on(self, number: int, after: int, update: int) -> None:
        """Where a training goes on from an earlier point, what it makes again is dropped."""
        log = self.log
        last = log.windows[-1] if log.windows else None
        if last is None or (after, update) > (last.after, last.update):
            return
        if after == 0 and log.ended:
            hint = f"part the file before line {number}"
            raise UserError("two trainings in one file", where=f"{log.path}:{number}", hint=hint)
        log.begun_again.append(number)
        log.windows = [w for w in log.windows if w.after < after]
        log.ended = {epochs: line for epochs, line in log.ended.items() if epochs <= after}
        log.scores = [s for s in log.scores if s.after is None or s.after <= after]

    def _ended(self, number: int, match: re.Match[str]) -> None:
        self.log.ended[int(match[1]) + 1] = number
        self.current = None

    def _results(self, number: int, match: re.Match[str]) -> None:
        log = self.log
        after: int | None = None
        if log.is_training:
            after = log.epochs or None
            last = log.windows[-1] if log.windows else None
            if after is None or (last is not None and last.after >= after):
                after = None
                self._break(number, match[0], "Epoch: [E] Total time: H:MM:SS before it, to tell its epoch")
        self.results = self.current = Scores(after, number)
        self.awaited = 0
        log.scores.append(self.results)

    def _exact(self, number: int, match: re.Match[str]) -> None:
        """The same number with more digits; where it is another one, neither counts."""
        name = "miou" if match[1] == "Average object" else "oiou"
        scores = self.current
        rounded = scores.metrics.get(name) if scores else None
        text = match[2] or match[3] or match[4]
        if scores is None:
            self._break(number, match[0], "`Final results:` before it")
        elif rounded is not None and not abs(float(text) - rounded.value) < 0.0051:
            self._break(number, match[0], f"{rounded.text} as in line {rounded.line}, rounded")
            del scores.metrics[name]
        else:
            scores.metrics[name] = Read(float(text), text, number)

    def _better(self, number: int, match: re.Match[str]) -> None:
        after, scores = int(match[1]) + 1, self.current
        if scores is None or scores.after != after:
            self._break(number, match[0], f"the results of epoch {match[1]} before it")
        else:
            scores.better = True

    def _size(self, number: int, match: re.Match[str]) -> None:
        self.log.image_size = int(match[1])

    def _mode(self, number: int, match: re.Match[str]) -> None:
        self.log.resolution = "original" if match[1] == "original" else "resized"

    def _samples(self, number: int, match: re.Match[str]) -> None:
        if self.log.samples is None and not self.log.is_training:
            self.log.samples = int(match[1])

    def _other(self, number: int, line: str) -> None:
        log = self.log
        if _SKIPPED.search(line):
            log.skipped += 1
            return
        command = _COMMAND.search(line)
        if line.startswith("Namespace("):
            log.arguments |= {m[1]: (m[2].strip().strip("'"), number) for m in _OPTION.finditer(line)}
        elif command:
            log.arguments |= {name: (value, number) for name, value in _options(command[1].split())}
        else:
            expected = next((text for begin, text in _BEGINNINGS.items() if begin in line), None)
            if expected:
                self._break(number, line, expected)


def _options(words: list[str]) -> list[tuple[str, str]]:
    """`--dataset refcoco+ --mix` as (dataset, refcoco+), (mix, True); words that belong to no option are left out."""
    out = []
    for k, word in enumerate(words):
        if word.startswith("--"):
            name, sep, value = word[2:].partition("=")
            following = words[k + 1] if k + 1 < len(words) else "--"
            out.append((name.replace("-", "_"), value if sep else "True" if following.startswith("-") else following))
    return out
