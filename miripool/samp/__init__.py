"""SAMP: images and tables to DS9, TOPCAT and Aladin, messages from them, and a hub of our own where there is none."""

from .connection import Client, Connection, connect, leave_hubs, need_samp
from .messages import ALL, clients, find_listeners, send_image, send_table

__all__ = [
    "ALL",
    "Client",
    "Connection",
    "clients",
    "connect",
    "find_listeners",
    "leave_hubs",
    "need_samp",
    "send_image",
    "send_table",
]
