"""Runs a command with the system calls that container runtimes leave it: ``confined.py ARGV...``.

A container with the seccomp profile ``RuntimeDefault`` and no capability that opens more gets the
default profile of Docker and containerd, an allowlist. Here is what it leaves out: the system calls
that libseccomp 2.5 knows on x86-64 less those that the profile allows to a container with NET_ADMIN
and NET_RAW, and ``ptrace`` and its kin, which it refuses on old kernels. (io_uring and the latest
system calls are allowed by some versions of it, and refused here.) A refused one fails with EPERM.
"""

import ctypes
import errno
import os
import sys

REFUSED = frozenset(
    """
    _sysctl acct add_key afs_syscall bpf cachestat chroot clock_settime create_module delete_module
    fanotify_init fchmodat2 finit_module fsconfig fsmount fsopen fspick futex_requeue futex_wait
    futex_wake get_kernel_syms get_mempolicy getpmsg init_module io_uring_enter io_uring_register
    io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie
    map_shadow_stack mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl
    open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise
    process_vm_readv process_vm_writev ptrace putpmsg query_module quotactl quotactl_fd reboot
    request_key security set_mempolicy set_mempolicy_home_node setdomainname sethostname setns
    settimeofday swapoff swapon sysfs syslog tuxcall umount2 unshare uselib userfaultfd ustat
    vhangup vserver
    """.split()  # noqa: SIM905 - a column of literals is no easier to read
)

ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(0)
EQUAL, MASKED_EQUAL = 4, 7  # enum scmp_compare

AF_VSOCK = 40
NEW_NAMESPACES = (
    0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
)  # fmt: skip
"""CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET."""


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = [  # type: ignore[mutable-override] # as ctypes has it
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


class Filter:
    """A filter that allows what no rule refuses."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(ALLOW)))

    def refuse(
        self, name: str, number: int = errno.EPERM, *when: tuple[int, int, int, int]
    ) -> None:
        """Add a rule: a system call, maybe only when all those of its arguments compare so."""
        resolved = self._library.seccomp_syscall_resolve_name(name.encode())
        if resolved < 0:
            return  # not on this architecture
        comparisons = (Comparison * len(when))(*(Comparison(*each) for each in when))
        result = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(REFUSE | number), resolved, len(when), comparisons
        )
        if result:
            raise OSError(-result, f"{name}: {os.strerror(-result)}")

    def load(self) -> None:
        """Put it into force, for good, for this process and all that come from it."""
        result = self._library.seccomp_load(self._context)
        if result:
            raise OSError(-result, os.strerror(-result))


def main(argv: list[str]) -> None:
    """Confine this process and become the command."""
    confined = Filter()
    for name in sorted(REFUSED):
        confined.refuse(name)
    confined.refuse("clone3", errno.ENOSYS)  # so that libraries fall back to clone
    for flag in NEW_NAMESPACES:
        confined.refuse("clone", errno.EPERM, (0, MASKED_EQUAL, flag, flag))
    confined.refuse("socket", errno.EPERM, (0, EQUAL, AF_VSOCK, 0))
    confined.load()
    os.execvp(argv[0], argv)  # noqa: S606 - that is what it is for


main(sys.argv[1:])
