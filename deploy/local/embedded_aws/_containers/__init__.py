"""What the embedded AWS runs on a container engine: ECS's services and tasks, and the load balancer.

MiniStack keeps what only has to be remembered (clusters, task definitions, repositories, load
balancers, target groups, listeners) and checks who may do what. Services and tasks, the health of
targets and the requests that a load balancer passes on are here.
"""
