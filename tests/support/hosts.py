"""Several hosts on this machine: network namespaces with addresses of their own, which a bridge connects."""

from __future__ import annotations

import secrets
import subprocess


class HostNetwork:
    """A network of hosts; the machine itself is one of them, and reaches the others."""

    def __init__(self) -> None:
        """Raises CalledProcessError: this machine, or this user, can make no network namespaces."""
        self._id = secrets.token_hex(3)
        self._net = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
        self._bridge = f"ei{self._id}"
        self._hosts: list[Host] = []
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{self._net}.1/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")

    def add_host(self) -> Host:
        number = len(self._hosts) + 2
        host = Host(f"{self._bridge}-{number}", f"{self._bridge}.{number}", f"{self._net}.{number}")
        self._hosts.append(host)
        ip("netns", "add", host.name)
        ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.name)
        ip("link", "set", host.link, "master", self._bridge, "up")
        for command in (("addr", "add", f"{host.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            ip("-netns", host.name, *command)
        ip("-netns", host.name, "link", "set", "lo", "up")
        return host

    def close(self) -> None:
        """Remove all of it; what runs on the hosts must have ended."""
        for host in self._hosts:
            ip("netns", "delete", host.name)
        ip("link", "delete", self._bridge)


class Host:
    """A host.

    Attributes:
        name: of its network namespace.
        link: the machine's end of its cable.
        address: in the network.
    """

    def __init__(self, name: str, link: str, address: str) -> None:
        self.name = name
        self.link = link
        self.address = address

    @property
    def command(self) -> list[str]:
        """What to put before a command for it to run on this host."""
        return ["ip", "netns", "exec", self.name]

    def cut_off(self) -> None:
        """Pull the cable: what is sent is lost, and nobody is told."""
        ip("link", "set", self.link, "down")

    def reconnect(self) -> None:
        ip("link", "set", self.link, "up")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
