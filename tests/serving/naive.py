"""The same scheduling written the slow way: a loop over sequences, tokens one by one.

Only for recompute and without prefixes; every rule is written as the papers tell it, nothing is
shared with the scheduler under test but prices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bankwidth.serving.iteration import Batch, Group, Pricing
from bankwidth.serving.requests import Requests
from bankwidth.spec.serving import ServingSpec


@dataclass
class Slow:
    index: int
    arrival_ps: int
    prompt: int
    output: int
    tokens_ps: list[int] = field(default_factory=list)
    cached: int = 0
    goal: int = 0
    place: int = 0  # tokens that have one, that of the next token among them
    preemptions: int = 0

    @property
    def decodes(self) -> bool:
        return self.cached >= self.goal


class Naive:
    def __init__(self, asked: Requests, options: ServingSpec, blocks: int, pricing: Pricing):
        assert asked.arrival_ps is not None
        rows = zip(asked.arrival_ps, asked.prompt_tokens, asked.output_tokens, strict=True)
        self.all = [
            Slow(i, int(a), int(p), int(o), goal=int(p)) for i, (a, p, o) in enumerate(rows)
        ]
        self.o, self.pricing, self.blocks = options, pricing, blocks
        self.spare = int(blocks * options.watermark)
        self.queue = [
            s for s in self.all if self.need(s.prompt + s.output - 1) <= blocks - self.spare
        ]
        self.running: list[Slow] = []
        self.now = 0

    def need(self, tokens: int) -> int:
        return -(-tokens // self.o.block_tokens)

    def held(self, s: Slow) -> int:
        if self.o.policy == "orca":
            return self.need(s.prompt + s.output - 1)
        return self.need(max(s.cached, s.goal, s.place))

    def free(self) -> int:
        return self.blocks - sum(self.held(s) for s in self.running)

    def run(self) -> None:
        while self.queue or self.running:
            if not self.running:
                self.now = max(self.now, min(s.arrival_ps for s in self.queue))
            self.iteration()

    def make_room(self) -> bool:
        """Each decoding sequence gets a place for its next token; the youngest gives way."""
        if self.o.policy == "orca":
            return False
        preempted = False
        while True:
            growing = [s for s in self.running if s.decodes and s.cached % self.o.block_tokens == 0]
            if len(growing) <= self.free():
                for s in self.running:
                    s.place = s.cached + 1 if s.decodes else 0
                return preempted
            victim = self.running.pop()
            victim.cached, victim.goal = 0, victim.prompt + len(victim.tokens_ps)
            victim.place = 0
            victim.preemptions += 1
            self.queue.insert(0, victim)
            preempted = True

    def admitted(self, budget: int) -> list[tuple[Slow, int]]:
        chunks: list[tuple[Slow, int]] = []
        most = self.o.max_sequences
        if self.o.policy == "sarathi":
            most = min(most, self.o.chunk_tokens)
        while self.queue and self.queue[0].arrival_ps <= self.now and len(self.running) < most:
            s = self.queue[0]
            tokens = min(s.goal, budget) if self.o.policy == "sarathi" else s.goal
            if tokens <= 0 or (tokens > budget and chunks):
                break
            if self.held(s) > self.free() - self.spare:
                break
            self.queue.pop(0)
            self.running.append(s)
            chunks.append((s, tokens))
            budget -= tokens
        return chunks

    def iteration(self) -> None:
        if self.o.policy == "vllm":
            chunks = self.admitted(self.o.max_batched_tokens)
            decodes = []
            if not chunks:
                self.make_room()
                decodes = [s for s in self.running if s.decodes]
        else:
            preempted = self.make_room()
            decodes = [s for s in self.running if s.decodes]
            chunks, budget = [], self.o.max_batched_tokens
            if self.o.policy == "sarathi":
                budget = self.o.chunk_tokens - len(decodes)
                for s in self.running:
                    tokens = min(budget, s.goal - s.cached)
                    if not s.decodes and tokens > 0:
                        chunks.append((s, tokens))
                        budget -= tokens
            if not preempted:
                chunks += self.admitted(budget)
        self.finish(chunks, decodes)

    def finish(self, chunks: list[tuple[Slow, int]], decodes: list[Slow]) -> None:
        groups = tuple(Group(1, n, s.cached + n, "prefill") for s, n in chunks)
        kv = np.array([s.cached + 1 for s in decodes], dtype=np.int64)
        logits = len(decodes) + sum(s.cached + n == s.goal for s, n in chunks)
        self.now += self.pricing.price(Batch(groups, kv, logits)).latency_ps
        for s in decodes:
            s.cached += 1
            s.tokens_ps.append(self.now)
        for s, n in chunks:
            s.cached += n
            if s.cached == s.goal:
                s.tokens_ps.append(self.now)
        self.running = [s for s in self.running if len(s.tokens_ps) < s.output]
