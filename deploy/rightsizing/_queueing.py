"""Closed forms of queueing theory: how long work waits for servers that are so busy.

Owns the formulas and their inverse, and knows nothing of tasks or tables. M/M/c: requests come
independently of each other, each takes a time of its own, and c servers take them in their order.
L. Kleinrock, Queueing Systems, volume 1, chapter 3.
"""

from __future__ import annotations

import math


def erlang_b(servers: int, offered: float) -> float:
    """The share of requests that is lost where none may wait. `offered`: requests a second times
    the seconds that each takes."""
    lost = 1.0
    for number in range(1, servers + 1):
        lost = offered * lost / (number + offered * lost)
    return lost


def erlang_c(servers: int, offered: float) -> float:
    """The share of requests that waits; 1 from saturation on."""
    if offered >= servers:
        return 1.0
    lost = erlang_b(servers, offered)
    return servers * lost / (servers - offered * (1 - lost))


def mean_number(servers: int, offered: float) -> float:
    """How many requests are there in the mean, waiting and served; infinite from saturation on."""
    if offered >= servers:
        return math.inf
    return offered + erlang_c(servers, offered) * offered / (servers - offered)


def waits_longer(servers: int, offered: float, service_seconds: float, seconds: float) -> float:
    """The share of requests that waits for longer than so many seconds."""
    if offered >= servers:
        return 1.0
    return erlang_c(servers, offered) * math.exp(-(servers - offered) * seconds / service_seconds)


def response_quantile(utilisation: float, service_seconds: float, quantile: float) -> float:
    """The time within which a share of all requests is answered by one server (M/M/1: the time that
    a request stays is exponential); infinite from saturation on."""
    if utilisation >= 1:
        return math.inf
    return service_seconds / (1 - utilisation) * -math.log(1 - quantile)


def offered_at(servers: int, number: float) -> float:
    """The inverse of `mean_number`: the offered load at which so many requests are there."""
    if number <= 0:
        return 0.0
    if servers == 1:
        return number / (1 + number)
    low, high = 0.0, float(servers)
    for _ in range(60):  # halves the interval until nothing is left of it
        middle = (low + high) / 2
        if mean_number(servers, middle) < number:
            low = middle
        else:
            high = middle
    return low
