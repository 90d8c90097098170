"""A whole Kubernetes cluster in private namespaces on one machine.

`tests.lab.cluster.Lab` is the way in; `python -m tests.lab` brings one up for a person.
"""
