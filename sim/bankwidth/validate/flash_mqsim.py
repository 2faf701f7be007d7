"""Runs of MQSim: latency at queue depth 1 to the nanosecond, saturated runs within 2 %.

The drive runs in its compatibility mode (policy `data_first_lockstep` and `chip`), with MQSim's bus
and link times in place of those of a description. What MQSim does otherwise than a drive, and what
is therefore done here for the comparison and nowhere else:

* the time of a byte on a channel is cut to whole nanoseconds: 666 and 800 MT/s run as 1000 MT/s,
  and above 1000 MT/s data take no time at all;
* a submission queue entry has 72 bytes on the link, a doorbell 2; every message is cut to whole
  nanoseconds; a completion's doorbell goes before that of the next request;
* data out of a die need no set-up and no change of column, but a read is noticed 20 ns late;
* spare bytes are not moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bankwidth.errors import SpecError, TraceError
from bankwidth.spec import load_device
from bankwidth.spec.ssd import SsdSpec
from bankwidth.system.run import Progress
from bankwidth.validate import mqsim_addresses
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

if TYPE_CHECKING:
    from bankwidth.devices.nand.config import DriveConfig
    from bankwidth.devices.nand.drive import DriveRun
    from bankwidth.devices.nand.requests import Requests

COLUMNS: Final = (
    "name", "ch", "chips_per_ch", "dies_per_chip", "planes_per_die", "page_B", "MTps", "tR_ns",
    "tPROG_ns", "pcie_lanes", "pcie_GBps_lane", "qd", "op", "dist", "req_B", "n_req", "IOPS",
    "avg_lat_ns", "min_lat_ns", "max_lat_ns", "cmd_read", "cmd_read_multiplane", "cmd_prog",
    "cmd_prog_multiplane",
)  # fmt: skip
DEVICE: Final = "ssd/mqsim-stock"
SOURCE: Final = "MQSim 7ec40e3"
TOLERANCE_PCT: Final = 2.0  # of runs with more than one request under way: the project's target
PS_PER_NS: Final = 1000
# Beyond a description: bytes of messages (MQSim's structs, PCIe_Link.h), ns of a chip's ready line.
DOORBELL_BYTES, COMMAND_BYTES, COMPLETION_BYTES, READ_REQUEST_BYTES = 2, 72, 16, 4
READY_DELAY_NS: Final = 20
ADDRESSES: Final = {
    "RANDOM_UNIFORM": mqsim_addresses.random_offsets,
    "STREAMING": mqsim_addresses.streaming_offsets,
}
COMMANDS: Final = {
    "cmd_read": "read",
    "cmd_read_multiplane": "read_multi_plane",
    "cmd_prog": "program",
    "cmd_prog_multiplane": "program_multi_plane",
}


def compare(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Rate, latencies and commands of every run that came to its end.

    Raises TraceError for a row that is wrong.
    """
    from bankwidth.devices.nand.drive import Drive

    stock = stock_config()
    for number, row in enumerate(rows):
        if row.get("status", "ok") != "ok":
            continue
        if progress is not None:
            progress(number, len(rows))
        config = config_of_row(stock, row)
        run = Drive(config).replay(requests_of_row(row), queue_depth=row.count("qd", least=1))
        yield from cases(row, figures(run, config))


def stock_config() -> DriveConfig:
    """MQSim's drive by its rules."""
    from bankwidth.devices.nand.config import config_of

    spec = load_device(DEVICE)
    if not isinstance(spec, SsdSpec):
        raise SpecError(f"{DEVICE} describes no drive")
    return config_of(spec)


def config_of_row(stock: DriveConfig, row: Row) -> DriveConfig:
    """The drive of a run, with MQSim's times."""
    page_bytes = _page_bytes(row)
    width_bytes = row.count("chan_width_B", least=1) if "chan_width_B" in row else 1
    pair_ps = byte_pair_ns(row.count("MTps", least=1)) * PS_PER_NS
    transfer_ps = page_bytes // width_bytes // 2 * pair_ps
    config = replace(
        stock,
        name=row.text("name"),
        channels=row.count("ch", least=1),
        chips_per_channel=row.count("chips_per_ch", least=1),
        dies_per_chip=row.count("dies_per_chip", least=1),
        planes=row.count("planes_per_die", least=1),
        blocks_per_plane=mqsim_addresses.BLOCKS_PER_PLANE,
        pages_per_block=mqsim_addresses.PAGES_PER_BLOCK,
        page_bytes=page_bytes,
        spare_bytes=0,
        gc_threshold_blocks=1,
        read_ps=((row.count("tR_ns") + READY_DELAY_NS) * PS_PER_NS,),
        program_ps=(row.count("tPROG_ns") * PS_PER_NS,),
        data_setup_ps=0,
        multi_plane_data_ps=0,
        page_transfer_ps=transfer_ps,
        page_in_ps=transfer_ps,
        bus_ps_numerator=transfer_ps,
        bus_ps_denominator=page_bytes,
        **_link(row, page_bytes),
    )
    share = 1 - mqsim_addresses.OVER_PROVISIONING
    return replace(config, logical_pages=int(config.physical_pages * share))


