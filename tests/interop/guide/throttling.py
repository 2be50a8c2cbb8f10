from starlette.middleware.base import BaseHTTPMiddleware
from time import time

requests_log = {}

class RateLimitMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        ip = request.client.host
        now = time()
        if ip in requests_log and now - requests_log[ip] < 1:
            return JSONResponse(status_code=429, content={"detail": "Too Many Requests"})
        requests_log[ip] = now
        return await call_next(request)
