"""Keep a listening socket open while the server behind it is replaced: a restart that refuses nobody.

    python examples/running/keeper.py 8000 python examples/running/app.py
    kill -HUP PID              # a new process takes over; the old one finishes its requests, and ends

The keeper listens, and never accepts. Each process of the program inherits the listening socket. Once the new process says
that it serves, the old one gets SIGTERM. For a moment both accept, and the kernel gives each client to one of them.

    keeper       listens ---------------------------------------------------------->
    process 1      accepts ----------------------------> drains ---> ends
    process 2                         starts ... accepts ------------------------->
"""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec


async def main(port: int, program: list[str]) -> None:
    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        async with asyncio.TaskGroup() as group:  # ends when all processes have ended

            async def start() -> Process | None:
                """Start a process, and return it when it serves; None if it ends before."""
                fd = listening.fileno()
                process = await create_subprocess_exec(*program, "--fd", str(fd), pass_fds=[fd], stdout=PIPE)
                serves = asyncio.get_running_loop().create_future()
                group.create_task(follow(process, serves, signals))
                return process if await serves else None

            current = await start()
            while current is not None and await signals.get() == signal.SIGHUP:
                if (successor := await start()) is None:  # a new version that fails at once: nobody notices
                    print("the new process has not started, so the old one stays", flush=True)
                    continue
                current.terminate()
                current = successor
            if current is not None and current.returncode is None:
                current.terminate()


async def follow(process: Process, serves: asyncio.Future[bool], signals: asyncio.Queue[int]) -> None:
    """Pass on what a process prints. Its first line says that it serves."""
    assert process.stdout is not None
    async for line in process.stdout:
        print(f"process {process.pid}: {line.decode()}", end="", flush=True)
        if not serves.done():
            serves.set_result(True)
    status = await process.wait()
    if not serves.done():
        serves.set_result(False)
    elif status != 0:  # it has crashed: end as well, so that the service manager starts us again
        signals.put_nowait(0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
