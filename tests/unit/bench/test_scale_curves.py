"""The picture of the curves."""

from xml.etree import ElementTree as ET

from tests.bench.rack import Rack
from tests.bench.scale_curves import CURVES, picture


def rack(nodes: int) -> Rack:
    return Rack(
        nodes=nodes,
        claims=100 * nodes,
        dead=nodes // 25,
        moved=4 * nodes,
        decided_s=nodes / 5000,
        longest_s=0.01,
        heartbeat_s=2e-5,
        start_s=nodes / 70,
        memory_mb=nodes / 3,
    )


def test_each_curve_is_drawn_from_left_to_right_with_its_values():
    tree = ET.fromstring(picture([rack(50), rack(500), rack(1000)]))  # noqa: S314 - ours
    space = {"svg": "http://www.w3.org/2000/svg"}
    texts = {text.text for text in tree.iterfind(".//svg:text", space)}
    assert texts >= {title for title, _ in CURVES} | {"200", "333", "50", "1000"}
    lines = [line.get("points", "").split() for line in tree.iterfind(".//svg:polyline", space)]
    assert len(lines) == len(CURVES)
    for points in lines:
        across = [float(point.partition(",")[0]) for point in points]
        assert across == sorted(across)
