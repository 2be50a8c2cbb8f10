"""A Django project in one file, with Channels: sync and async views, a form, an upload, a stream, and a chat with a group."""

import asyncio
import json
from collections.abc import AsyncIterator

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="for-tests-only",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    LOGGING_CONFIG=None,
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


def detail(request: HttpRequest, question_id: int) -> HttpResponse:
    return HttpResponse(f"You're looking at question {question_id}.")


async def latest(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return JsonResponse({"path": request.get_full_path(), "method": request.method, "secure": request.is_secure()})


def form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return JsonResponse(request.POST.dict())
    return HttpResponse(get_token(request))


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size})


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[str]:
        for number in range(5):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.01)

    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.group = f"chat_{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = json.loads(text_data or "")["message"]
        await self.channel_layer.group_send(self.group, {"type": "chat.message", "message": message})

    async def chat_message(self, event: dict[str, str]) -> None:
        await self.send(text_data=json.dumps({"message": event["message"]}))


urlpatterns = [
    path("polls/<int:question_id>/", detail),
    path("latest", latest),
    path("form", form),
    path("upload", upload),
    path("stream", stream),
]
chats = URLRouter([path("ws/chat/<str:room>/", ChatConsumer.as_asgi())])
app = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": chats})
