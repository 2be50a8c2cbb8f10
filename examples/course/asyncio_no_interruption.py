"""Between two awaits, no other task can run. At an await, any other task can."""

import asyncio


class Account:
    def __init__(self) -> None:
        self.money = 100

    async def withdraw_wrong(self, amount: int) -> bool:
        if self.money < amount:
            return False
        await asyncio.sleep(0)  # say, a line in a log: the other task runs here, and checks the same 100
        self.money -= amount
        return True

    async def withdraw_right(self, amount: int) -> bool:
        if self.money < amount:
            return False
        self.money -= amount  # no await between the check and the change
        await asyncio.sleep(0)
        return True


async def main() -> None:
    for name in "withdraw_wrong", "withdraw_right":
        account = Account()
        done = await asyncio.gather(getattr(account, name)(80), getattr(account, name)(80))
        print(f"{name}: {done}, {account.money} left")


asyncio.run(main())
