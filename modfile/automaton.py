"""Automata that match paths against a compiled pattern.

A pattern's tokens make a nondeterministic automaton, which is made deterministic while it is used and remembers
a bounded number of steps: a match takes time linear in the path, whatever the pattern.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

_MAX_STEPS = 100_000


class Mark(Enum):
    """A pattern character that is no set of characters."""

    STAR = auto()
    OPEN = auto()
    COMMA = auto()
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class CharacterClass:
    """A set of characters: ranges, or all but the ranges; `/` only where `slash` says so."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False
    slash: bool = False

    def accepts(self, character: str) -> bool:
        """Tell whether the character is in the set."""
        if character == "/" and not self.slash:
            return False
        return any(low <= character <= high for low, high in self.ranges) != self.negated


NOT_SLASH = CharacterClass((), negated=True)
_ANY = CharacterClass((), negated=True, slash=True)
Token = str | Mark | CharacterClass
"""A string is one character that stands for itself."""


@dataclass(slots=True)
class _Group:
    """Braces being compiled; `starts` and `ends` tell whether a segment starts with them and after them."""

    entry: int
    exit: int
    starts: bool
    ends: bool = True


class Automaton:
    """A nondeterministic automaton; a state is a number, its edges ask for a character or are free."""

    def __init__(self, tokens: list[Token]) -> None:
        self._edges: list[list[tuple[str | CharacterClass, int]]] = []
        self._free: list[list[int]] = []
        self._states: dict[frozenset[int], State] = {}
        self._steps = 0
        first = self._new()
        self._last = self._compile(tokens, first)
        self.start = self._state(self._closure([first]))

    def step(self, members: frozenset[int], character: str) -> State | None:
        """Return the state that a character leads to from a set of states, None if to none."""
        self._steps += 1
        if self._steps % _MAX_STEPS == 0:  # what is remembered is bounded, whatever the paths
            self._states.clear()
            self.start.clear()
        targets = [
            target
            for member in members
            for wanted, target in self._edges[member]
            if (wanted == character if isinstance(wanted, str) else wanted.accepts(character))
        ]
        return self._state(self._closure(targets)) if targets else None

    def _state(self, members: frozenset[int]) -> State:
        state = self._states.get(members)
        if state is None:
            state = self._states[members] = State(self, members, self._last in members)
        return state

    def _closure(self, members: list[int]) -> frozenset[int]:
        reached, waiting = set(members), list(members)
        while waiting:
            for target in self._free[waiting.pop()]:
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return frozenset(reached)

    def _new(self) -> int:
        self._edges.append([])
        self._free.append([])
        return len(self._edges) - 1

    def _compile(self, tokens: list[Token], state: int) -> int:
        groups: list[_Group] = []
        place, starts = 0, True
        while place < len(tokens):
            item = tokens[place]
            place += 1
            if item is Mark.STAR:
                length = _run_of_stars(tokens, place)
                place += length
                if length and starts and _ends_segment(tokens, place):
                    state, place = self._globstar(tokens, state, place)
                    starts = tokens[place - 1] == "/"
                else:
                    state, starts = self._loop(state, NOT_SLASH), False
            elif item is Mark.OPEN:
                groups.append(_Group(state, self._new(), starts))
            elif item is Mark.COMMA or item is Mark.CLOSE:
                group = groups[-1]
                self._free[state].append(group.exit)
                group.ends = group.ends and starts
                state, starts = group.entry, group.starts
                if item is Mark.CLOSE:
                    groups.pop()
                    state, starts = group.exit, group.ends
            elif isinstance(item, str | CharacterClass):
                state, starts = self._advance(state, item), item == "/"
        return state

    def _globstar(self, tokens: list[Token], state: int, place: int) -> tuple[int, int]:
        """Add `**`, before a `/` zero or more segments, else one or more; return where both go on."""
        if place < len(tokens) and tokens[place] == "/":
            between = self._new()
            self._free[state].append(between)
            within = self._loop(self._advance(between, NOT_SLASH), NOT_SLASH)
            self._edges[within].append(("/", between))
            return between, place + 1
        return self._loop(self._advance(state, _ANY), _ANY), place

    def _advance(self, state: int, wanted: str | CharacterClass) -> int:
        target = self._new()
        self._edges[state].append((wanted, target))
        return target

    def _loop(self, state: int, wanted: CharacterClass) -> int:
        target = self._new()
        self._free[state].append(target)
        self._edges[target].append((wanted, target))
        return target


class State(dict[str, "State | None"]):
    """A state of the deterministic automaton; each way out of it is worked out when it is first taken."""

    __slots__ = ("_automaton", "_members", "accepting")

    def __init__(self, automaton: Automaton, members: frozenset[int], accepting: bool) -> None:
        super().__init__()
        self._automaton = automaton
        self._members = members
        self.accepting = accepting

    def __missing__(self, character: str) -> State | None:
        target = self[character] = self._automaton.step(self._members, character)
        return target


def _run_of_stars(tokens: list[Token], place: int) -> int:
    length = 0
    while place + length < len(tokens) and tokens[place + length] is Mark.STAR:
        length += 1
    return length


def _ends_segment(tokens: list[Token], place: int) -> bool:
    """Tell whether a segment ends here; what follows an alternative is what follows its braces."""
    while place < len(tokens) and tokens[place] in (Mark.COMMA, Mark.CLOSE):
        depth = 1
        while depth:
            depth += (tokens[place] is Mark.OPEN) - (tokens[place] is Mark.CLOSE)
            place += 1
    return place == len(tokens) or tokens[place] == "/"
