"""Replays an array of requests through one or several channels, command by command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.policies import Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.errors import SimulationError, SpecError

LOG_CHUNK: Final = 4096  # commands that the engine notes before they are fetched
ALL_DONE, STUCK = 1, 3  # what the engine returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay counted. Ticks are the engine's; `record` is empty unless asked for."""

    cycles: int  # tick of the last completion: data read back, or write issued
    last_accept_ck: int
    last_command_ck: int
    num_cmds: int
    cmd_hash: str
    counts: dict[str, int]
    row_hits: int
    row_misses: int
    row_conflicts: int
    forwarded: int
    coalesced: int
    read_latency_sum_ck: int
    reads_served: int
    sum_accept_ck: int
    sum_done_ck: int
    record: NDArray[np.int64]  # [request, accepted and done]
    commands: NDArray[np.int64]  # [command, tick id levels... row column type arrival]

    @property
    def avg_read_latency_ck(self) -> float:
        """Mean ticks from arrival to data, over the reads that reached the device."""
        return self.read_latency_sum_ck / self.reads_served if self.reads_served else 0.0


def words_of(address: NDArray[np.int64], is_write: NDArray[np.int64]) -> NDArray[np.int64]:
    """Requests as the engine takes them: byte address and direction in one word."""
    return (address.astype(np.int64) << 1) | is_write.astype(np.int64)


def replay(
    config: DramConfig,
    words: NDArray[np.int64],
    *,
    scheduler: str = Scheduler.FRFCFS,
    row_policy: str = RowPolicy.OPEN,
    refresh: str = Refresh.ALL_BANK,
    mapper: str = Mapper.RO_BA_RA_CO_CH,
    rate: int = 1,
    gap: int = 1,
    channels: int = 1,
    with_record: bool = False,
    with_commands: bool = False,
    with_hash: bool = True,
) -> Replay:
    """Offers the requests in order, up to `rate` after every `gap`-th tick, until all are done.

    Of several channels the lowest address bits above the burst pick one.
    """
    from bankwidth.devices.dram import kernel as k
    from bankwidth.devices.dram.pack import Controls, log2, pack

    if channels < 1 or channels & (channels - 1):
        raise SpecError(f"channels: {channels} is no power of two")
    if rate < 1 or rate > k.DONE_MAX // 2 or gap < 1:
        raise SpecError(f"rate must be 1 to {k.DONE_MAX // 2} and gap at least 1")
    controls = Controls(
        scheduler=Scheduler(scheduler),
        row_policy=RowPolicy(row_policy),
        refresh=Refresh(refresh),
        mapper=Mapper(mapper),
    )
    log_max = LOG_CHUNK if with_commands else 0
    packed = [pack(config, controls, channel=i, log_max=log_max) for i in range(channels)]
    m = np.stack(packed)
    m[:, k.HASHING] = int(with_hash)
    m[:, k.NUM_STREAMS] = -1
    progress = np.zeros(k.PROGRESS_WORDS, dtype=np.int64)
    progress[k.REPLAY_HASH] = m[0, k.HASH]
    progress[k.NUM_REQUESTS], progress[k.SENDS], progress[k.SEND_GAP] = len(words), rate, gap
    progress[k.CHANNEL_BITS], progress[k.STATE_WORDS] = log2(channels), m.shape[1]
    progress[k.CHANNEL_SHIFT], progress[k.HAS_RECORD] = log2(config.burst_bytes), int(with_record)
    record = np.zeros((len(words) if with_record else 0, 2), dtype=np.int64)
    logs: list[NDArray[np.int64]] = []
    status = 0
    while status != ALL_DONE:
        status = k.replay(m.reshape(-1), words, progress, record.reshape(-1))
        if status == STUCK:
            raise SimulationError(f"{config.name}: stuck at tick {progress[k.AT_CLK]}")
        logs.append(_fetch_log(m))
    return _result(config, m, progress, record, np.concatenate(logs))


def _fetch_log(m: NDArray[np.int64]) -> NDArray[np.int64]:
    """Takes the commands out of the channels' logs, in the order of ticks and channels."""
    from bankwidth.devices.dram import kernel as k

    rows = []
    for channel in m:
        length = int(channel[k.NUM_LOG])
        log = channel[k.LOG_AT : k.LOG_AT + length * k.LOG_WORDS]
        rows.append(log.reshape(length, k.LOG_WORDS).copy())
    m[:, k.NUM_LOG] = 0
    merged = np.concatenate(rows)
    return merged[np.argsort(merged[:, 0], kind="stable")]


def _result(
    config: DramConfig,
    m: NDArray[np.int64],
    progress: NDArray[np.int64],
    record: NDArray[np.int64],
    commands: NDArray[np.int64],
) -> Replay:
    from bankwidth.devices.dram import kernel as k

    total = m.sum(axis=0)
    counts = {
        name: int(total[k.COUNT_AT + command]) if command < k.COMMANDS else 0
        for command, name in zip(config.commands, config.command_names, strict=True)
    }
    return Replay(
        cycles=int(progress[k.LAST_DONE]),
        last_accept_ck=int(progress[k.LAST_ACCEPT]),
        last_command_ck=int(m[:, k.LAST_COMMAND].max()),
        num_cmds=int(total[k.NUM_COMMANDS]),
        cmd_hash=f"{int(progress[k.REPLAY_HASH]) & ((1 << 64) - 1):016x}",
        counts=counts,
        row_hits=int(total[k.HITS]),
        row_misses=int(total[k.MISSES]),
        row_conflicts=int(total[k.CONFLICTS]),
        forwarded=int(total[k.FORWARDED]),
        coalesced=int(total[k.COALESCED]),
        read_latency_sum_ck=int(total[k.READ_LATENCY_SUM]),
        reads_served=counts["RD"] + counts.get("RDA", 0),
        sum_accept_ck=int(progress[k.SUM_ACCEPT]),
        sum_done_ck=int(progress[k.SUM_DONE]),
        record=record,
        commands=commands,
    )
