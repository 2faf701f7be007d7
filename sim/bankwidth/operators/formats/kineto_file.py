"""A Kineto file, reduced while it streams to what an import needs.

Field names are those of libkineto's output_json.cpp and of torch's profiler
(github.com/pytorch/kineto, libkineto/src/output_json.cpp). Of each event a few numbers are kept in
columns; shapes and names are kept once. `python_function` events, views and allocations are gone as
soon as they are read.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from bankwidth.errors import TraceError
from bankwidth.operators.formats.json_stream import JsonStream
from bankwidth.operators.formats.kineto_names import (
    BEGIN_CAPTURE,
    END_CAPTURE,
    LAUNCHES,
    READS_VALUES,
    WITHOUT_WORK,
)

EVENTS: Final = "traceEvents"
NO_ID: Final = -1
_NS_IN_US: Final = 1000
# Arguments of a collective, in the order of `Comms`.
_COMMS: Final = ("Collective name", "In msg nelems", "Out msg nelems", "Group size", "dtype")

Dims = tuple[int, ...]


class Comms(NamedTuple):
    """What NCCL was asked for: elements of one rank's message in and out."""

    name: str
    elements_in: int
    elements_out: int
    ways: int
    dtype: str


class Signature(NamedTuple):
    """What equal calls have in common.

    `dims` has a tuple for each input, a tuple of tuples for a list of tensors, `()` for a number.
    `values` are the numbers among the inputs as text, for operators that need them.
    """

    name: str
    dims: tuple[Any, ...] | None  # None: shapes were not recorded
    dtypes: tuple[str, ...]
    values: tuple[str, ...]
    comms: Comms | None


class Mark(NamedTuple):
    """A range that the user or the profiler named."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class OpColumns:
    """CPU operators: times, thread, index of the signature, correlation, line in the file."""

    start_ns: array[int] = field(default_factory=lambda: array("q"))
    duration_ns: array[int] = field(default_factory=lambda: array("q"))
    external: array[int] = field(default_factory=lambda: array("q"))
    line: array[int] = field(default_factory=lambda: array("q"))
    thread: array[int] = field(default_factory=lambda: array("l"))
    signature: array[int] = field(default_factory=lambda: array("l"))


@dataclass(frozen=True, slots=True)
class KernelColumns:
    """What ran on the device; `node` is that of a CUDA graph."""

    start_ns: array[int] = field(default_factory=lambda: array("q"))
    duration_ns: array[int] = field(default_factory=lambda: array("q"))
    external: array[int] = field(default_factory=lambda: array("q"))
    correlation: array[int] = field(default_factory=lambda: array("q"))
    node: array[int] = field(default_factory=lambda: array("q"))
    name: array[int] = field(default_factory=lambda: array("l"))


@dataclass(frozen=True, slots=True)
class LaunchColumns:
    """Calls of the CUDA runtime that put work on the device, and those around a capture."""

    start_ns: array[int] = field(default_factory=lambda: array("q"))
    external: array[int] = field(default_factory=lambda: array("q"))
    correlation: array[int] = field(default_factory=lambda: array("q"))
    thread: array[int] = field(default_factory=lambda: array("l"))
    name: array[int] = field(default_factory=lambda: array("l"))


class Index:
    """Numbers for things, in the order of their first appearance."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def __call__(self, key: Hashable, thing: Any = None) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.things)
            self.things.append(key if thing is None else thing)
        return number


@dataclass(frozen=True, slots=True)
class Recording:
    """A file's content. `header` has the small members of the top level."""

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    signatures: list[Signature] = field(default_factory=list)
    ops: OpColumns = field(default_factory=OpColumns)
    kernels: KernelColumns = field(default_factory=KernelColumns)
    launches: LaunchColumns = field(default_factory=LaunchColumns)
    marks: list[Mark] = field(default_factory=list)
    kernel_names: list[str] = field(default_factory=list)
    launch_names: list[str] = field(default_factory=list)
    ends_ns: list[int] = field(default_factory=list)  # at most one: when recording stopped
    lost: list[str] = field(default_factory=list)
    last_line: list[int] = field(default_factory=list)


def read_recording(path: Path) -> Recording:
    """Everything that an import needs of a file.

    Raises TraceError with file, line and byte for a file that is cut off, damaged, no JSON, or
    no Kineto trace.
    """
    return _Reader(path).read()


