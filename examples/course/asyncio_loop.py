"""An event loop in twenty lines: a queue of tasks that can run, a heap of tasks that sleep, and one thread."""

import heapq
from collections import deque
from collections.abc import Generator

Task = Generator[int, None, None]  # a task stops at each yield, and says for how many minutes it wants to sleep


def run(*tasks: Task) -> None:
    ready, sleeping, now, number = deque(tasks), [], 0, 0
    while ready or sleeping:
        if not ready:  # no task is ready: here a real loop asks the kernel to wait for the next timer or the next byte
            now, _, task = heapq.heappop(sleeping)
            ready.append(task)
        task = ready.popleft()
        print(f"{now} min: ", end="")
        try:
            minutes = next(task)  # the task runs until its next yield, and nothing can interrupt it
        except StopIteration:
            continue  # the task has returned
        number += 1  # of two tasks that wake up at the same time, the one that fell asleep first comes first
        heapq.heappush(sleeping, (now + minutes, number, task))


def cook(dish: str, minutes: int) -> Task:
    print(f"put the {dish} on the stove")
    yield minutes
    print(f"take the {dish} off")


run(cook("rice", 12), cook("soup", 30), cook("egg", 6))
