"""A node that others call silent says that it lives, once for each of them."""

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.uplink.objection import Objection


def test_each_new_accuser_is_objected_to_once():
    records: dict[str, IpNode] = {}
    said = []
    objection = Objection("n1", records, on_accused=lambda: said.append(1))

    def report(node, *silent):
        records[node] = IpNode(status=IpNodeStatus(silent=silent))
        objection.on_record(node)

    report("n2", "n3")
    report("n1", "n1")
    assert not said
    report("n2", "n1", "n3")
    report("n2", "n1")
    assert len(said) == 1
    report("n3", "n1")
    assert len(said) == 2
    report("n2")
    report("n2", "n1")
    assert len(said) == 3
    del records["n2"]
    objection.on_record("n2")
    report("n2", "n1")
    assert len(said) == 4
