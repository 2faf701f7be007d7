"""Requests with arrivals, and the readers of the files they come from."""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import SpecError, TraceError
from bankwidth.serving import request_formats as formats
from bankwidth.serving.request_formats import Wrong
from bankwidth.serving.request_lines import Lines

Ints = NDArray[np.int64]


class Request(NamedTuple):
    """One line of a file."""

    arrival_ps: int | None
    prompt: int  # tokens
    output: int  # tokens
    hashes: tuple[int, ...] = ()  # of its blocks of HASH_TOKENS, each with all before it


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests in the order of their arrivals; the first one comes at time 0."""

    arrival_ps: Ints | None  # None: the file has none, and none were drawn yet
    prompt_tokens: Ints
    output_tokens: Ints
    hashes: tuple[tuple[int, ...], ...]  # empty tuples where nothing is known
    source: str = "requests"
    format: str = "given"
    arrivals: str = "recorded"  # how they came about

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    @property
    def has_hashes(self) -> bool:
        """Whether prefixes can be told."""
        return any(self.hashes)

    def describe(self) -> dict[str, Any]:
        """Where they come from and how many there are, as plain data."""
        return {
            "source": self.source,
            "format": self.format,
            "arrivals": self.arrivals,
            "requests": len(self),
            "prompt_tokens": int(self.prompt_tokens.sum()),
            "output_tokens": int(self.output_tokens.sum()),
        }

    def at_rate(self, per_s: float, seed: int = 0) -> Requests:
        """Arrivals drawn from a Poisson process, instead of the recorded ones if there are any.

        Raises SpecError where the rate is not above 0.
        """
        rate = _positive(per_s, "--rate")
        gaps_s = np.random.default_rng(seed).exponential(float(1 / rate), len(self))
        gaps_s[0] = 0.0
        arrival_ps = np.rint(np.cumsum(gaps_s) * formats.PS_PER_S)
        if arrival_ps[-1] > formats.MAX_PS:
            raise SpecError(f"--rate: {per_s:g} requests/s take more than 46 days")
        how = f"Poisson, {per_s:g} requests/s, seed {seed}"
        return replace(self, arrival_ps=arrival_ps.astype(np.int64), arrivals=how)

    def all_at_once(self) -> Requests:
        """All at time 0."""
        zeros = np.zeros(len(self), dtype=np.int64)
        return replace(self, arrival_ps=zeros, arrivals="all at once")

    def in_turn(self, users: int) -> Requests:
        """Each of so many users sends the next when the last is answered: no arrivals are known."""
        if users < 1:
            raise SpecError(f"--concurrency: {users}, at least 1")
        return replace(self.all_at_once(), arrivals=f"{users} at once, the next when one is done")

    def faster(self, factor: float) -> Requests:
        """The same arrivals, `factor` times as many per second. Raises SpecError."""
        scale = _positive(factor, "--rate-scale")
        if self.arrival_ps is None:
            raise SpecError(f"--rate-scale: {self.source} has no arrivals, give --rate")
        scaled = [round(int(each) / scale) for each in self.arrival_ps]
        if scaled[-1] > formats.MAX_PS:
            raise SpecError(f"--rate-scale: at {factor:g}, requests take more than 46 days")
        how = f"{self.arrivals}, {factor:g} times as fast"
        return replace(self, arrival_ps=np.array(scaled, dtype=np.int64), arrivals=how)


def _positive(value: float, option: str) -> Fraction:
    if not 0 < value < float("inf"):
        raise SpecError(f"{option}: {value:g}, need a number above 0")
    return Fraction(repr(float(value)))


def requests_of(
    requests: Iterable[Request], *, source: str = "requests", format: str = "given"
) -> Requests:
    """Requests as arrays; arrivals count from the first. Raises TraceError where there are none."""
    arrivals, lengths, hashes = array("q"), array("q"), []
    first_ps: int | None = None
    for arrival_ps, prompt, output, ids in requests:
        if arrival_ps is not None:
            first_ps = arrival_ps if first_ps is None else first_ps
            arrivals.append(min(arrival_ps - first_ps, formats.MAX_PS + 1))
        lengths.extend((prompt, output))
        hashes.append(ids)
    if not hashes:
        raise TraceError(f"{source}: no requests")
    if arrivals and arrivals[-1] > formats.MAX_PS:
        raise TraceError(f"{source}: the last request comes more than 46 days after the first")
    tokens = np.array(lengths, dtype=np.int64).reshape(-1, 2)
    return Requests(
        arrival_ps=np.array(arrivals, dtype=np.int64) if arrivals else None,
        prompt_tokens=tokens[:, 0].copy(),
        output_tokens=tokens[:, 1].copy(),
        hashes=tuple(hashes),
        source=source,
        format=format,
        arrivals="recorded" if arrivals else "none",
    )


def read_requests(path: str | Path, limit: int | None = None) -> Requests:
    """The first `limit` requests of a file, all by default; its format shows in its first line.

    CSV with a header, or a JSON object a line, plain or gzip: see request_formats. Lines behind
    the limit are not looked at. Raises TraceError with `FILE:LINE`, SpecError for a wrong limit.
    """
    if limit is not None and limit < 1:
        raise SpecError(f"--limit: {limit}, at least 1")
    lines = Lines(Path(path))
    text = iter(lines)
    first = next((line for line in text if line.strip()), "")
    if not first:
        raise TraceError(f"{path}: no requests: the file is empty")
    rows: Iterator[Request]
    if first.lstrip().startswith(("{", "[")):
        name, rows = "mooncake", _JsonReader(lines).requests(chain([first], text))
    else:
        reader = _CsvReader(lines, first)
        name, rows = reader.format.name, reader.requests(text)
    return requests_of(islice(_in_order(rows, lines), limit), source=str(path), format=name)


def with_arrivals(
    requests: Requests, *, rate: float | None = None, scale: float | None = None, seed: int = 0
) -> Requests:
    """Requests with arrivals for a run: recorded, `scale` times as fast, or drawn at a `rate`.

    Without a rate, those of a file without arrivals come all at once. Raises SpecError.
    """
    if rate is not None and scale is not None:
        raise SpecError("--rate draws arrivals and --rate-scale scales recorded ones: choose one")
    if rate is not None:
        return requests.at_rate(rate, seed)
    if scale is not None:
        return requests.faster(scale)
    return requests.all_at_once() if requests.arrival_ps is None else requests


def _in_order(rows: Iterator[Request], lines: Lines) -> Iterator[Request]:
    """The same requests; raises TraceError at one that arrives before the last."""
    last: int | None = None
    for request in rows:
        arrival = request.arrival_ps
        if arrival is not None and last is not None and arrival < last:
            late = f"{(last - arrival) / formats.PS_PER_S:.9g} s"
            raise lines.error(f"arrives {late} before the request above: sort the file by arrival")
        last = arrival
        yield request


class _CsvReader:
    """Rows below a header."""

    def __init__(self, lines: Lines, first: str) -> None:
        self._lines = lines
        self._header = [name.strip() for name in self._fields(first)]
        try:
            self.format = formats.csv_format(self._header)
        except Wrong as error:
            raise lines.error(str(error)) from None
        self._arrival = self._place(self.format.arrival)
        self._prompt = self._place(self.format.prompt)
        self._output = self._place(self.format.output)

    def requests(self, text: Iterable[str]) -> Iterator[Request]:
        for line in text:
            if line.strip():
                yield self._request(self._fields(line))

    def _place(self, name: str) -> int:
        return self._header.index(name) if name in self._header else -1

    def _fields(self, line: str) -> list[str]:
        if '"' not in line:
            return line.rstrip("\r\n").split(",")
        try:
            return next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise self._lines.error(f"not a line of CSV ({error})") from error

    def _request(self, fields: list[str]) -> Request:
        if len(fields) != len(self._header):
            need = f"{len(fields)} columns, the header has {len(self._header)}"
            raise self._lines.error(f"{need}: is the line cut off?")
        try:
            return Request(
                self._arrival_ps(fields),
                formats.tokens(fields[self._prompt].strip()),
                formats.tokens(fields[self._output].strip()),
            )
        except Wrong as error:
            raise self._lines.error(f"{self._wrong_column(fields)}: {error}") from None

    def _arrival_ps(self, fields: list[str]) -> int | None:
        if self._arrival < 0:
            return None
        return self.format.arrival_ps(fields[self._arrival].strip())

    def _wrong_column(self, fields: list[str]) -> str:
        """The first column whose value cannot be read."""
        readers = {
            self._arrival: self.format.arrival_ps,
            self._prompt: formats.tokens,
            self._output: formats.tokens,
        }
        for place, reader in readers.items():
            try:
                if place >= 0:
                    reader(fields[place].strip())
            except Wrong:
                return self._header[place]
        return "line"


class _JsonReader:
    """An object a line."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def requests(self, text: Iterable[str]) -> Iterator[Request]:
        for line in text:
            if line.strip():
                yield self._request(self._record(line))

    def _record(self, line: str) -> dict[str, Any]:
        try:
            # Numbers with a point stay text, so that times are exact.
            record = json.loads(line.strip(), parse_float=str, parse_constant=str)
        except (json.JSONDecodeError, RecursionError, ValueError) as error:
            what = getattr(error, "msg", str(error)).removesuffix(" at")
            column = getattr(error, "colno", 1)
            raise self._lines.error(f"not a JSON object: {what} at column {column}") from None
        if not isinstance(record, dict):
            raise self._lines.error("not a JSON object with timestamp, input_length, output_length")
        missing = [name for name in formats.MOONCAKE_FIELDS if name not in record]
        if missing:
            raise self._lines.error(f"no {', '.join(missing)}")
        return record

    def _request(self, record: dict[str, Any]) -> Request:
        try:
            prompt = formats.json_tokens(record, "input_length")
            return Request(
                formats.milliseconds_ps(str(record["timestamp"])),
                prompt,
                formats.json_tokens(record, "output_length"),
                formats.json_hashes(record, prompt),
            )
        except Wrong as error:
            raise self._lines.error(str(error)) from None
