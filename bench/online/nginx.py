"""A plain nginx proxy before an upstream: the floor that a gateway is measured against."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

__all__ = ["PROGRAM", "configuration", "write"]

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
"""Where nginx is; None where it is not installed."""

CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 64k;
    keepalive_requests 1000000000;
    upstream models {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://models;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            # As for any proxy of streams: what arrives is passed on at once.
            proxy_buffering off;
        }}
    }}
}}
"""


def configuration(folder: Path, port: int, upstream: int) -> str:
    """One worker on loopback, connections kept on both sides, HTTP/1.1 upstream, streams not held back."""
    # The worker of a master that is root would otherwise be nobody, who may not enter the folder.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    return CONFIGURATION.format(user=user, folder=folder, port=port, upstream=upstream).lstrip()


def write(folder: Path, port: int, upstream: int) -> tuple[str, ...]:
    """Write the configuration into `folder`; the command that serves it in the foreground."""
    assert PROGRAM is not None
    path = folder / "nginx.conf"
    path.write_text(configuration(folder, port, upstream), encoding="utf-8")
    return (PROGRAM, "-e", f"{folder}/error.log", "-c", str(path))
