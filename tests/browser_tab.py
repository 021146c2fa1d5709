"""A browser tab without a browser: it speaks viser's protocol over a websocket and keeps what it is shown."""

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import msgspec
import numpy as np
import viser
import zstandard
from viser import _messages as messages
from viser import transforms
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class BrowserTab:
    """Connects to a server, follows its camera as the real page does, and answers that pictures have arrived."""

    def __init__(self, port: int, width: int = 64, height: int = 48, acknowledge: bool = True) -> None:
        protocol: Any = f"viser-v{viser.__version__}"
        self._socket = connect(f"ws://127.0.0.1:{port}", subprotocols=[protocol], max_size=None, compression=None)
        self._acknowledge = acknowledge
        self.size = (width, height)
        self.position, self.look_at, self.up = np.array([3.0, 3, 3]), np.zeros(3), np.array([0.0, 0, 1])
        self.fov = 1.3
        self.widgets: dict[str, dict[str, Any]] = {}
        """Properties of every widget by its id, with `type` and `value` among them."""
        self.pictures: list[np.ndarray] = []
        self.formats: list[str] = []
        self.files: dict[str, bytes] = {}
        self.immediate: dict[str, bool] = {}
        """Whether each file is saved without asking."""
        self.notes: list[str] = []
        self._names: dict[str, str] = {}
        self._news = threading.Condition()
        self.send_camera()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "BrowserTab":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._reader.join(5)

    def wait(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """What `condition` gives once it gives something true; fails after `seconds`."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not (found := condition()):
                assert time.monotonic() < deadline, "the page did not show it in time"
                self._news.wait(0.1)
        return found

    def next_picture(self, act: Callable[[], None] = lambda: None, quiet: float = 0.8) -> np.ndarray:
        """The picture that stands after `act`, once none has come for `quiet` seconds."""
        seen = len(self.pictures)
        act()
        self.wait(lambda: len(self.pictures) > seen)
        while True:
            count = len(self.pictures)
            time.sleep(quiet)
            if len(self.pictures) == count:
                return self.pictures[-1]

    def widget(self, label: str, nth: int = 0) -> str:
        """The id of the nth widget with this label."""

        def found() -> list[str]:
            items = self.widgets.items()
            return [i for i, p in items if p.get("label") == label and p["type"] != "GuiFolderMessage"][nth:]

        return self.wait(found)[0]

    def html(self, kind: str) -> str:
        """The line of the panel that is marked so; empty where there is none to be seen."""
        shown = [props for props in self.widgets.values() if props.get("visible") and "content" in props]
        return next((p["content"] for p in shown if f'data-moegs="{kind}"' in p["content"]), "")

    def set(self, label: str, value: Any, nth: int = 0) -> None:
        """Gives a widget a value, or presses a button."""
        self._send(messages.GuiUpdateMessage(self.widget(label, nth), {"value": value}))

    def press(self, label: str) -> None:
        self.set(label, True)

    def command(self, label: str) -> None:
        """Triggers a command as its key does."""

        def found() -> list[str]:
            return [i for i, props in self.widgets.items() if props.get("label") == label and "hotkey" in props]

        self._send(messages.CommandTriggerMessage(self.wait(found)[0]))

    def click(self, x: float, y: float) -> None:
        """Clicks at shares of the canvas from its left and upper edge."""
        ray = (0.0, 0.0, 1.0)
        self._send(messages.ScenePointerMessage("click", ray, ray, ((x, y),), None))

    def move(self, position: tuple[float, float, float]) -> None:
        """Takes the camera somewhere else, as the mouse does."""
        self.position = np.array(position, np.float64)
        self.send_camera()

    def send_camera(self) -> None:
        forward = self.look_at - self.position
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right = right / np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
        width, height = self.size
        self._send(
            messages.ViewerCameraMessage(
                tuple(transforms.SO3.from_matrix(rotation).wxyz.tolist()), tuple(self.position.tolist()),
                self.fov, 0.01, 1000.0, height, width, tuple(self.look_at.tolist()), tuple(self.up.tolist()),
            )
        )  # fmt: skip

    def _send(self, message: messages.Message) -> None:
        self._socket.send(msgspec.msgpack.encode(message.as_serializable_dict()))

    def _read(self) -> None:
        try:
            for raw in self._socket:
                assert isinstance(raw, bytes)
                size = int.from_bytes(raw[8:16], "little")
                payload = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(raw[16 : 16 + size]))
                with self._news:
                    moved = False
                    for message in payload["messages"]:
                        moved |= self._take(message)
                    self._news.notify_all()
                if moved:
                    self.send_camera()
        except ConnectionClosed:
            pass

    def _take(self, message: dict[str, Any]) -> bool:
        """Keeps what a message says; whether it moved the camera."""
        kind = message["type"]
        if kind == "BackgroundImageMessage" and message["rgb_data"] is not None:
            encoded = np.frombuffer(message["rgb_data"], np.uint8)
            self.pictures.append(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
            self.formats.append(message["format"])
        elif kind == "LocalStorageGetItemRequestMessage":
            if self._acknowledge:
                self._send(messages.LocalStorageGetItemResponseMessage(None, None, message["request_uuid"]))
        elif kind in ("GuiUpdateMessage", "CommandUpdateMessage"):
            self.widgets[message["uuid"]].update(message["updates"])
        elif kind == "GuiRemoveMessage":
            self.widgets.pop(message["uuid"], None)
        elif kind.startswith("NotificationShow"):
            self.notes.append(f"{message['props']['title']}: {message['props']['body']}")
        elif "uuid" in message and "props" in message:
            self.widgets[message["uuid"]] = {**message["props"], "type": kind, "value": message.get("value")}
        elif kind == "FileTransferStartDownload":
            self._names[message["transfer_uuid"]] = message["filename"]
            self.files[message["filename"]] = b""
            self.immediate[message["filename"]] = message["save_immediately"]
        elif kind == "FileTransferPart":
            self.files[self._names[message["transfer_uuid"]]] += message["content"]
        return self._follow(kind, message)

    def _follow(self, kind: str, message: dict[str, Any]) -> bool:
        if kind == "SetCameraPositionMessage":
            self.position = np.array(message["position"])
        elif kind == "SetCameraLookAtMessage":
            self.look_at = np.array(message["look_at"])
        elif kind == "SetCameraUpDirectionMessage":
            self.up = np.array(message["position"])
        elif kind == "SetCameraFovMessage":
            self.fov = message["fov"]
        else:
            return False
        return True
