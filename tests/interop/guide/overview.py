from fastapi import FastAPI
import time
import asyncio

app = FastAPI()

# Synchronous Endpoint
def slow_sync_task():
    time.sleep(5)
    return "Sync task completed"

@app.get("/sync")
def sync_endpoint():
    return {"message": slow_sync_task()}

# Asynchronous Endpoint
async def slow_async_task():
    await asyncio.sleep(5)
    return "Async task completed"

@app.get("/async")
async def async_endpoint():
    return {"message": await slow_async_task()}
