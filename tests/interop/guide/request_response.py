from fastapi import FastAPI
import time

app = FastAPI()

@app.get("/sync-task")
def sync_task():
    time.sleep(3)  # Blocking operation
    return {"message": "Task completed synchronously"}
