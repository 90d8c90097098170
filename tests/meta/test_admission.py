"""The sample of an admission policy is well-formed.

The API server of the lab (1.20) does not know the kind, so here only the structure is checked, as
the reference of admissionregistration.k8s.io/v1 has it.
"""

import re
from ipaddress import ip_network

import yaml

from tests.meta.manifests import MANIFESTS

POLICY, BINDING = yaml.safe_load_all((MANIFESTS / "admission/external-ips.yaml").read_text())
SPEC = POLICY["spec"]
FIELDS = {"failurePolicy", "matchConstraints", "matchConditions", "variables", "validations"}
ALWAYS_THERE = {"object", "oldObject", "request", "variables"}


def expressions() -> list[str]:
    """Return every expression, in the order of evaluation."""
    steps = [*SPEC["matchConditions"], *SPEC["variables"], *SPEC["validations"]]
    found = [step["expression"] for step in steps]
    return found + [one["messageExpression"] for one in SPEC["validations"]]


def test_the_policy_has_the_fields_of_its_kind():
    assert (POLICY["apiVersion"], POLICY["kind"]) == (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
    )
    assert set(SPEC) == FIELDS
    assert SPEC["failurePolicy"] == "Fail"
    assert SPEC["matchConstraints"] == {
        "resourceRules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["services"],
            }
        ]
    }
    for step in (*SPEC["matchConditions"], *SPEC["variables"]):
        assert set(step) == {"name", "expression"}
    for step in SPEC["matchConditions"]:
        assert re.fullmatch(r"[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?", step["name"])
    for step in SPEC["variables"]:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", step["name"]), "no identifier of CEL"
    assert all(
        set(one) == {"expression", "message", "messageExpression", "reason"}
        for one in SPEC["validations"]
    )


def test_the_binding_denies_by_the_policy():
    assert (BINDING["apiVersion"], BINDING["kind"]) == (
        POLICY["apiVersion"],
        "ValidatingAdmissionPolicyBinding",
    )
    assert BINDING["spec"] == {
        "policyName": POLICY["metadata"]["name"],
        "validationActions": ["Deny"],
    }


def test_expressions_use_what_was_defined_before_them():
    known: set[str] = set()
    for step in SPEC["variables"]:
        assert set(re.findall(r"variables\.(\w+)", step["expression"])) <= known
        known.add(step["name"])
    for expression in expressions():
        assert set(re.findall(r"variables\.(\w+)", expression)) <= known
    conditions = " ".join(step["expression"] for step in SPEC["matchConditions"])
    assert "variables" not in conditions, "match conditions are evaluated before the variables"


def test_expressions_are_on_one_line_with_balanced_brackets():
    for expression in expressions():
        assert "\n" not in expression
        bare = re.sub(r"'[^']*'", "", expression)
        assert "'" not in bare
        for opening, closing in ("()", "[]", "{}"):
            assert bare.count(opening) == bare.count(closing)
        roots = set(re.findall(r"(?<![.\w])([a-zA-Z]\w*)(?=\.)", bare))
        assert roots <= ALWAYS_THERE


def test_the_networks_in_it_are_networks():
    by_name = {step["name"]: step["expression"] for step in SPEC["variables"]}
    texts = re.findall(r"'([^']*/[^']*)'", by_name["everyone"] + by_name["ofNamespace"])
    assert len([ip_network(text) for text in texts]) == 3
