"""Ports that are reserved for somebody else, and ports that are taken."""

from __future__ import annotations

import socket

import pytest

from deploy.local._ports import PortTakenError, listen, port_of, receive, reserve


def test_a_reserved_port_can_be_listened_on_by_a_server_that_reuses_addresses() -> None:
    with reserve() as reserved, socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port_of(reserved)))
        server.listen()
        with socket.create_connection(("127.0.0.1", port_of(reserved))):
            pass


def test_a_taken_port_is_one_clear_line() -> None:
    with listen(0) as first, pytest.raises(PortTakenError) as caught:
        listen(port_of(first))
    assert str(caught.value).startswith("port ")
    assert "is taken" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_asks_the_receiver_by_tcp_is_refused() -> None:
    with receive() as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        address = receiver.getsockname()
        assert address[0] == "127.0.0.1"
        sender.sendto(b"segment", address)
        assert receiver.recv(100) == b"segment"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(address)


def test_only_this_machine_is_listened_to() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
