"""Talks that nobody has had, out of real voices: what diarization is tuned on, and what it is judged by.

    python -m tests.bench.mixtures FOLDER DIALOGUES

cuts the turns out of the recordings in DIALOGUES (by the ``.rttm`` beside them) and makes two folders of talks,
``tuning`` and ``unseen``, of different people: 2 to 4 of them, 30 to 90 s, half of the turns shorter than 2.5 s, a
third of the changes overlapping, small words while another one talks; every other talk in a room, with noise and
unequal voices. ``python -m tests.bench.steps FOLDER/unseen`` measures them. The same folders are made each time.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyannote.database.util import load_rttm

from batch.engine.decoding import decode
from batch.engine.spans import RATE, Floats
from tests.bench import sound
from tests.bench.accuracy import recordings

TALKS = [(people, seconds) for people in (2, 3, 4) for seconds in (30, 30, 30, 30, 30, 30, 90, 90)]
GRAIN = RATE // 40
Voices = dict[str, list[Floats]]


class Said(NamedTuple):
    """From sample ``start``, by ``who``."""

    start: int
    sound: Floats
    who: str


def voices(folder: Path) -> Voices:
    """The turns of each person."""
    turns: Voices = defaultdict(list)
    for path in recordings(folder):
        whole = decode(path).channels[0].astype(np.float32)
        for turn, _, who in next(iter(load_rttm(path.with_suffix(".rttm")).values())).itertracks(yield_label=True):
            turns[who].append(whole[int(turn.start * RATE) : int(turn.end * RATE)])
    return turns


def part(rng: np.random.Generator, turn: Floats, seconds: float) -> Floats:
    """About so much of the turn, from one quiet place to another."""
    length = int(seconds * RATE)
    if len(turn) <= length:
        return turn
    start = int(rng.integers(len(turn) - length))
    first, last = _quiet(turn, start), _quiet(turn, start + length)
    return turn[first:last] if last - first > length // 2 else turn[start : start + length]


def _quiet(turn: Floats, near: int) -> int:
    low = max(0, near - RATE // 3)
    around = turn[low : near + RATE // 3]
    grains = around[: len(around) // GRAIN * GRAIN].reshape(-1, GRAIN)
    return low + int((grains**2).mean(axis=1).argmin()) * GRAIN if len(grains) else near


class Talk:
    """One talk: who is in it, how loud, and what they say."""

    def __init__(self, seed: int, turns: Voices, people: int, far: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.turns, self.far = turns, far
        self.people = [str(who) for who in self.rng.permutation(sorted(turns))[:people]]
        share = self.rng.dirichlet(np.full(people, 1.5)) + 0.08
        self.share = share / share.sum()
        self.gain = {who: 10 ** (self.rng.uniform(-9 if far else -3, 3) / 20) for who in self.people}
        self.room = {who: self._room() for who in self.people}

    def _room(self) -> NDArray[np.float64]:
        time = np.arange(int(0.35 * RATE)) / RATE
        echo = self.rng.standard_normal(len(time)) * np.exp(-time / self.rng.uniform(0.03, 0.09))
        echo *= self.rng.uniform(0.05, 0.12)
        echo[0] = 1
        return echo

    def says(self, who: str, seconds: float) -> Floats:
        own = self.turns[who]
        said = part(self.rng, own[self.rng.integers(len(own))], seconds) * self.gain[who]
        return np.asarray(np.convolve(said, self.room[who])[: len(said)] if self.far else said, np.float32)

    def script(self, seconds: float) -> list[Said]:
        said: list[Said] = []
        end, last = int(0.3 * RATE), ""
        while end < seconds * RATE:
            who = self._next(last)
            short = self.rng.random() < 0.5
            sound = self.says(who, self.rng.uniform(0.6, 2.5) if short else self.rng.uniform(2.5, 9))
            early = self.rng.random() < 0.3 and last not in ("", who)
            pause = -self.rng.uniform(0.1, 1) if early else self.rng.uniform(0.05, 1)
            said.append(Said(max(0, end + int(pause * RATE)), sound, who))
            said += self._small_word(said[-1])
            end, last = said[-1 if said[-1].who == who else -2].start + len(sound), who
        return said

    def _next(self, last: str) -> str:
        chance = self.share * np.where([who == last for who in self.people], 0.15, 1)
        return self.people[self.rng.choice(len(self.people), p=chance / chance.sum())]

    def _small_word(self, said: Said) -> list[Said]:
        other = self.people[self.rng.integers(len(self.people))]
        if len(said.sound) < 3 * RATE or other == said.who or self.rng.random() > 0.25:
            return []
        at = said.start + int(self.rng.uniform(0.3, 0.7) * len(said.sound))
        return [Said(at, self.says(other, self.rng.uniform(0.5, 1.2)) * 0.7, other)]

    def sound(self, script: list[Said]) -> NDArray[np.int16]:
        whole = np.zeros(max(one.start + len(one.sound) for one in script) + RATE // 2, np.float32)
        for one in script:
            whole[one.start : one.start + len(one.sound)] += one.sound
        noise = self.rng.standard_normal(len(whole)) * (60 if self.far else 0)
        return np.clip(whole + noise, -32768, 32767).astype(np.int16)


def write(path: Path, talk: Talk, seconds: float) -> None:
    script = talk.script(seconds)
    sound.write(path, talk.sound(script))
    lines = [
        f"SPEAKER {path.stem} 1 {one.start / RATE:.3f} {len(one.sound) / RATE:.3f} <NA> <NA> {one.who} <NA> <NA>\n"
        for one in script
    ]
    path.with_suffix(".rttm").write_text("".join(lines), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("dialogues", metavar="DIALOGUES", type=Path)
    given = parser.parse_args()
    turns = voices(given.dialogues)
    for half, name in enumerate(("tuning", "unseen")):
        own = {who: turns[who] for who in sorted(turns)[half::2]}
        folder = given.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, (people, seconds) in enumerate(TALKS):
            talk = Talk(1000 * half + number, own, people, far=number % 2 == 1)
            write(folder / f"{people}-{seconds}-{number:02}-{'far' if talk.far else 'near'}.wav", talk, seconds)


if __name__ == "__main__":
    main()
