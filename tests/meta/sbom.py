"""Lists the components of extip as CycloneDX: `python -m tests.meta.sbom > FILE`.

They are what extip needs at run time, in the versions of requirements.lock, which the image has.
The same lock gives the same text.
"""

import re
import sys
from datetime import UTC, datetime
from importlib.metadata import metadata, requires
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from extip import __version__
from tests.meta.audit import shipped
from tests.meta.manifests import ROOT


def locked() -> dict[str, str]:
    """Return the versions of requirements.lock by name."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", text))


def bill() -> Bom:
    """Return the bill of materials."""
    versions = locked()
    root = _component("extip", __version__, ComponentType.APPLICATION)
    made = {name: _component(name, versions[name]) for name in sorted(shipped())}
    bom = Bom(components=made.values())
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(0, UTC)
    said = " ".join(f"{name}=={one.version}" for name, one in made.items())
    bom.serial_number = uuid5(NAMESPACE_URL, f"extip=={__version__} {said}")
    for name, component in {"extip": root, **made}.items():
        needed = {canonicalize_name(Requirement(text).name) for text in requires(name) or ()}
        bom.register_dependency(component, [made[one] for one in sorted(needed & made.keys())])
    return bom


def _component(name: str, version: str, kind: ComponentType = ComponentType.LIBRARY) -> Component:
    found = metadata(name)
    licence = found["License-Expression"] or found["License"] or ""
    known = [LicenseFactory().make_from_string(licence)] if licence and "\n" not in licence else []
    purl = PackageURL("pypi", None, name, version)
    return Component(
        name=name, version=version, type=kind, purl=purl, bom_ref=str(purl), licenses=known
    )


def render() -> str:
    """Return the bill as JSON of CycloneDX 1.6."""
    outputter = make_outputter(bill(), OutputFormat.JSON, SchemaVersion.V1_6)
    return f"{outputter.output_as_string(indent=2)}\n"


if __name__ == "__main__":
    sys.stdout.write(render())
