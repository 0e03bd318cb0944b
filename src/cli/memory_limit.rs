//! How much memory this process may use, and what says so.
//!
//! A limit may stand at the process's own cgroup or at any above it: systemd sets `MemoryMax=` at the unit, a
//! container at its root, Kubernetes at the container and at the pod. So all of them are read.

use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::config::ByteSize;

/// A limit of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    /// In octets.
    pub(super) octets: u64,
    /// The file, or the limit of the process, that it is from.
    pub(super) source: String,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", ByteSize(self.octets), self.source)
    }
}

/// The least of the limits of the process's cgroups and of what the machine has; none where the system does
/// not tell, as outside Linux. `root` is `/`, but in tests.
pub(super) fn memory_limit(root: &Path) -> Option<MemoryLimit> {
    let mut limits = cgroup_limits(root);
    limits.extend(machine(root));
    limits.into_iter().min_by_key(|limit| limit.octets)
}

/// The memory of the machine.
fn machine(root: &Path) -> Option<MemoryLimit> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let octets = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)?;
    Some(MemoryLimit { octets, source: "/proc/meminfo".to_owned() })
}

/// One of the two kinds of cgroups, as far as memory goes.
struct Version {
    /// The type of its file system.
    file_system: &'static str,
    /// What holds a limit.
    files: &'static [&'static str],
}

/// `memory.high` does not kill, but slows down a process beyond it until it stands still.
const VERSION_2: Version =
    Version { file_system: "cgroup2", files: &["memory.max", "memory.high"] };
const VERSION_1: Version = Version { file_system: "cgroup", files: &["memory.limit_in_bytes"] };

/// The limits of the cgroups that this process is in.
fn cgroup_limits(root: &Path) -> Vec<MemoryLimit> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (own, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut limits = Vec::new();
    // Lines such as `0::/system.slice/jeton.service` and `4:cpu,memory:/docker/…` (cgroups(7)).
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let version = match controllers {
            "" => VERSION_2,
            _ if controllers.split(',').any(|controller| controller == "memory") => VERSION_1,
            _ => continue,
        };
        for mount in mounts.lines().filter_map(|line| Mount::read(line, &version)) {
            for folder in mount.folders(Path::new(path)) {
                limits.extend(
                    version.files.iter().filter_map(|name| limit(root, &folder.join(name))),
                );
            }
        }
    }
    limits
}

/// The limit in a file of the system; `max` is none.
fn limit(root: &Path, file: &Path) -> Option<MemoryLimit> {
    let text = fs::read_to_string(root.join(file.strip_prefix("/").unwrap_or(file))).ok()?;
    let octets = text.trim().parse().ok()?;
    Some(MemoryLimit { octets, source: file.display().to_string() })
}

