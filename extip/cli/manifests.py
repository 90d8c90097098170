"""`extip manifests`."""

from pathlib import Path

import click
from click.core import ParameterSource

from extip import __version__
from extip.cli.types import click_type
from extip.manifests.image import parse_image
from extip.manifests.old_servers import NEWEST_CHANGE, parse_minor
from extip.net.networks import IPNetwork
from extip.settings.flags import NAME, NETWORK, FlagType, whole

kubernetes_option = click.option(
    "--kubernetes",
    default=f"1.{NEWEST_CHANGE}",
    type=click_type(FlagType("version", parse_minor)),
    help="Oldest version of your API servers; from 1.20.",
)


_IN_OVERLAY = (
    *("image", "iface", "mask", "allow_cidr", "metrics_allow_cidr"),
    *("metrics_tls_secret", "metrics_auth", "monitoring"),
)
"""Options that an overlay which is there already does not take over."""


@click.command(context_settings={"show_default": True})
@click.argument("mode", type=click.Choice(["claims", "simple"]))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--image",
    default="",
    type=click_type(FlagType("image", parse_image)),
    show_default="none; a new folder needs one",
    help=f"Image of extip; without a tag it is {__version__}.",
)
@click.option(
    "--iface",
    default="",
    show_default="none; a new folder needs one",
    help="Interface that IP addresses are put on.",
)
@click.option("--mask", default=32, type=click_type(whole(1, 32)), help="Prefix length of IPv4.")
@click.option(
    "--allow-cidr",
    multiple=True,
    type=click_type(NETWORK),
    help="Only external IPs inside this network. Repeatable.",
)
@click.option(
    "--metrics-allow-cidr",
    multiple=True,
    type=click_type(NETWORK),
    help="Serve metrics on the node's address, to this network alone. Repeatable.",
)
@click.option(
    "--metrics-tls-secret",
    type=click_type(NAME),
    show_default="no TLS",
    help="Serve them with TLS by the certificate in this Secret (tls.crt, tls.key, ca.crt).",
)
@click.option(
    "--metrics-auth",
    is_flag=True,
    help="Show them only for bearer tokens that may get /metrics; needs --metrics-tls-secret.",
)
@kubernetes_option
@click.option(
    "--monitoring",
    is_flag=True,
    help="Add alerts, a dashboard and what to scrape, for the Prometheus operator.",
)
def manifests(  # noqa: PLR0913 - an argument for each option
    *,
    mode: str,
    folder: Path,
    image: str,
    iface: str,
    mask: int,
    allow_cidr: tuple[IPNetwork, ...],
    metrics_allow_cidr: tuple[IPNetwork, ...],
    metrics_tls_secret: str | None,
    metrics_auth: bool,
    kubernetes: int,
    monitoring: bool,
) -> None:
    """Write a folder for `kubectl apply -k`, with all that runs extip.

    Flags go into FOLDER/kustomization.yaml. A FOLDER that was written before gets the manifests of
    this version, for the same API servers, and keeps its kustomization.yaml.
    """
    from extip.manifests.folder import Choices, write  # noqa: PLC0415
    from extip.settings.address import AddressSettings  # noqa: PLC0415

    if iface:
        AddressSettings(iface=iface)  # it knows what an interface can be called
    source = click.get_current_context().get_parameter_source
    chosen_servers = source("kubernetes") is not ParameterSource.DEFAULT
    chosen = (one for one in _IN_OVERLAY if source(one) is not ParameterSource.DEFAULT)
    write(
        folder,
        Choices(
            mode=mode,
            image=image,
            iface=iface,
            mask=mask,
            allow_cidr=allow_cidr,
            metrics_allow_cidr=metrics_allow_cidr,
            metrics_tls_secret=metrics_tls_secret or "",
            metrics_auth=metrics_auth,
            kubernetes=kubernetes if chosen_servers else None,
            monitoring=monitoring,
        ),
        given=["--" + one.replace("_", "-") for one in chosen],
    )
