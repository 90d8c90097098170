"""BIRD on a host of the lab."""

from tests.lab.host import Host


def start(host: Host, configuration: str) -> None:
    path = _configuration(host)
    host.write_file(path, configuration)
    host.start(["bird", "-f", "-c", path, "-s", _socket(host)])


def configure(host: Host, configuration: str) -> None:
    """Give another configuration to one that runs."""
    host.write_file(_configuration(host), configuration)
    told(host, "configure")


def told(host: Host, *command: str) -> str:
    return host.run(["birdc", "-s", _socket(host), *command]).stdout


def _configuration(host: Host) -> str:
    return f"/run/bird-{host.name}.conf"


def _socket(host: Host) -> str:
    return f"/run/bird-{host.name}.ctl"
