"""Addresses and networks, as ``gateway.trustedProxies`` lists them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from .issues import BadField

_MAPPED_BITS = 96


class Networks:
    """A set of addresses, by themselves or by network (CIDR); never changes."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        found = [_parse(text) for text in texts]
        self._exact = frozenset(
            str(network.network_address)
            for network in found
            if network.prefixlen == network.max_prefixlen
        )
        self._wide = tuple(n for n in found if n.prefixlen < n.max_prefixlen)

    def __bool__(self) -> bool:
        """Whether any address is in it."""
        return bool(self._exact or self._wide)

    def __contains__(self, text: object) -> bool:
        """Whether the address *text*, in its plain spelling, is in it."""
        if text in self._exact:
            return True
        if not self._wide or not isinstance(text, str):
            return False
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(
            address in network
            for network in self._wide
            if network.version == address.version
        )


def check_networks(texts: tuple[str, ...]) -> None:
    """Raise `BadField` for an item of ``trustedProxies`` that cannot be meant."""
    for index, text in enumerate(texts):
        try:
            network = _parse(text)
        except ValueError:
            message = 'expected an IP address, or a network such as "10.1.2.0/24"'
            raise BadField(("trustedProxies", index), message) from None
        if not network.prefixlen:
            raise BadField(("trustedProxies", index), "this would believe everybody")


def _parse(text: str) -> IPv4Network | IPv6Network:
    """Return the network *text*; one of IPv4 addresses in IPv6 as IPv4."""
    network = ip_network(text.strip())
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
