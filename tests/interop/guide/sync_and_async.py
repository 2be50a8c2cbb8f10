from fastapi import FastAPI
import time
import asyncio

app = FastAPI()

# Synchronous endpoint
def slow_sync_task():
    time.sleep(5)  # Blocking operation
    return "Sync task completed"

@app.get("/sync")
def sync_endpoint():
    result = slow_sync_task()
    return {"message": result}

# Asynchronous endpoint
async def slow_async_task():
    await asyncio.sleep(5)  # Non-blocking operation
    return "Async task completed"

@app.get("/async")
async def async_endpoint():
    result = await slow_async_task()
    return {"message": result}
