"""`bankwidth replay`: raw requests on one memory device, a DRAM part or a drive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bankwidth.cli.shared import (
    AsJson,
    Force,
    NoSkip,
    console,
    named_options,
    prepare_kernels,
    print_json,
    progress_bar,
    say,
)


def replay(
    context: typer.Context,
    device: Annotated[
        str, typer.Argument(help="A DRAM device or a drive: shipped name or YAML file.")
    ],
    requests: Annotated[
        str | None,
        typer.Argument(
            help="File of requests, gzip allowed, - for stdin. DRAM: lines R 0xADDR and W 0xADDR, "
            "LD and ST (Ramulator), or 0xADDR READ CYCLE and 0xADDR WRITE CYCLE (DRAMsim3). "
            "Drives: R OFFSET SIZE [ARRIVAL] and W OFFSET SIZE [ARRIVAL], as R 1 MiB 4k 12.5 us."
        ),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Generate the requests instead: seq, random or stride.")
    ] = None,
    count: Annotated[str, typer.Option(help="Requests of a pattern, as 10000 or 1e9.")] = "100000",
    write_share: Annotated[
        float, typer.Option(help="Share of writes in a pattern, 0 to 1, drawn at random.")
    ] = 0.0,
    stride: Annotated[
        str | None, typer.Option(help="Bytes between the addresses of a stride: 4096, 4KiB.")
    ] = None,
    seed: Annotated[str, typer.Option(help="Of all that is drawn: 1, 0xC0FFEE.")] = "0xC0FFEE",
    block: Annotated[str, typer.Option(help="Drives: size of a pattern's requests, as 4k.")] = "4k",
    qd: Annotated[
        int | None,
        typer.Option(help="Drives: requests kept under way, by default 32; not with arrivals."),
    ] = None,
    mapper: Annotated[
        str, typer.Option(help="DRAM: address mapping RoBaRaCoCh, ChRaBaRoCo, MOP4CLXOR.")
    ] = "RoBaRaCoCh",
    refresh: Annotated[
        str, typer.Option(help="DRAM: NoRefresh, AllBank, PerBank, HBM34PerBankRefresh.")
    ] = "AllBank",
    scheduler: Annotated[str, typer.Option(help="DRAM: FRFCFS or FRFCFS-RowHit.")] = "FRFCFS",
    row_policy: Annotated[str, typer.Option(help="DRAM: Open or ClosedCAP.")] = "Open",
    rate: Annotated[int, typer.Option(help="DRAM: requests offered at a time, at most.")] = 1,
    gap: Annotated[int, typer.Option(help="DRAM: ticks between two offers.")] = 1,
    channels: Annotated[
        int, typer.Option(help="DRAM: channels, told apart by the lowest bits.")
    ] = 1,
    no_skip: NoSkip = False,
    commands: Annotated[
        Path | None,
        typer.Option(help="Write every command, or event of a drive, here: .csv or .csv.gz."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="Look closer at a time, as 0:2us: what each bank or die did, in --out."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write summary, tables and report here.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Replay raw requests on one memory device: bandwidth, latency, energy, and what limits.

    A DRAM device: what its bandwidth was lost to, row hits. A drive: IOPS, percentiles of the
    latency, how busy every bus and die was.

    Example: bankwidth replay hbm3-6400 --pattern random --write-share 0.5
    """
    from bankwidth.replaying.kinds import check_options, kind_of

    kind = kind_of(device)
    check_options(device, kind, named_options(context))
    typed = {"count": count, "write_share": write_share, "stride": stride, "seed": seed}
    asked: dict[str, Any] = {
        "skip": not no_skip, "commands": commands, "window": window, "out": out, "force": force,
        "as_json": as_json,
    }  # fmt: skip
    if kind == "ssd":
        _replay_drive(device, requests, pattern, typed | {"block": block}, qd, **asked)
        return
    options = {
        "mapper": mapper, "refresh": refresh, "scheduler": scheduler, "row_policy": row_policy,
        "rate": rate, "gap": gap, "channels": channels,
    }  # fmt: skip
    _replay_dram(device, requests, pattern, typed, options, **asked)


def _replay_dram(
    device: str,
    requests: str | None,
    pattern: str | None,
    typed: dict[str, Any],
    options: dict[str, Any],
    *,
    skip: bool,
    commands: Path | None,
    window: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    from bankwidth.replaying import ReplayOptions, command_sink, replay_device
    from bankwidth.replaying.typed import WINDOW_NS, source_of, window_of
    from bankwidth.report import REPLAY_FILES, check_target, print_replay, write_replay

    source = source_of(requests, pattern, **typed)
    if out is not None:
        check_target(out, force=force, files=REPLAY_FILES)
    window_ns = window_of(window, None if out is None else WINDOW_NS)
    prepare_kernels()
    with (
        progress_bar(f"requests on {device}") as progress,
        command_sink(commands, device, force=force) as sink,
    ):
        replayed = replay_device(
            device,
            source,
            ReplayOptions(**options),
            skip=skip,
            sink=sink,
            window_ns=window_ns,
            progress=progress,
        )
    summary = replayed.to_json()
    if out is not None and replayed.banks is not None:
        write_replay(summary, replayed.banks, out, force=force)
        say(f"wrote {out}/report.html and the tables beside it")
    if as_json:
        print_json(summary)
    else:
        print_replay(summary, console())


def _replay_drive(
    device: str,
    requests: str | None,
    pattern: str | None,
    typed: dict[str, Any],
    queue_depth: int | None,
    *,
    skip: bool,
    commands: Path | None,
    window: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    from bankwidth.replaying import check_trace_target, replay_drive
    from bankwidth.replaying.typed import DRIVE_WINDOW_NS, drive_source_of, window_of
    from bankwidth.report import check_target
    from bankwidth.report.drive_console import print_drive
    from bankwidth.report.drive_files import DRIVE_FILES, write_drive

    source = drive_source_of(requests, pattern, **typed)
    if out is not None:
        check_target(out, force=force, files=DRIVE_FILES)
    if commands is not None:
        check_trace_target(commands, force=force)
    window_ns = window_of(window, None if out is None else DRIVE_WINDOW_NS)
    prepare_kernels()
    with progress_bar(f"requests on {device}") as progress:
        replayed = replay_drive(
            device,
            source,
            queue_depth,
            skip=skip,
            with_trace=commands is not None,
            window_ns=window_ns,
            progress=progress,
        )
    summary = replayed.to_json()
    if commands is not None:
        replayed.write_trace(commands, force=force)
        say(f"wrote {commands}")
    if out is not None:
        write_drive(summary, replayed.tables(), out, force=force)
        say(f"wrote {out}/report.html and the tables beside it")
    if as_json:
        print_json(summary)
    else:
        print_drive(summary, console())
