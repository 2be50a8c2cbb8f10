import asyncio

@app.get("/async-task")
async def async_task():
    await asyncio.sleep(3)  # Non-blocking
    return {"message": "Task completed asynchronously"}