class _Reader:
    """Goes through the events once."""

    def __init__(self, path: Path) -> None:
        self._stream = JsonStream(path)
        self._signatures, self._threads = Index(), Index()
        self._kernel_names, self._launch_names = Index(), Index()
        self._made = Recording(
            path,
            signatures=self._signatures.things,
            kernel_names=self._kernel_names.things,
            launch_names=self._launch_names.things,
        )
        self._keepers: dict[object, Callable[[dict[str, Any]], None]] = {
            "cpu_op": self._op,
            "Operator": self._op,  # torch before 1.11
            "user_annotation": self._mark,
            "kernel": self._kernel,
            "Kernel": self._kernel,
            "gpu_memcpy": self._kernel,
            "gpu_memset": self._kernel,
            "cuda_runtime": self._launch,
            "cuda_driver": self._launch,
            "Runtime": self._launch,
        }

    def read(self) -> Recording:
        with self._stream as stream:
            for key, value in stream.members(EVENTS):
                if key == EVENTS:
                    self._event(value)
                else:
                    self._made.header[key] = value
            if not stream.found:
                known = ", ".join(self._made.header) or "none"
                raise stream.error(
                    f"not a Kineto trace: no key {EVENTS!r} at the top level (keys: {known})"
                )
            self._made.last_line.append(stream.line)
        self._note_bad_bytes()
        return self._made

    def _event(self, event: Any) -> None:
        if not isinstance(event, dict):
            raise self._stream.error(f"an event must be an object, got {str(event)[:40]!r}")
        keep = self._keepers.get(event.get("cat"))
        try:
            if keep is not None:
                keep(event)
            elif event.get("name") == "Record Window End":
                self._made.ends_ns[:] = [_ns(event["ts"])]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise TraceError(
                f"{self._made.path}:{self._stream.line}: the {event.get('cat')} event that ends "
                f"here, {event.get('name')!r}, is not of a Kineto trace: {what}"
            ) from error

    def _op(self, event: Mapping[str, Any]) -> None:
        name = event["name"]
        if name in WITHOUT_WORK:
            return
        args = event.get("args") or {}
        columns = self._made.ops
        columns.start_ns.append(_ns(event["ts"]))
        columns.duration_ns.append(_ns(event["dur"]))
        columns.external.append(args.get("External id", NO_ID))
        columns.line.append(self._stream.line)
        columns.thread.append(self._thread(event))
        columns.signature.append(self._signature(name, args))

    def _signature(self, name: str, args: Mapping[str, Any]) -> int:
        dims = args.get("Input Dims", args.get("Input dims"))
        dtypes = args.get("Input type")
        values = args.get("Concrete Inputs") if name in READS_VALUES else None
        comms = tuple([args.get(key) for key in _COMMS]) if _COMMS[0] in args else None
        key = (name, str(dims), str(dtypes), str(values), comms)
        number = self._signatures(key, _UNMADE)
        if self._signatures.things[number] is _UNMADE:
            self._signatures.things[number] = Signature(
                name,
                None if dims is None else _frozen(dims),
                tuple(map(str, dtypes or ())),
                tuple(map(str, values or ())),
                _comms(comms),
            )
        return number

    def _mark(self, event: Mapping[str, Any]) -> None:
        start = _ns(event["ts"])
        self._made.marks.append(Mark(event["name"], start, start + _ns(event["dur"])))

    def _kernel(self, event: Mapping[str, Any]) -> None:
        args = event.get("args") or {}
        columns = self._made.kernels
        columns.start_ns.append(_ns(event["ts"]))
        columns.duration_ns.append(_ns(event["dur"]))
        columns.external.append(args.get("External id", NO_ID))
        columns.correlation.append(args.get("correlation", NO_ID))
        columns.node.append(args.get("graph node id", 0))
        columns.name.append(self._kernel_names(event["name"]))

    def _launch(self, event: Mapping[str, Any]) -> None:
        name = event["name"]
        if not name.startswith((*LAUNCHES, *BEGIN_CAPTURE, *END_CAPTURE)):
            return
        args = event.get("args") or {}
        columns = self._made.launches
        columns.start_ns.append(_ns(event["ts"]))
        columns.external.append(args.get("External id", NO_ID))
        columns.correlation.append(args.get("correlation", NO_ID))
        columns.thread.append(self._thread(event))
        columns.name.append(self._launch_names(name))

    def _thread(self, event: Mapping[str, Any]) -> int:
        return self._threads((event.get("pid"), event.get("tid")))

    def _note_bad_bytes(self) -> None:
        if self._stream.bad_bytes:
            self._made.lost.append(
                f"{self._stream.bad_bytes} bytes are not UTF-8, the first at byte "
                f"{self._stream.first_bad_byte}: names with them have '?' in their place"
            )


_UNMADE: Final = object()


def _ns(time_us: float) -> int:
    """Kineto writes microseconds with three decimals."""
    return round(time_us * _NS_IN_US)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _comms(values: tuple[Any, ...] | None) -> Comms | None:
    if values is None:
        return None
    name, into, out, ways, dtype = values
    return Comms(str(name), int(into or 0), int(out or 0), int(ways or 1), str(dtype))
