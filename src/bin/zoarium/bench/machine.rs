//! What the numbers were taken on. A number without its machine says nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Processor, cores, memory, kernel, and the file system that `folder` is on.
pub(crate) fn describe(folder: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpu = field(&cpuinfo, "model name").unwrap_or("unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory: u64 = memory.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let file_system = file_system(folder, &read("/proc/mounts")).unwrap_or("unknown file system".into());
    format!("{cpu}, {cores} cores, {} GiB, Linux {}, {file_system}", memory.div_ceil(1 << 20), kernel.trim())
}

fn file_system(folder: &Path, mounts: &str) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let holding = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, on, kind) = (fields.next()?, fields.next()?, fields.next()?);
        folder.starts_with(on).then_some((on.len(), format!("{kind} on {device}")))
    });
    // Of mounts on one folder the last one shows.
    holding.max_by_key(|(length, _)| *length).map(|(_, name)| name)
}

/// Processor time this process has taken, in seconds.
pub(crate) fn own_cpu() -> f64 {
    // Nanoseconds on the processor are the first number; the loop is one thread.
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Processor time that a process has taken, all its threads together.
pub(crate) fn cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in front may hold anything, a parenthesis too.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    // Hundredths of a second, whatever the kernel counts in itself.
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// A size from `/proc/PID/status`, in bytes.
pub(crate) fn memory(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Names of a process's threads.
pub(crate) fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_is_named() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /proc tmpfs rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(file_system(Path::new("/proc/self"), mounts).unwrap(), "proc on proc");
        assert_eq!(file_system(Path::new("/"), mounts).unwrap(), "ext4 on /dev/a");
    }
}