def byte_pair_ns(mega_transfers: int) -> int:
    """Two bytes on a channel, the time of one cut to whole nanoseconds as MQSim does."""
    return int(1000 / mega_transfers) * 2


def _page_bytes(row: Row) -> int:
    size = row.count("page_B", least=mqsim_addresses.SECTOR_BYTES)
    if size % mqsim_addresses.SECTOR_BYTES:
        raise TraceError(f"{row.where}: page_B: need whole sectors of 512 bytes, found {size}")
    return size


def _link(row: Row, page_bytes: int) -> dict[str, Any]:
    lanes, rate_gbps = row.count("pcie_lanes", least=1), row.number("pcie_GBps_lane")
    if rate_gbps <= 0:
        raise TraceError(f"{row.where}: pcie_GBps_lane: need a number above 0, found {rate_gbps}")
    payload_bytes, overhead_bytes = 128, 28

    def message_ps(size_bytes: int) -> int:
        packets = -(-size_bytes // payload_bytes)
        per_lane = -(-(size_bytes + packets * overhead_bytes) // lanes)
        return int(per_lane / rate_gbps) * PS_PER_NS

    return {
        "pcie_lanes": lanes,
        "pcie_payload_bytes": payload_bytes,
        "pcie_overhead_bytes": overhead_bytes,
        "pcie_ps_numerator": round(PS_PER_NS * 1000 / rate_gbps),
        "pcie_ps_denominator": 1000,
        "pcie_page_ps": message_ps(page_bytes),
        "nvme_doorbell_ps": message_ps(DOORBELL_BYTES),
        "nvme_request_ps": message_ps(READ_REQUEST_BYTES),
        "nvme_command_ps": message_ps(COMMAND_BYTES),
        "nvme_completion_ps": message_ps(COMPLETION_BYTES),
        "nvme_latency_ps": 0,
        "nvme_write_ps": 0,
    }


def requests_of_row(row: Row) -> Requests:
    """The requests that MQSim generates. Raises TraceError for an unknown pattern or direction."""
    from bankwidth.devices.nand.requests import Requests

    size_bytes, count = row.count("req_B", least=1), row.count("n_req", least=1)
    addresses = ADDRESSES[row.text("dist", ADDRESSES)]
    offsets = addresses(count, size_bytes, _page_bytes(row), _planes(row))
    is_write = row.text("op", ("read", "write")) == "write"
    return Requests(offsets, np.full(count, size_bytes), np.full(count, is_write))


def _planes(row: Row) -> int:
    names = ("ch", "chips_per_ch", "dies_per_chip", "planes_per_die")
    return int(np.prod([row.count(name, least=1) for name in names]))


def figures(run: DriveRun, config: DriveConfig) -> dict[str, float]:
    """Of a run, by the columns of the table.

    MQSim's time begins at 1 ns and ends when the doorbell of the last completion is through.
    """
    time_ps = run.end_ps + config.nvme_doorbell_ps + PS_PER_NS
    latency_ns = run.latency_ps / PS_PER_NS
    return {
        "IOPS": round(len(latency_ns) / time_ps * 1e12, 1),
        "avg_lat_ns": round(float(latency_ns.mean()), 1),
        "min_lat_ns": float(latency_ns.min()),
        "max_lat_ns": float(latency_ns.max()),
    } | {column: float(run.counts[name]) for column, name in COMMANDS.items()}


def cases(row: Row, ours: Mapping[str, float]) -> Iterator[Case]:
    """Exact at queue depth 1, where nothing waits; rates and mean latencies elsewhere."""
    alone = row.count("qd") == 1
    rate = row.count("MTps")
    for column, figure in ours.items():
        yield Case(
            id=name_of(row),
            quantity=column,
            reference=row.number(column),
            ours=figure,
            tolerance_pct=0.0 if alone or column in COMMANDS else TOLERANCE_PCT,
            source=SOURCE,
            note=note_of(rate),
        )


def name_of(row: Row) -> str:
    """What was run, in a line."""
    places = "x".join(
        row[name] for name in ("ch", "chips_per_ch", "dies_per_chip", "planes_per_die")
    )
    times = f"{row['page_B']} B pages, {row['MTps']} MT/s, tR {row['tR_ns']} ns"
    link = f"{row['pcie_lanes']} x {row['pcie_GBps_lane']} GB/s"
    pattern = f"{row['dist'].lower()} {row['op']}s of {row['req_B']} B"
    return f"{row['name']} {places}, {times}, {link}, {pattern}, queue depth {row['qd']}"


def note_of(mega_transfers: int) -> str:
    """What MQSim makes of a channel's rate, where that is something else."""
    byte_ns = int(1000 / mega_transfers)
    if byte_ns == round(1000 / mega_transfers, 2):
        return ""
    if byte_ns == 0:
        return f"MQSim cuts a byte's time to whole ns: at {mega_transfers} MT/s data take none"
    runs_as = round(1000 / byte_ns)
    if runs_as == mega_transfers:
        return ""
    return f"MQSim cuts a byte's time to whole ns: {mega_transfers} MT/s run as {runs_as}"


REFERENCES: Final = ((COLUMNS, compare),)
