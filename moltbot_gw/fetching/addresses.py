"""Which IP addresses belong to the public web.

``ipaddress.is_global`` is not the question: it is true for multicast, for addresses
that carry a private one inside (NAT64, 6to4), and for some that only this host answers.
So IPv6 is let through where addresses are given out to the public, less what is special
there; IPv4 where nothing special is known.

Source: IANA special-purpose address registries (RFC 6890 and its updates); RFC 6052.
"""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address

_IPV4_SPECIAL = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT; a cloud's metadata (100.100.100.200)
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; metadata of most clouds (169.254.169.254)
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; metadata of a cloud (192.0.0.192)
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "168.63.129.16/32",  # a cloud's host agent, at an address that looks public
    )
)
_IPV6_PUBLIC = ip_network("2000::/3")
_IPV6_SPECIAL = tuple(
    ip_network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: IPAddress) -> bool:
    """Whether *address* is one that the public web uses.

    Of the IPv6 forms that carry an IPv4 address only NAT64's is taken, and only with a
    public one inside: hosts that have nothing but IPv6 reach the rest of the web so.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_SPECIAL)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _IPV6_PUBLIC and not any(
        address in network for network in _IPV6_SPECIAL
    )


def is_our_own(address: IPAddress) -> bool:
    """Whether *address* is one of this machine, however public it looks.

    What listens on all addresses here is often shielded from outside only.  The routing
    table knows: towards its own addresses a host speaks from the same one.  A socket
    for datagrams is connected for that, which sends nothing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False  # no way there at all
