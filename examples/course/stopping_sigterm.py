"""SIGTERM ends a Python program without finally. A server has to ask for the signal, and then end by itself."""

import asyncio
import signal
import subprocess
import sys


async def work() -> None:
    try:
        print("ready", flush=True)
        await asyncio.sleep(60)
    finally:
        print("finally: the response is sent to its end")


async def by_default() -> None:
    await work()


async def with_a_handler() -> None:
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await work()
    except asyncio.CancelledError:  # not raised again: this is the whole program, and nobody waits for it
        print("a clean end")


def start_and_stop(name: str) -> None:
    """Run this file once more as a program of its own, and send it the signal that a service manager sends."""
    process = subprocess.Popen([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.terminate()
    print(f"{name}:", process.communicate()[0].splitlines(), "exit status", process.returncode)


if len(sys.argv) > 1:
    asyncio.run(globals()[sys.argv[1]]())
else:
    start_and_stop("by_default")
    start_and_stop("with_a_handler")
