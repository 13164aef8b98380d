"""A local stand-in for a file server and for a hub: serves folders, with ranges, and can break a connection."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from pathlib import Path


class StandIn(http.server.ThreadingHTTPServer):
    """Serves ``folder``; ``repos`` (id → folder) are served as a hub does. The first connection breaks after ``break_after`` bytes."""

    def __init__(self, folder: Path, break_after: int | None = None) -> None:
        self.folder = folder
        self.repos: dict[str, Path] = {}
        self.break_after = break_after
        self.ranges: list[str | None] = []
        self.sent: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *arguments) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, body: bool) -> None:
        path = self.path.lstrip("/").split("?")[0]
        if path.startswith("api/models/"):
            self.describe("/".join(path.split("/")[2:4]))
            return
        repo, resolved, rest = path.partition("/resolve/")
        if resolved and repo not in self.server.repos:
            self.refuse("RepoNotFound")
            return
        file = self.server.repos[repo] / rest.partition("/")[2] if resolved else self.server.folder / path
        if not file.is_file():
            self.refuse("EntryNotFound")
            return
        self.send(file, body)

    def describe(self, repo: str) -> None:
        folder = self.server.repos.get(repo)
        if folder is None:
            self.refuse("RepoNotFound")
            return
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        record = {"id": repo, "modelId": repo, "sha": "0" * 40, "siblings": [{"rfilename": name} for name in names]}
        data = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send(self, file: Path, body: bool) -> None:
        data = file.read_bytes()
        wanted = self.headers.get("Range")
        if body:
            self.server.ranges.append(wanted)
            self.server.sent.append(file.name)
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            if self.server.break_after is not None:
                self.wfile.write(data[start : start + self.server.break_after])
                self.server.break_after = None
                self.connection.close()
                return
            self.wfile.write(data[start:])
