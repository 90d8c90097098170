"""apps/v1: DaemonSets and Deployments, as far as they tell which programs run with which flags."""

from extip.api.meta_v1 import KubernetesObject, Wire


class Container(Wire, frozen=True):
    """A program of a pod."""

    image: str = ""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None


class PodSpec(Wire, frozen=True):
    """The programs of a pod."""

    containers: tuple[Container, ...] | None = None


class PodTemplate(Wire, frozen=True):
    """The pods of a workload."""

    spec: PodSpec = PodSpec()


class WorkloadSpec(Wire, frozen=True):
    """A workload's wish."""

    template: PodTemplate = PodTemplate()


class Workload(KubernetesObject, frozen=True):
    """An apps/v1 DaemonSet or Deployment."""

    spec: WorkloadSpec = WorkloadSpec()

    @property
    def names_and_images(self) -> tuple[str, ...]:
        """Its name, and the images of its containers."""
        images = (one.image for one in self.spec.template.spec.containers or ())
        return (self.metadata.name, *images)
