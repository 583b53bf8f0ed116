"""A set from which any element can be drawn, in constant time and the same way on each run."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Bag(Generic[T]):
    """Elements in a list, and where each one is."""

    def __init__(self, elements: Iterable[T] = ()) -> None:
        self._elements: list[T] = list(elements)
        self._places = {element: place for place, element in enumerate(self._elements)}

    def __len__(self) -> int:
        return len(self._elements)

    def __iter__(self) -> Iterator[T]:
        return iter(self._elements)

    def __contains__(self, element: T) -> bool:
        return element in self._places

    def add(self, element: T) -> None:
        if element not in self._places:
            self._places[element] = len(self._elements)
            self._elements.append(element)

    def discard(self, element: T) -> None:
        place = self._places.pop(element, None)
        if place is None:
            return
        last = self._elements.pop()
        if last != element:
            self._elements[place] = last
            self._places[last] = place

    def any(self, chance: random.Random) -> T:
        return self._elements[int(chance.random() * len(self._elements))]
