"""The load balancer's data plane, a process of its own: what an Application Load Balancer does with requests.

Told over its standard input which listener forwards to which targets; knows neither tasks nor health
checks. Runs in the environment of the embedded AWS.
"""