/// Where a tree of cgroups is mounted.
struct Mount {
    /// The cgroup that is seen at the mount point.
    top: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// Reads a line of `mountinfo` (`proc_pid_mountinfo(5)`) if it is of this kind and has memory.
    fn read(line: &str, version: &Version) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (file_system, options) = (after.next()?, after.nth(1)?);
        let has_memory = version.file_system == VERSION_2.file_system
            || options.split(',').any(|option| option == "memory");
        if file_system != version.file_system || !has_memory {
            return None;
        }
        let mut before = before.split(' ').skip(3);
        let (top, point) = (before.next()?, before.next()?);
        Some(Self { top: PathBuf::from(top), point: PathBuf::from(point) })
    }

    /// The folder of a cgroup and of all above it, up to the mount point. A cgroup that is not below what
    /// is mounted, as in a container that sees its own alone, is the mount point.
    fn folders(&self, cgroup: &Path) -> Vec<PathBuf> {
        let below = cgroup.strip_prefix(&self.top).unwrap_or(Path::new(""));
        let is_below = below.components().all(|part| matches!(part, Component::Normal(_)));
        let own = self.point.join(if is_below { below } else { Path::new("") });
        own.ancestors()
            .take_while(|folder| folder.starts_with(&self.point))
            .map(Path::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of files as a system shows them; gone when dropped.
    struct Tree(PathBuf);

    impl Tree {
        fn new(files: &[(&str, &str)]) -> Self {
            let name = format!("jeton-tree-{}", jeton_crypto::random::request_id());
            let tree = Self(std::env::temp_dir().join(name));
            for (path, text) in files {
                let path = tree.0.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            tree
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    const MACHINE: (&str, &str) =
        ("proc/meminfo", "MemTotal:        4022076 kB\nMemFree:         3000000 kB\n");
    const MACHINE_OCTETS: u64 = 4_022_076 << 10;
    /// Mounts as systemd has them: version 2 alone; both, with memory in version 1.
    const UNIFIED: (&str, &str) = (
        "proc/self/mountinfo",
        "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
         30 25 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
    );
    const HYBRID: (&str, &str) = (
        "proc/self/mountinfo",
        "33 32 0:28 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw\n\
         35 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct\n\
         41 32 0:36 / /sys/fs/cgroup/memory rw shared:18 - cgroup cgroup rw,memory\n",
    );

    #[track_caller]
    fn assert_limit(files: &[(&str, &str)], octets: u64, source: &str) {
        let tree = Tree::new(&[&[MACHINE], files].concat());
        let expected = MemoryLimit { octets, source: source.to_owned() };
        assert_eq!(memory_limit(&tree.0), Some(expected));
    }

    #[test]
    fn a_system_that_tells_nothing_has_no_limit() {
        assert_eq!(memory_limit(&Tree::new(&[]).0), None);
    }

    #[test]
    fn without_a_limit_it_is_the_machine_s_memory() {
        let own = ("proc/self/cgroup", "0::/user.slice/user-0.slice/session-1.scope\n");
        let none = ("sys/fs/cgroup/user.slice/memory.max", "max\n");
        assert_limit(&[UNIFIED, own, none], MACHINE_OCTETS, "/proc/meminfo");
        assert_limit(&[], MACHINE_OCTETS, "/proc/meminfo");
        let own = ("proc/self/cgroup", "4:memory:/\n");
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_limit(&[HYBRID, own, none], MACHINE_OCTETS, "/proc/meminfo");
    }

    /// `MemoryMax=200M` of a unit of systemd.
    #[test]
    fn the_limit_of_a_unit_of_systemd_is_found() {
        let own = ("proc/self/cgroup", "0::/system.slice/jeton.service\n");
        let unit = "sys/fs/cgroup/system.slice/jeton.service/memory.max";
        let files = [UNIFIED, own, (unit, "209715200\n")];
        assert_limit(&files, 200 << 20, &format!("/{unit}"));
        let high = "sys/fs/cgroup/system.slice/jeton.service/memory.high";
        let files = [UNIFIED, own, (unit, "209715200\n"), (high, "104857600\n")];
        assert_limit(&files, 100 << 20, &format!("/{high}"));
    }

    #[test]
    fn the_least_of_nested_limits_counts() {
        let own = ("proc/self/cgroup", "0::/kubepods/pod1/container\n");
        let pod = "sys/fs/cgroup/kubepods/pod1/memory.max";
        let container = "sys/fs/cgroup/kubepods/pod1/container/memory.max";
        let least = |pod_has, container_has, octets, source| {
            let files = [UNIFIED, own, (pod, pod_has), (container, container_has)];
            assert_limit(&files, octets, &format!("/{source}"));
        };
        least("536870912\n", "max\n", 512 << 20, pod);
        least("536870912\n", "268435456\n", 256 << 20, container);
        least("268435456\n", "536870912\n", 256 << 20, pod);
    }

    /// A container with a namespace of its own sees its cgroup as the root.
    #[test]
    fn the_limit_of_a_container_is_found() {
        let own = ("proc/self/cgroup", "0::/\n");
        let files = [UNIFIED, own, ("sys/fs/cgroup/memory.max", "268435456\n")];
        assert_limit(&files, 256 << 20, "/sys/fs/cgroup/memory.max");
        // A process that was moved into the namespace from outside.
        let own = ("proc/self/cgroup", "0::/../other\n");
        let files = [UNIFIED, own, ("sys/fs/cgroup/memory.max", "268435456\n")];
        assert_limit(&files, 256 << 20, "/sys/fs/cgroup/memory.max");
    }

    /// Version 1 has a tree for each controller, and containers without a namespace, which see only their
    /// own part of it under the path that it has outside.
    #[test]
    fn limits_of_version_1_are_found() {
        let own = ("proc/self/cgroup", "9:name=systemd:/a\n4:cpu,cpuacct:/\n3:memory:/a/b\n0::/\n");
        let file = "sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        assert_limit(&[HYBRID, own, (file, "209715200\n")], 200 << 20, &format!("/{file}"));

        let mounts = "41 32 0:36 /docker/7f3a /sys/fs/cgroup/memory ro master:18 - cgroup cgroup rw,memory\n";
        let own = ("proc/self/cgroup", "3:memory:/docker/7f3a\n");
        let file = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let files = [("proc/self/mountinfo", mounts), own, (file, "209715200\n")];
        assert_limit(&files, 200 << 20, &format!("/{file}"));
    }
}
