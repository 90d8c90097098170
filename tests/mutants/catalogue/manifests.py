"""The folder for `kubectl apply -k`, which a later version writes again."""

from tests.mutants.mutation import Mutation

MUTATIONS = (
    Mutation(
        name="servers-forgotten-at-an-upgrade",
        promise="The folder stays so when a later version writes it again",
        file="manifests/folder.py",
        old="choices.kubernetes or _servers_of(base) or NEWEST_CHANGE",
        new="choices.kubernetes or NEWEST_CHANGE",
        tests=(
            "meta/test_manifests_command.py::test_a_folder_for_old_servers_stays_one_at_an_upgrade",
        ),
    ),
)
